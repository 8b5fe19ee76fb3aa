"""CertificateApproval: who approves or denies a request needs `approve` on its signer."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.admission.signers import may, signer_of
from controlplane.objects import status

NAME: Final = "CertificateApproval"
RESOURCES: Final = frozenset({("certificates.k8s.io", "certificatesigningrequests")})


async def validate(attributes: Attributes) -> None:
    if attributes.operation != "UPDATE" or attributes.subresource != "approval":
        return
    signer = signer_of(attributes.old)
    if not await may(attributes, "approve", signer):
        why = f'user not permitted to approve requests with signerName "{signer}"'
        raise status.forbidden(attributes.resource, attributes.name, why)
