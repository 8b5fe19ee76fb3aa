"""StorageObjectInUseProtection: claims and volumes get the finalizer that keeps them while something uses them."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage.codec import Object

NAME: Final = "StorageObjectInUseProtection"
RESOURCES: Final = frozenset({("", "persistentvolumeclaims"), ("", "persistentvolumes")})
FINALIZERS: Final = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if attributes.operation != "CREATE" or attributes.subresource:
        return obj
    wanted, metadata = FINALIZERS[attributes.resource.plural], obj["metadata"]
    present = metadata.get("finalizers") or []
    return obj if wanted in present else {**obj, "metadata": {**metadata, "finalizers": [*present, wanted]}}
