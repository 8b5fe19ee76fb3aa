"""CertificateSigningRequests: who asked is written by the server; who answers must have the right to, signer by signer.

Kubernetes' CertificateApproval, CertificateSigning and CertificateSubjectRestriction, and the part of its registry that
records the requester and keeps a request as it was made.
"""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.authn.user import MASTERS
from controlplane.apiserver.authz import attributes as authz
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import certificates, status
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS

NAME: Final = "CertificateRequester"
IS_INTERNAL: Final = True
RESOURCES: Final = frozenset({("certificates.k8s.io", "certificatesigningrequests")})
_WHO: Final = ("username", "uid", "groups", "extra")
_GROUP: Final = CERTIFICATE_SIGNING_REQUESTS.group


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_group_resource(CERTIFICATE_SIGNING_REQUESTS) or attributes.subresource:
        return obj
    if attributes.operation == "CREATE":
        spec: dict[str, Any] = {name: value for name, value in (obj.get("spec") or {}).items() if name not in _WHO}
        return {**obj, "spec": spec | attributes.user.document()}
    return {**obj, "spec": attributes.old.get("spec") or {}} if attributes.operation == "UPDATE" else obj


async def validate(attributes: Attributes) -> None:
    if not attributes.is_group_resource(CERTIFICATE_SIGNING_REQUESTS):
        return
    signer = str(((attributes.old or attributes.object).get("spec") or {}).get("signerName", ""))
    if attributes.operation == "CREATE":
        _check_subject(attributes, signer)
    elif attributes.operation == "UPDATE" and attributes.subresource == "approval":
        if _conditions(attributes.old) != _conditions(attributes.object):
            await _require(attributes, "approve", signer)
    elif attributes.operation == "UPDATE" and attributes.subresource == "status" and _is_answered(attributes):
        await _require(attributes, "sign", signer)


def _check_subject(attributes: Attributes, signer: str) -> None:
    """Nobody becomes the cluster's master by a certificate that is asked for."""
    if signer != certificates.CLIENT:
        return
    request = certificates.parsed_request((attributes.object.get("spec") or {}).get("request"))
    if request is not None and MASTERS in request.organizations:
        why = f"use of {signer} signer with {MASTERS} group is not allowed"
        raise status.forbidden(attributes.resource, attributes.name, why)


def _conditions(obj: Object) -> Any:
    return (obj.get("status") or {}).get("conditions") or []


def _failed(obj: Object) -> bool:
    return any(each.get("type") == "Failed" for each in _conditions(obj))


def _is_answered(attributes: Attributes) -> bool:
    old, new = attributes.old, attributes.object
    before, after = ((obj.get("status") or {}).get("certificate") for obj in (old, new))
    return before != after or _failed(old) != _failed(new)


async def _require(attributes: Attributes, verb: str, signer: str) -> None:
    """The right to `verb` the signer, or all signers of its domain."""
    authorizer = attributes.services.authorizer
    domain = signer.partition("/")[0]
    for name in (signer, f"{domain}/*"):
        if await authorizer.allows(attributes.user, authz.Attributes(verb, _GROUP, "*", "signers", "", name)):
            return
    why = f'user not permitted to {verb} requests with signerName "{signer}"'
    raise status.forbidden(attributes.resource, attributes.name, why)
