"""DefaultStorageClass: a claim that names no class gets the default one; the empty name asks for none."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.admission.default_classes import default_of
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import STORAGE_CLASSES

NAME: Final = "DefaultStorageClass"
RESOURCES: Final = frozenset({("", "persistentvolumeclaims")})
DEFAULT: Final = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_OLDER: Final = "volume.beta.kubernetes.io/storage-class"


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if attributes.operation != "CREATE" or attributes.subresource:
        return obj
    spec: dict[str, Any] = obj.get("spec") or {}
    if spec.get("storageClassName") is not None or _OLDER in (obj["metadata"].get("annotations") or {}):
        return obj
    found = await default_of(attributes, STORAGE_CLASSES, DEFAULT)
    return obj if found is None else {**obj, "spec": {**spec, "storageClassName": found["metadata"]["name"]}}
