"""Every port that a running cluster listens on, found by asking the kernel: nobody without a certificate of the right authority
is told anything, and nobody with old TLS is heard. Health and the version are told to everybody, as in Kubernetes."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from pathlib import Path

import pytest

from controlplane.launcher.pki import Authority, Identity
from controlplane.launcher.state import DataDirectory, alive
from tests.e2e.cluster import Cluster

pytestmark = pytest.mark.e2e

LISTEN = "0A"
NODE_PORTS = range(30000, 32768)
QUESTIONS = (b"/api/v1/secrets", b"/pods", b"/v3/kv/range", b"/metrics", b"/debug/pprof/")


def _sockets_of(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = descriptor.readlink().as_posix()
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def listeners(pids: set[int]) -> dict[tuple[str, int], int]:
    """(address, port) -> pid, of TCP sockets that these processes listen on."""
    owners = {inode: pid for pid in pids for inode in _sockets_of(pid)}
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTEN and fields[9] in owners:
            address, port = fields[1].split(":")
            octets = bytes.fromhex(address)[::-1]
            found[".".join(map(str, octets)), int(port, 16)] = owners[fields[9]]
    return found


async def _tell(host: str, port: int, context: ssl.SSLContext | None, request: bytes) -> bytes:
    """The first bytes of the answer; none when the other side refuses or hangs up."""
    async with asyncio.timeout(15):
        try:
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
        except (ssl.SSLError, ConnectionError):
            return b""
        try:
            writer.write(request)
            return await reader.read(200)
        except (ssl.SSLError, ConnectionError):
            return b""
        finally:
            writer.transport.abort()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _old(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = _context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    return context


def _is_refused(answer: bytes) -> bool:
    """Nothing, a TLS alert, or HTTP's refusal."""
    return not answer or answer[:1] == b"\x15" or answer.split(b" ")[1:2] in ([b"400"], [b"401"], [b"403"])


async def _check(host: str, port: int, wrong: ssl.SSLContext) -> list[str]:
    failures = []
    for path in QUESTIONS:
        request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        for name, context in (("plain", None), ("no certificate", _context()), ("a stranger's certificate", wrong)):
            answer = await _tell(host, port, context, request)
            if not _is_refused(answer):
                failures.append(f"{host}:{port} tells {name} {path!r}: {answer[:60]!r}")
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        answer = await _tell(host, port, _old(version), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        if answer:
            failures.append(f"{host}:{port} speaks {version.name}")
    return failures


def test_no_port_of_a_cluster_tells_a_stranger_anything(cluster: Cluster, tmp_path: Path) -> None:
    directory = DataDirectory(cluster.data_dir)
    processes = {item.pid: item for item in directory.processes() if alive(item)}
    ports = listeners(set(processes))
    kinds = {processes[pid].kind for pid in ports.values()}
    assert {"loadbalancer", "master", "node"} <= kinds, "the search finds all kinds of listeners"
    assert all(address.startswith("127.") for address, _ in ports), "nothing is reachable from another machine"
    stranger = Authority(tmp_path, common_name="pilothouse-ca")  # the same name, another key
    stranger.ensure(Identity("admin", "kubernetes-admin", ("system:masters",)))
    wrong = _context()
    wrong.load_cert_chain(tmp_path / "admin.crt", tmp_path / "admin.key")
    # A service's port belongs to its pods: what they answer is theirs. All other listeners are ours.
    ranges = [ipaddress.ip_network(each) for each in (cluster.plan.service_range, cluster.plan.load_balancer_range)]
    ours = [
        (address, port)
        for address, port in ports
        if port not in NODE_PORTS and not any(ipaddress.ip_address(address) in each for each in ranges)
    ]

    async def check_all() -> list[str]:
        return [failure for place in ours for failure in await _check(*place, wrong)]

    assert asyncio.run(check_all()) == []
