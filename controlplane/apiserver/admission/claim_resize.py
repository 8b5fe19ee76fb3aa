"""PersistentVolumeClaimResize: only claims whose class says so may grow."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import quantity, status
from controlplane.objects.kinds import PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES

NAME: Final = "PersistentVolumeClaimResize"
RESOURCES: Final = frozenset({("", "persistentvolumeclaims")})
_OLDER: Final = "volume.beta.kubernetes.io/storage-class"
_WHY: Final = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)


def _requested(obj: Object) -> int:
    found = (((obj.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
    return quantity.parse(found).nanos if found is not None else 0


async def _may_grow(attributes: Attributes) -> bool:
    obj = attributes.old
    name: Any = (obj["metadata"].get("annotations") or {}).get(_OLDER) or (obj.get("spec") or {}).get(
        "storageClassName"
    )
    if not name:
        return False
    key = layout.key(STORAGE_CLASSES.group, STORAGE_CLASSES.plural, "", name)
    entry = await attributes.services.store.get(key)
    return entry is not None and bool(entry.object().get("allowVolumeExpansion"))


async def validate(attributes: Attributes) -> None:
    if attributes.operation != "UPDATE" or attributes.subresource:
        return
    if _requested(attributes.object) > _requested(attributes.old) and not await _may_grow(attributes):
        raise status.forbidden(PERSISTENT_VOLUME_CLAIMS, attributes.name, _WHY)
