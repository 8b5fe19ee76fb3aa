"""Certificates of --auto-tls and --peer-auto-tls, and the names that a client's or a member's certificate must have.

    self_signed(folder, hosts, years, now) -> (certificate file, key file) made once, kept, made anew when it has ended
    AllowedNames(common_names, hosts).set(context)                        others are refused at the end of the handshake
"""

import datetime
import ipaddress
import logging
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["AllowedNames", "self_signed"]

logger = logging.getLogger("kvstore.tls")

DAYS_OF_A_YEAR = 365


@dataclass(frozen=True, slots=True)
class AllowedNames:
    """Whose certificates are taken: those with one of the common names, or valid for one of the hosts. None: all."""

    common_names: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def set(self, context: ssl.SSLContext) -> None:
        """Have the handshakes of `context` fail for the certificates of others, on either side."""
        if self.common_names or self.hosts:
            names = self

            class NamedObject(ssl.SSLObject):
                """Looks at the peer's certificate once it is known to be good."""

                def do_handshake(self) -> None:
                    super().do_handshake()
                    certificate = self.getpeercert()
                    if certificate is not None and not names.allow(certificate):
                        raise ssl.SSLCertVerificationError("client certificate authentication failed")

            context.sslobject_class = NamedObject

    def allow(self, certificate: Mapping[str, Any]) -> bool:
        """Tell whether this certificate, as SSLObject.getpeercert() gives it, has one of the names."""
        subject = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        if any(name in self.common_names for name in subject):
            return True
        names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
        return any(_is_for(pattern, host) for pattern in names for host in self.hosts)


def _is_for(pattern: str, host: str) -> bool:
    """Tell whether a certificate's name covers a host: `*` stands for one first label, as in RFC 6125."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".").strip("[]")
    if pattern.startswith("*."):
        return "." in host and host.partition(".")[2] == pattern[2:]
    address = _address(host)
    return pattern == host if address is None else _address(pattern) == address


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def self_signed(folder: Path, hosts: Iterable[str], years: int, now: datetime.datetime) -> tuple[str, str]:
    """Return the certificate and key in `folder`; make them, for `hosts` and so many years, unless good ones are there.

    Raises ValueError without years, and OSError.
    """
    if years <= 0:
        raise ValueError("--self-signed-cert-validity must be a number of years above 0")
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    if not (key_file.is_file() and _lasts(certificate_file, now)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(key, sorted(set(hosts)), now, years)
        _write(key_file, key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
        _write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))  # last: it says that the pair is whole
        logger.info("made the certificate %s, for %d years", certificate_file, years)
    return str(certificate_file), str(key_file)


def _lasts(file: Path, now: datetime.datetime) -> bool:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc > now
    except (OSError, ValueError):
        return False


def _certificate(
    key: ec.EllipticCurvePrivateKey, hosts: list[str], now: datetime.datetime, years: int
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "pilothouse")])
    names = [x509.DNSName(host) if (found := _address(host)) is None else x509.IPAddress(found) for host in hosts]
    usage = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=DAYS_OF_A_YEAR * years))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_encipherment=True, **usage), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


def _write(file: Path, content: bytes) -> None:
    new = file.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    new.replace(file)
