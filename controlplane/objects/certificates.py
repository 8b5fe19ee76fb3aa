"""Certificate requests as values, and what Kubernetes' own signers ask of them.

    parsed_request(text) -> Request | None         the base64 of a PEM block in `spec.request`
    problem(signer, request, usages) -> str        why a signer would not sign it; "" when it would

Source: the reference of CertificateSigningRequests, section "Kubernetes signers".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography.x509 import CertificateSigningRequest

CLIENT: Final = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING: Final = "kubernetes.io/kubelet-serving"
LEGACY: Final = "kubernetes.io/legacy-unknown"
KUBELET_SIGNERS: Final = (KUBELET_CLIENT, KUBELET_SERVING)
SIGNED_HERE: Final = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING)

NODES: Final = "system:nodes"
NODE_PREFIX: Final = "system:node:"
USAGES: Final = (
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
)
_OF_CLIENTS: Final = frozenset({"client auth", "digital signature", "key encipherment"})
_OF_SERVERS: Final = frozenset({"server auth", "digital signature", "key encipherment"})
_ENCIPHERMENT: Final = frozenset({"key encipherment"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a PKCS#10 request with a good signature says."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    source: CertificateSigningRequest


def parsed_request(text: Any) -> Request | None:
    """The request in a base64 text of PEM; None for anything that is none or whose signature is not its key's."""
    if not isinstance(text, str):
        return None
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        source = x509.load_pem_x509_csr(base64.b64decode(text, validate=True))
        return _request(source) if source.is_signature_valid else None
    except (binascii.Error, ValueError, UnsupportedAlgorithm, TypeError):
        return None


def _request(source: CertificateSigningRequest) -> Request:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    names = source.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = source.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    try:
        found = source.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = x509.SubjectAlternativeName([])
    return Request(
        str(names[0].value) if names else "",
        tuple(str(each.value) for each in groups),
        tuple(found.get_values_for_type(x509.DNSName)),
        tuple(str(each) for each in found.get_values_for_type(x509.IPAddress)),
        tuple(found.get_values_for_type(x509.RFC822Name)),
        tuple(found.get_values_for_type(x509.UniformResourceIdentifier)),
        source,
    )


def _problem_of_names(request: Request, *, serving: bool) -> str:
    if request.organizations != (NODES,):
        return f"subject organization is not {NODES}"
    if not request.common_name.startswith(NODE_PREFIX) or request.common_name == NODE_PREFIX:
        return f"subject common name does not begin with '{NODE_PREFIX}'"
    if request.emails:
        return "email subjectAltNames are not allowed"
    if request.uris:
        return "URI subjectAltNames are not allowed"
    if serving:
        return "" if request.dns_names or request.addresses else "at least one DNS or IP subjectAltName is required"
    if request.dns_names:
        return "DNS subjectAltNames are not allowed"
    return "IP subjectAltNames are not allowed" if request.addresses else ""


def problem(signer: str, request: Request, usages: Iterable[str]) -> str:
    """Why the signer refuses; "" when it does not. Only for SIGNED_HERE."""
    given = frozenset(usages)
    if signer == CLIENT:
        if "client auth" not in given:
            return "usages must have client auth"
        extra = sorted(given - _OF_CLIENTS)
        return f"usages {extra} are not allowed" if extra else ""
    serving = signer == KUBELET_SERVING
    wanted = _OF_SERVERS if serving else _OF_CLIENTS
    found = _problem_of_names(request, serving=serving)
    if found:
        return found
    if given in (wanted, wanted - _ENCIPHERMENT):
        return ""
    return f"usages did not match {sorted(wanted)}"


def is_certificate(text: Any) -> bool:
    """Whether a base64 text is PEM of one or more certificates and nothing else."""
    if not isinstance(text, str):
        return False
    from cryptography import x509

    try:
        pem = base64.b64decode(text, validate=True)
        return pem.count(b"-----BEGIN ") == len(x509.load_pem_x509_certificates(pem))
    except (binascii.Error, ValueError):
        return False


def end_of(text: Any) -> datetime | None:
    """When the first certificate in a base64 text of PEM ends; None for anything else."""
    if not is_certificate(text):
        return None
    from cryptography import x509

    return x509.load_pem_x509_certificates(base64.b64decode(text))[0].not_valid_after_utc
