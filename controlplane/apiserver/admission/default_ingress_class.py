"""DefaultIngressClass: an ingress that names no class gets the default one."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.admission.default_classes import default_of
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import INGRESS_CLASSES

NAME: Final = "DefaultIngressClass"
RESOURCES: Final = frozenset({("networking.k8s.io", "ingresses")})
DEFAULT: Final = ("ingressclass.kubernetes.io/is-default-class",)
_OLDER: Final = "kubernetes.io/ingress.class"


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if attributes.operation != "CREATE" or attributes.subresource:
        return obj
    spec: dict[str, Any] = obj.get("spec") or {}
    if spec.get("ingressClassName") is not None or _OLDER in (obj["metadata"].get("annotations") or {}):
        return obj
    found = await default_of(attributes, INGRESS_CLASSES, DEFAULT)
    return obj if found is None else {**obj, "spec": {**spec, "ingressClassName": found["metadata"]["name"]}}
