"""Approved certificate requests of Kubernetes' own signers are signed with the cluster's authority.

What a signer does not accept (see `objects/certificates.py`) fails for good, with the reason in a condition.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from controlplane.machinery.actions import Plan, Update
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock
from controlplane.machinery.controller import Caches, Kind, Watch
from controlplane.objects import certificates
from controlplane.objects.certificates import Request
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS
from controlplane.objects.meta import conditions_of, get_in, is_deleting

Object = dict[str, Any]

BACKDATE = timedelta(minutes=5)  # clocks of others may be behind


@dataclass(frozen=True, slots=True)
class Observed:
    """An approved request, and (after `fetch`) its certificate as PEM or why there is none."""

    object: Object
    request: Request
    certificate: bytes = b""
    problem: str = ""


class Authority:
    """Signs with a certificate and key of PEM files. OSError or ValueError for files that do not fit."""

    def __init__(self, certificate: Path, key: Path, longest: timedelta) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        self._certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
        self._key: Any = load_pem_private_key(key.read_bytes(), None)
        self._longest = longest
        if self._certificate.public_key() != self._key.public_key():
            raise ValueError(f"{key} is not the key of {certificate}")

    def sign(self, request: Request, usages: list[str], seconds: int | None, now: datetime) -> bytes:
        """The certificate as PEM, for `seconds` or as long as this authority signs, whichever is less."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding

        asked = timedelta(seconds=seconds) if seconds is not None else self._longest
        source = request.source
        end = min(now + min(asked, self._longest), self._certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(source.subject)
            .issuer_name(self._certificate.subject)
            .public_key(source.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(_key_usage(usages), critical=True)
            .add_extension(_extended_usage(usages), critical=False)
        )
        try:
            names = source.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=names.critical)
        except x509.ExtensionNotFound:
            pass
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _key_usage(usages: list[str]) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature="digital signature" in usages,
        key_encipherment="key encipherment" in usages,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _extended_usage(usages: list[str]) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    known = {"client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server auth": ExtendedKeyUsageOID.SERVER_AUTH}
    return x509.ExtendedKeyUsage([known[usage] for usage in sorted(usages) if usage in known])


class Signing:
    """Signs for the three signers of the cluster; requests of others are left to their own."""

    NAME = "certificatesigningrequest-signing-controller"
    WATCHES: tuple[Watch, ...] = (Kind(CERTIFICATE_SIGNING_REQUESTS),)

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock

    def observe(self, key: str, caches: Caches) -> Observed | None:
        """A request that is approved and not answered, or None."""
        obj = caches[CERTIFICATE_SIGNING_REQUESTS].get(key)
        if obj is None or is_deleting(obj) or get_in(obj, "status", "certificate"):
            return None
        answers = {condition.get("type") for condition in conditions_of(obj)}
        if "Approved" not in answers or answers & {"Denied", "Failed"}:
            return None
        spec: Object = obj.get("spec") or {}
        request = certificates.parsed_request(spec.get("request"))
        if spec.get("signerName") not in certificates.SIGNED_HERE or request is None:
            return None
        return Observed(obj, request)

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed:
        """Sign. It is here and not in the plan because a signature is never the same twice."""
        spec = observed.object["spec"]
        usages = list(spec.get("usages") or ())
        problem = certificates.problem(spec["signerName"], observed.request, usages)
        if problem:
            return replace(observed, problem=problem)
        now = self._clock.now().astimezone(UTC)
        return replace(
            observed,
            certificate=self._authority.sign(observed.request, usages, spec.get("expirationSeconds"), now),
        )

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """Write the certificate, or the failure."""
        obj = observed.object
        status: Object = dict(obj.get("status") or {})
        if observed.problem:
            failed = {
                "type": "Failed",
                "status": "True",
                "reason": "SignerValidationFailure",
                "message": observed.problem,
                "lastUpdateTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            status["conditions"] = [*(status.get("conditions") or ()), failed]
        else:
            status["certificate"] = base64.b64encode(observed.certificate).decode()
        return Plan((Update(CERTIFICATE_SIGNING_REQUESTS, {**obj, "status": status}, "status"),))
