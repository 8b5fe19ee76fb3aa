"""ClusterTrustBundleAttest: who publishes the trust anchors of a signer needs `attest` on it."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.admission.signers import may, signer_of
from controlplane.objects import status

NAME: Final = "ClusterTrustBundleAttest"
RESOURCES: Final = frozenset({("certificates.k8s.io", "clustertrustbundles")})


async def validate(attributes: Attributes) -> None:
    if attributes.operation not in ("CREATE", "UPDATE") or attributes.subresource:
        return
    new, old = attributes.object, attributes.old
    signer = signer_of(new)
    if not signer or (attributes.operation == "UPDATE" and new.get("spec") == old.get("spec")):
        return
    if not await may(attributes, "attest", signer):
        why = f'user not permitted to attest for signerName "{signer}"'
        raise status.forbidden(attributes.resource, attributes.name, why)
