"""CertificateSubjectRestriction: no client certificate makes its holder a member of `system:masters`."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.admission.signers import signer_of
from controlplane.apiserver.authn.user import MASTERS
from controlplane.objects import status

NAME: Final = "CertificateSubjectRestriction"
RESOURCES: Final = frozenset({("certificates.k8s.io", "certificatesigningrequests")})
_SIGNER: Final = "kubernetes.io/kube-apiserver-client"


async def validate(attributes: Attributes) -> None:
    if attributes.operation != "CREATE" or attributes.subresource or signer_of(attributes.object) != _SIGNER:
        return
    try:
        encoded = base64.b64decode((attributes.object.get("spec") or {}).get("request") or "")
        request = x509.load_pem_x509_csr(encoded)
    except (binascii.Error, ValueError) as error:
        why = f"failed to parse CSR: {error}"
        raise status.forbidden(attributes.resource, attributes.name, why) from None
    groups = [each.value for each in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if MASTERS in groups:
        why = f"use of {_SIGNER} signer with {MASTERS} group is not allowed"
        raise status.forbidden(attributes.resource, attributes.name, why)
