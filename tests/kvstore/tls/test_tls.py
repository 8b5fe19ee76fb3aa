"""Certificates: who is let in, and what happens when the files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from kvstore.member.config import MemberConfig
from kvstore.rpc import Call, Channel, RpcError, Server, Unary
from kvstore.tls import CHECK_SECONDS, MemberTls, Reloader, TlsFiles, TlsLimits
from tests.kvstore.rpc.test_tls import Authority, Identity


def authority_named(name: str) -> Authority:
    made = Authority()
    made._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made.certificate = made._sign(made._name, made._key, is_authority=True)
    made.pem = made.certificate.public_bytes(serialization.Encoding.PEM)
    return made


class Folder:
    """Certificates as files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.authority = Authority()
        self.write("ca.pem", self.authority.pem)
        self.issue("server")

    def write(self, name: str, content: bytes) -> str:
        (self.path / name).write_bytes(content)
        return str(self.path / name)

    def issue(self, common_name: str, authority: Authority | None = None, file_name: str = "") -> Identity:
        made = (authority or self.authority).issue(common_name)
        self.write(f"{file_name or common_name}.pem", made.certificate)
        self.write(f"{file_name or common_name}.key", made.key)
        return made

    def files(self, name: str = "server", *, trusts: bool = True, client_cert_auth: bool = False) -> TlsFiles:
        trusted = str(self.path / "ca.pem") if trusts else ""
        return TlsFiles(str(self.path / f"{name}.pem"), str(self.path / f"{name}.key"), trusted, client_cert_auth)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class Timers:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.cancelled = 0

    def later(self, seconds: float, callback: Callable[[], None]) -> Timers:
        assert seconds == CHECK_SECONDS
        self.waiting.append(callback)
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def pass_by(self) -> None:
        for callback in [self.waiting.pop() for _ in range(len(self.waiting))]:
            callback()


def echo(call: Call, message: bytes) -> None:
    certificate = call.client_certificate
    call.reply(message if certificate is None else b"known")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server({"/a/b": Unary(echo)})
    yield made
    await made.stop()


async def ask(server: Server, context: ssl.SSLContext | None) -> bytes:
    channel = Channel(f"127.0.0.1:{server.port}", context)
    try:
        return await channel.unary("/a/b", b"hello", timeout=5)
    finally:
        await channel.close()


async def serial(server: Server, context: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    security = writer.get_extra_info("ssl_object")
    shown: bytes = security.getpeercert(True)
    writer.close()
    return shown


async def test_a_trusted_authority_makes_client_certificates_required(folder: Folder, server: Server) -> None:
    await server.start("127.0.0.1", 0, folder.files().server_context())
    folder.issue("client")
    assert await ask(server, folder.files("client").client_context()) == b"known"
    with pytest.raises(RpcError):
        await ask(server, TlsFiles(trusted_ca_file=folder.files().trusted_ca_file).client_context())


async def test_without_an_authority_anybody_is_served(folder: Folder, server: Server) -> None:
    await server.start("127.0.0.1", 0, folder.files(trusts=False).server_context())
    context = TlsFiles(trusted_ca_file=folder.files().trusted_ca_file).client_context()
    assert await ask(server, context) == b"hello"


async def test_a_certificate_of_another_authority_is_refused(folder: Folder, server: Server) -> None:
    await server.start("127.0.0.1", 0, folder.files(client_cert_auth=True).server_context())
    folder.issue("stranger", Authority())
    with pytest.raises(RpcError):
        await ask(server, folder.files("stranger").client_context())


async def test_a_revoked_certificate_is_refused_and_a_new_list_is_loaded_without_a_restart(
    folder: Folder, server: Server
) -> None:
    good, bad = folder.issue("good"), folder.issue("bad")
    crl_file = folder.write("revoked.pem", folder.authority.revoke(bad))
    files, timers = replace(folder.files(), crl_file=crl_file), Timers()
    context = files.server_context()
    reloader = Reloader(timers.later)
    reloader.watch(files, context)
    await server.start("127.0.0.1", 0, context)
    assert await ask(server, folder.files("good").client_context()) == b"known"
    with pytest.raises(RpcError):
        await ask(server, folder.files("bad").client_context())
    folder.write("revoked.pem", folder.authority.revoke(bad, good))
    timers.pass_by()
    with pytest.raises(RpcError):
        await ask(server, folder.files("good").client_context())


async def test_changed_files_are_shown_to_new_connections_without_a_restart(folder: Folder, server: Server) -> None:
    files, timers = folder.files(trusts=False), Timers()
    context = files.server_context()
    reloader = Reloader(timers.later)
    reloader.watch(files, context)
    await server.start("127.0.0.1", 0, context)
    trusting = TlsFiles(trusted_ca_file=folder.files().trusted_ca_file).client_context()
    assert trusting is not None
    before = await serial(server, trusting)
    standing = Channel(f"127.0.0.1:{server.port}", trusting)
    assert await standing.unary("/a/b", b"1") == b"1"
    timers.pass_by()
    assert await serial(server, trusting) == before
    folder.issue("server")
    timers.pass_by()
    assert await serial(server, trusting) != before
    assert await standing.unary("/a/b", b"2") == b"2"
    await standing.close()
    reloader.stop()
    assert timers.cancelled == 1


async def test_a_new_authority_is_trusted_after_a_reload(folder: Folder, server: Server) -> None:
    files = folder.files(client_cert_auth=True)
    context = files.server_context()
    assert context is not None
    await server.start("127.0.0.1", 0, context)
    other = authority_named("another authority")
    folder.issue("newcomer", other)
    newcomer = folder.files("newcomer").client_context()
    with pytest.raises(RpcError):
        await ask(server, newcomer)
    folder.write("ca.pem", folder.authority.pem + other.pem)
    files.reload(context)
    assert await ask(server, newcomer) == b"known"


def test_half_written_files_are_tried_again_and_change_nothing(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    files, reloader = folder.files(), Reloader(Timers().later)
    reloader.watch(files, files.server_context())
    second = folder.authority.issue("server")
    folder.write("server.pem", second.certificate)  # its key is not there yet
    with caplog.at_level(logging.WARNING):
        assert reloader.check() == 0
    assert "not loaded yet" in caplog.text
    folder.write("server.key", second.key)
    assert reloader.check() == 1
    assert reloader.check() == 0


def test_a_file_that_is_gone_for_a_moment_is_waited_for(folder: Folder) -> None:
    files, reloader = folder.files(), Reloader(Timers().later)
    reloader.watch(files, files.server_context())
    (folder.path / "server.pem").unlink()
    assert reloader.check() == 0
    folder.issue("server")
    assert reloader.check() == 1


def test_no_certificate_is_no_tls(folder: Folder) -> None:
    assert TlsFiles().server_context() is None
    assert TlsFiles().client_context() is None
    reloader = Reloader(Timers().later)
    reloader.watch(TlsFiles(), None)
    assert reloader.check() == 0
    reloader.stop()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (TlsFiles("a.pem", ""), "without its key"),
        (TlsFiles("", "a.key"), "without its certificate"),
        (TlsFiles("a.pem", "a.key", crl_file="revoked.pem"), "there is no authority"),
        (TlsFiles(client_cert_auth=True), "no certificate to serve"),
        (TlsFiles("no.pem", "no.key"), "no.pem is not there"),
    ],
)
def test_what_does_not_fit_together_is_said(files: TlsFiles, said: str) -> None:
    with pytest.raises((ValueError, OSError), match=said):
        files.server_context()


def test_files_that_hold_something_else_are_named(folder: Folder) -> None:
    folder.write("server.key", b"nothing")
    with pytest.raises(ValueError, match="no certificate and its key"):
        folder.files().server_context()
    folder.issue("server")
    folder.write("ca.pem", b"nothing")
    with pytest.raises(ValueError, match="holds no certificate"):
        folder.files().server_context()


def test_a_member_has_the_contexts_that_its_flags_ask_for(folder: Folder) -> None:
    files, timers = folder.files(), Timers()
    config = MemberConfig(
        listen_client_urls=("https://127.0.0.1:1",),
        cert_file=files.cert_file,
        key_file=files.key_file,
        peer_trusted_ca_file=files.trusted_ca_file,
    )
    tls = MemberTls(config, timers.later, TlsLimits("TLS1.3"))
    assert tls.clients is not None
    assert tls.clients.verify_mode is ssl.CERT_NONE
    assert tls.clients.minimum_version is ssl.TLSVersion.TLSv1_3
    assert tls.peers is None
    assert tls.to_peers is not None
    assert tls.to_peers.verify_mode is ssl.CERT_REQUIRED
    tls.stop()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (MemberConfig(listen_client_urls=("https://127.0.0.1:1",)), "needs --cert-file and --key-file"),
        (MemberConfig(listen_peer_urls=("https://127.0.0.1:1",)), "needs --peer-cert-file and --peer-key-file"),
    ],
)
def test_an_https_address_without_a_certificate_is_refused_not_served_in_plain(config: MemberConfig, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MemberTls(config, Timers().later)


@pytest.mark.parametrize(
    "suite",
    [
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
    ],
)
def test_go_names_of_cipher_suites_are_understood(suite: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TlsLimits(cipher_suites=(suite,)).set(context)
    ours = [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]
    assert len(ours) == 1


@pytest.mark.parametrize("limits", [TlsLimits("TLS1.1"), TlsLimits("", ("AES128",)), TlsLimits("", ("TLS_NONE_WITH_SUCH",))])
def test_limits_that_there_are_not_are_refused(limits: TlsLimits) -> None:
    with pytest.raises(ValueError, match="--"):
        limits.set(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
