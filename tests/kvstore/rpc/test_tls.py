"""TLS: ALPN, client certificates, HTTP/1.1 and HTTP/2 on one port."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kvstore.rpc import Channel, Code, RpcError
from tests.kvstore.rpc.conftest import Example

START = datetime.datetime(2020, 1, 1)
END = datetime.datetime(2120, 1, 1)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A certificate authority of the test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self._name, self._key, is_authority=True)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(START).not_valid_after(END)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, common_name: str) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._sign(name, key, is_authority=False)
        return Identity(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def revoke(self, *identities: Identity) -> bytes:
        """A list of revoked certificates (PEM), newer the more there are."""
        now = START + datetime.timedelta(days=len(identities))
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name).last_update(now).next_update(END)
        for identity in identities:
            serial = x509.load_pem_x509_certificate(identity.certificate).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(START).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Secured:
    """A TLS server and what its clients need."""

    example: Example
    authority: Authority
    client: Identity
    directory: Path

    def context(self, *, with_certificate: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if with_certificate:
            load(context, self.client, self.directory / "client.pem")
        return context


def load(context: ssl.SSLContext, identity: Identity, path: Path) -> None:
    path.write_bytes(identity.certificate + identity.key)
    context.load_cert_chain(path)


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    authority = Authority()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    load(context, authority.issue("server"), tmp_path / "server.pem")
    example = Example()
    await example.server.start("127.0.0.1", 0, ssl_context=context)
    yield Secured(example, authority, authority.issue("alice"), tmp_path)
    await example.server.stop()


async def test_our_channel_shows_its_certificate(secured: Secured) -> None:
    channel = Channel(secured.example.target, secured.context(with_certificate=True))
    assert await channel.unary("/test.Example/Echo", b"x" * 100_000) == b"x" * 100_000
    certificate = secured.example.calls[-1].client_certificate
    assert certificate is not None
    assert "alice" in x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    await channel.close()


async def test_without_a_certificate_there_is_none(secured: Secured) -> None:
    channel = Channel(secured.example.target, secured.context(with_certificate=False))
    await channel.unary("/test.Example/Echo", b"")
    assert secured.example.calls[-1].client_certificate is None
    await channel.close()


async def test_grpcio_speaks_tls_with_us(secured: Secured) -> None:
    credentials = grpc.ssl_channel_credentials(secured.authority.pem, secured.client.key, secured.client.certificate)
    async with grpc.aio.secure_channel(secured.example.target, credentials) as channel:
        assert await channel.unary_unary("/test.Example/Echo")(b"x" * 1_000_000) == b"x" * 1_000_000
    assert secured.example.calls[-1].client_certificate is not None


async def test_an_unknown_authority_is_unavailable_and_not_sent(secured: Secured) -> None:
    channel = Channel(secured.example.target, ssl.create_default_context(cadata=Authority().pem.decode()))
    with pytest.raises(RpcError) as caught:
        await channel.unary("/test.Example/Echo", b"")
    assert (caught.value.code, caught.value.sent) == (Code.UNAVAILABLE, False)
    await channel.close()


async def test_plain_text_to_a_tls_port_is_unavailable(secured: Secured) -> None:
    channel = Channel(secured.example.target)
    with pytest.raises(RpcError) as caught:
        await channel.unary("/test.Example/Echo", b"", timeout=5.0)
    assert (caught.value.code, caught.value.sent) == (Code.UNAVAILABLE, False)
    await channel.close()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_curl_reads_the_http_side_over_both_versions(secured: Secured, version: str) -> None:
    authority = secured.directory / "authority.pem"
    authority.write_bytes(secured.authority.pem)
    url = f"https://{secured.example.target}/health?serializable=true"
    try:
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", version, "--cacert", str(authority), "-w", " %{http_version}", url, stdout=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        pytest.skip("curl is not installed")
    output, _ = await process.communicate()
    assert output.decode() == f"GET /health?serializable=true {version.removeprefix('--http')}"
