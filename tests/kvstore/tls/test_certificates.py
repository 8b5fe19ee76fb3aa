"""Certificates that a member makes for itself, and names that others' certificates must have."""

import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509

from kvstore.certificates import AllowedNames, self_signed
from kvstore.rpc import Channel, RpcError, Server, Unary
from tests.durability.test_rejoin import NAMES
from tests.kvstore.membership.servers import OURS, Servers, servers
from tests.kvstore.tls.test_tls import Folder, ask, echo

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CERTIFICATE = {
    "subject": ((("organizationName", "o"),), (("commonName", "m1"),)),
    "subjectAltName": (("DNS", "m1.example"), ("DNS", "*.lab.example"), ("IP Address", "10.0.0.1"), ("IP Address", "::1")),
}


@pytest.mark.parametrize("host", ["m1.example", "M1.Example.", "a.lab.example", "10.0.0.1", "[::1]", "0:0:0:0:0:0:0:1"])
def test_a_certificate_is_for_its_names(host: str) -> None:
    assert AllowedNames(hosts=("other", host)).allow(CERTIFICATE)


@pytest.mark.parametrize("host", ["m1", "example", "lab.example", "a.b.lab.example", "10.0.0.2", "*.lab.example.", ""])
def test_a_certificate_is_for_no_other_names(host: str) -> None:
    assert not AllowedNames(hosts=(host,)).allow(CERTIFICATE) or host.startswith("*")


def test_a_common_name_is_no_host_and_a_host_no_common_name() -> None:
    assert AllowedNames(("m0", "m1")).allow(CERTIFICATE)
    assert not AllowedNames(("m1.example",)).allow(CERTIFICATE)
    assert not AllowedNames(hosts=("m1",)).allow(CERTIFICATE)


def test_a_certificate_is_made_once_and_anew_when_it_has_ended(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path / "peer", ["127.0.0.1", "m1.example"], 2, NOW)
    first = Path(certificate).read_bytes()
    made = x509.load_pem_x509_certificate(first)
    left = made.not_valid_after_utc - NOW
    assert timedelta(days=729) < left < timedelta(days=731)
    assert self_signed(tmp_path / "peer", ["elsewhere"], 1, NOW) == (certificate, key)
    assert Path(certificate).read_bytes() == first
    assert Path(key).stat().st_mode & 0o077 == 0
    self_signed(tmp_path / "peer", [], 1, NOW + timedelta(days=731))
    assert Path(certificate).read_bytes() != first
    with pytest.raises(ValueError, match="self-signed-cert-validity"):
        self_signed(tmp_path / "peer", [], 0, NOW)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server({"/a/b": Unary(echo)})
    yield made
    await made.stop()


async def test_the_certificate_of_another_name_is_refused_by_the_server(tmp_path: Path, server: Server) -> None:
    folder = Folder(tmp_path)
    for name in ("m1", "m2"):
        folder.issue(name)
    await server.start("127.0.0.1", 0, replace(folder.files(), names_allowed=AllowedNames(("m1",))).server_context())
    assert await ask(server, folder.files("m1").client_context()) == b"known"
    with pytest.raises(RpcError):
        await ask(server, folder.files("m2").client_context())


async def test_a_server_of_another_name_is_not_spoken_to(tmp_path: Path, server: Server) -> None:
    folder = Folder(tmp_path)
    await server.start("127.0.0.1", 0, folder.files().server_context())
    for host, is_right in (("127.0.0.1", True), ("127.0.0.2", False)):
        context = replace(folder.files(), names_allowed=AllowedNames(hosts=(host,))).client_context()
        if is_right:
            assert await ask(server, context) == b"known"
            continue
        with pytest.raises(RpcError) as refused:
            await ask(server, context)
        assert not refused.value.sent


def test_uvloop_asks_for_the_names_too(tmp_path: Path) -> None:
    async def check() -> None:
        made = Server({"/a/b": Unary(echo)})
        try:
            await test_the_certificate_of_another_name_is_refused_by_the_server(tmp_path, made)
        finally:
            await made.stop()

    uvloop.run(check())


@pytest.fixture
def automatic(tmp_path: Path) -> Iterator[Servers]:
    with servers(OURS, tmp_path, "https", ("--peer-auto-tls",)) as cluster:
        yield cluster


async def test_members_with_certificates_of_their_own_making_form_a_cluster(automatic: Servers) -> None:
    automatic.found(*NAMES, flags=("--self-signed-cert-validity=3",))
    automatic.ok("one", "put", "a", "1")
    shown = (automatic.directory / "two" / "fixtures" / "peer" / "cert.pem").read_bytes()
    automatic.end("two")
    automatic.start("two", NAMES, "new", "--auto-tls", "--advertise-client-urls=https://127.0.0.1:1",
                    f"--listen-client-urls=https://{automatic.endpoint('two')}")  # fmt: skip
    assert (automatic.directory / "two" / "fixtures" / "peer" / "cert.pem").read_bytes() == shown
    context = ssl.create_default_context(cafile=str(automatic.directory / "two" / "fixtures" / "client" / "cert.pem"))
    channel = Channel(automatic.endpoint("two"), context)  # whoever copies the certificate may check it
    try:
        assert b"1" in await channel.unary("/etcdserverpb.KV/Range", b"\x0a\x01a", timeout=10)
    finally:
        await channel.close()
