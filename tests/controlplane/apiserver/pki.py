"""Certificates for tests: one authority, server and client certificates (EC P-256), kubeconfig files."""

from __future__ import annotations

import base64
import ipaddress
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """Makes certificates into one directory."""

    def __init__(self, directory: Path, name: str = "test authority") -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self._name, self._key, ca=True)
        self.path = directory / "ca.crt"
        self.path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        self.key_path = directory / "ca.key"
        self.key_path.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool = False, server: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if server:
            names = [
                x509.DNSName("localhost"),
                x509.DNSName("kubernetes"),
                x509.DNSName("*.default.svc"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if not ca:
            usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, file: str, name: str, groups: tuple[str, ...] = (), *, server: bool = False) -> tuple[Path, Path]:
        """(certificate, key) files of one subject."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        certificate = self._sign(x509.Name(attributes), key, server=server)
        crt, pem = self.directory / f"{file}.crt", self.directory / f"{file}.key"
        crt.write_bytes(certificate.public_bytes(Encoding.PEM))
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return crt, pem

    def kubeconfig(self, server: str, name: str, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig of one user; its files stand beside it."""
        crt, key = self.issue(name.replace(":", "-"), name, groups)
        path = self.directory / f"{name.replace(':', '-')}.kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": base64.b64encode(self.path.read_bytes()).decode(),
                    },
                }
            ],
            "users": [
                {
                    "name": "user",
                    "user": {
                        "client-certificate-data": base64.b64encode(crt.read_bytes()).decode(),
                        "client-key-data": base64.b64encode(key.read_bytes()).decode(),
                    },
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(document))
        return path


def signing_request(name: str, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> str:
    """`spec.request` of a CertificateSigningRequest with a new key: base64 of PEM."""
    return base64.b64encode(request_pem(ec.generate_private_key(ec.SECP256R1()), name, groups, hosts)).decode()


def request_pem(
    key: ec.EllipticCurvePrivateKey, name: str, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()
) -> bytes:
    """A PKCS#10 request; hosts that are addresses become addresses."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if hosts:
        names = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
