"""CertificateSigning: who issues a certificate, or says that it failed, needs `sign` on the request's signer."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.admission.signers import may, signer_of
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status

NAME: Final = "CertificateSigning"
RESOURCES: Final = frozenset({("certificates.k8s.io", "certificatesigningrequests")})


def _issued(obj: Object) -> tuple[str, list[Object]]:
    """(the certificate, conditions of failure)."""
    found = obj.get("status") or {}
    return str(found.get("certificate") or ""), [
        each for each in found.get("conditions") or [] if each.get("type") == "Failed"
    ]


async def validate(attributes: Attributes) -> None:
    if attributes.operation != "UPDATE" or attributes.subresource != "status":
        return
    if _issued(attributes.object) == _issued(attributes.old):
        return
    signer = signer_of(attributes.old)
    if not await may(attributes, "sign", signer):
        why = f'user not permitted to sign requests with signerName "{signer}"'
        raise status.forbidden(attributes.resource, attributes.name, why)
