"""CertificateSigningRequests carry who asked for them: the server writes that, nobody else."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS

NAME: Final = "CertificateRequester"
_WHO: Final = ("username", "uid", "groups", "extra")


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_group_resource(CERTIFICATE_SIGNING_REQUESTS) or attributes.subresource:
        return obj
    spec: dict[str, Any] = {name: value for name, value in (obj.get("spec") or {}).items() if name not in _WHO}
    if attributes.operation == "CREATE":
        spec |= attributes.user.document()
    else:
        before = attributes.old.get("spec") or {}
        spec |= {name: before[name] for name in _WHO if name in before}
    return {**obj, "spec": spec}
