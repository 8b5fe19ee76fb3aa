"""The node's HTTPS endpoint: who may ask, and what they get."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlplane.objects.kinds import PODS
from tests.controlplane.kubelet.harness import Harness, kubelet, process_config, simulated_config
from tests.controlplane.kubelet.pods import container, make_pod


def issue(
    folder: Path,
    name: str,
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    *groups: str,
) -> None:
    """NAME.crt and NAME.key, signed by the authority or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (authority[0].subject, authority[1]) if authority else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    certificate = builder.sign(signer, hashes.SHA256())
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def load(folder: Path, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes()), key


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    for authority in ("ca", "stranger"):
        issue(folder, authority)
    issue(folder, "server", load(folder, "ca"))
    issue(folder, "apiserver", load(folder, "ca"), "system:masters")
    issue(folder, "jane", load(folder, "ca"), "dev")
    issue(folder, "intruder", load(folder, "stranger"))
    return folder


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    head: str
    body: bytes


class Client:
    """Asks one node."""

    def __init__(self, port: int, pki: Path, address: str = "127.240.0.1") -> None:
        self.port, self.pki, self.address = port, pki, address

    def context(self, certificate: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.check_hostname = False
        if certificate:
            context.load_cert_chain(self.pki / f"{certificate}.crt", self.pki / f"{certificate}.key")
        return context

    @asynccontextmanager
    async def open(self, certificate: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        streams = await asyncio.open_connection(self.address, self.port, ssl=self.context(certificate))
        try:
            yield streams
        finally:
            streams[1].transport.abort()

    async def ask(self, path: str, certificate: str = "apiserver", method: str = "GET", token: str = "") -> Reply:
        bearer = f"Authorization: Bearer {token}\r\n" if token else ""
        async with asyncio.timeout(10), self.open(certificate) as (reader, writer):
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{bearer}\r\n".encode())
            data = await reader.read()
        head, _, body = data.partition(b"\r\n\r\n")
        if b"chunked" in head:
            body = unchunk(body)
        return Reply(int(head.split()[1]), head.decode(), body)


def unchunk(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        whole += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
    return whole


@asynccontextmanager
async def node(tmp_path: Path, pki: Path) -> AsyncIterator[tuple[Harness, Client]]:
    files = {"tls_cert_file": str(pki / "server.crt"), "tls_private_key_file": str(pki / "server.key")}
    config = process_config(tmp_path, port=0, client_ca_file=str(pki / "ca.crt"), **files)
    async with kubelet(config) as k:
        yield k, Client(k.agent.server_port, pki)


async def test_who_shows_no_certificate_gets_401_and_who_shows_a_strangers_gets_no_answer(
    tmp_path: Path, pki: Path
) -> None:
    async with node(tmp_path, pki) as (_, client):
        assert (await client.ask("/healthz")).body == b"ok"
        for path in ("/healthz", "/pods", "/metrics/resource", "/containerLogs/default/web/main"):
            assert (await client.ask(path, certificate="")).status == 401
        with pytest.raises((ssl.SSLError, OSError, IndexError)):
            await client.ask("/healthz", certificate="intruder")
        assert (await client.ask("/run/default/web/main")).status == 404
        assert (await client.ask("/healthz", method="POST")).status == 405


async def test_the_node_says_on_which_port_it_serves(tmp_path: Path, pki: Path) -> None:
    from controlplane.objects.kinds import NODES

    async with node(tmp_path, pki) as (k, client):
        endpoints = k.api.find(NODES, "n1")["status"]["daemonEndpoints"]
        assert endpoints == {"kubeletEndpoint": {"Port": client.port}}


async def test_logs_come_with_their_options_and_errors_in_words(tmp_path: Path, pki: Path) -> None:
    async with node(tmp_path, pki) as (k, client):
        script = "echo one; echo two; echo three"
        k.api.put(PODS, make_pod(containers=[container(command=["sh", "-c", script])], restartPolicy="Never"))
        await k.until(lambda: k.phase() == "Succeeded")
        path = "/containerLogs/default/web/main"
        assert (await client.ask(path)).body == b"one\ntwo\nthree\n"
        assert (await client.ask(path + "?tailLines=1")).body == b"three\n"
        assert (await client.ask(path + "?limitBytes=5")).body == b"one\nt"
        assert (await client.ask(path + "?sinceSeconds=1000")).body == b"one\ntwo\nthree\n"
        assert (await client.ask(path + "?sinceTime=2100-01-01T00:00:00%2B02:00")).body == b""
        stamped = (await client.ask(path + "?timestamps=true")).body.split()
        assert stamped[0].endswith(b"Z") and stamped[1] == b"one"
        assert (await client.ask(path + "?tailLines=x")).status == 400
        assert (await client.ask(path + "?sinceTime=noon")).status == 400
        previous = await client.ask(path + "?previous=true")
        assert previous.status == 400
        assert previous.body == b'previous terminated container "main" in pod "web" not found'
        assert (await client.ask("/containerLogs/default/web/other")).status == 404
        assert (await client.ask("/containerLogs/default/none/main")).status == 404


async def test_following_a_log_gets_each_line_as_it_is_written_and_an_end(tmp_path: Path, pki: Path) -> None:
    async with node(tmp_path, pki) as (k, client):
        script = "echo first; until test -e go; do sleep 0.02; done; echo second"
        k.api.put(PODS, make_pod(containers=[container(command=["sh", "-c", script])], restartPolicy="Never"))
        await k.until(lambda: k.phase() == "Running")
        async with asyncio.timeout(10), client.open("apiserver") as (reader, writer):
            writer.write(b"GET /containerLogs/default/web/main?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
            seen = await reader.readuntil(b"first\n\r\n")
            assert b"200 OK" in seen and b"second" not in seen
            worker = k.agent.find("default", "web")
            assert worker is not None
            work = k.agent.root / "pods" / worker.uid / "containers" / "main" / "work"
            (work / "go").touch()
            assert b"second\n" in await reader.readuntil(b"0\r\n\r\n")


async def test_metrics_and_summary_name_what_runs(tmp_path: Path, pki: Path) -> None:
    async with node(tmp_path, pki) as (k, client):
        k.api.put(PODS, make_pod())
        await k.until(k.is_ready)
        text = (await client.ask("/metrics/resource")).body.decode()
        for name in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes"):
            assert f'{name}{{container="main",namespace="default",pod="web"}} ' in text
        for name in ("pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes"):
            assert f'{name}{{namespace="default",pod="web"}} ' in text
        assert "\nnode_cpu_usage_seconds_total " in text and "\nnode_memory_working_set_bytes " in text
        summary = json.loads((await client.ask("/stats/summary")).body)
        assert summary["node"]["nodeName"] == "n1"
        assert summary["pods"][0]["podRef"]["name"] == "web"
        assert summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"] > 0
        pods = json.loads((await client.ask("/pods")).body)
        assert pods["kind"] == "PodList" and pods["items"][0]["metadata"]["name"] == "web"


async def test_a_connection_serves_one_request_after_the_other(tmp_path: Path, pki: Path) -> None:
    async with node(tmp_path, pki) as (_, client), client.open("apiserver") as (reader, writer):
        for _ in range(3):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            assert await reader.readexactly(2) == b"ok"


async def test_what_is_no_http_closes_the_connection(tmp_path: Path, pki: Path) -> None:
    async with node(tmp_path, pki) as (_, client):
        async with client.open("apiserver") as (reader, writer):
            writer.write(b"\x00\x01 hello\r\n\r\n")
            assert b"400" in await reader.read()
        async with client.open("apiserver") as (reader, writer):
            writer.write(b"GET /" + b"x" * 100_000)
            with contextlib.suppress(ConnectionResetError):  # what it did not read may be answered by a reset
                assert await reader.read() == b""


async def test_a_simulated_node_without_a_certificate_serves_nothing() -> None:
    async with kubelet(simulated_config()) as k:
        assert k.agent.server_port == 0
