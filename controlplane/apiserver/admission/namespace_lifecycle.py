"""NamespaceLifecycle: nothing is created in a namespace that is absent or going; the first namespaces are not deleted."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status
from controlplane.objects.kinds import NAMESPACES

NAME: Final = "NamespaceLifecycle"
IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})
# Reviews ask questions: they are answered for namespaces that do not exist, too.
_REVIEWS: Final = frozenset({"localsubjectaccessreviews"})


async def _namespace(attributes: Attributes) -> Object | None:
    key = layout.key("", NAMESPACES.plural, "", attributes.namespace)
    cache = await attributes.services.caches.ready(NAMESPACES)
    entry = cache.get(key.encode()) or await attributes.services.store.get(key)
    return entry.object() if entry is not None else None


async def validate(attributes: Attributes) -> None:
    if attributes.operation == "DELETE":
        if attributes.is_group_resource(NAMESPACES) and attributes.name in IMMORTAL:
            raise status.forbidden(NAMESPACES, attributes.name, "this namespace may not be deleted")
        return
    if attributes.operation != "CREATE" or not attributes.resource.namespaced or attributes.subresource:
        return
    if attributes.resource.plural in _REVIEWS:
        return
    namespace = await _namespace(attributes)
    if namespace is None:
        raise status.not_found(NAMESPACES, attributes.namespace)
    if namespace["metadata"].get("deletionTimestamp") is not None:
        why = f"unable to create new content in namespace {attributes.namespace} because it is being terminated"
        error = status.forbidden(attributes.resource, attributes.name, why)
        message = f"namespace {attributes.namespace} is being terminated"
        error.details["causes"] = [
            {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}
        ]
        raise error
