"""Priority: a pod's priority and preemption policy come from its class."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status
from controlplane.objects.kinds import PODS, PRIORITY_CLASSES

NAME: Final = "Priority"
RESOURCES: Final = frozenset({("", "pods")})
_GROUP: Final = PRIORITY_CLASSES.group


async def _named(attributes: Attributes, name: str) -> Object | None:
    key = layout.key(_GROUP, PRIORITY_CLASSES.plural, "", name)
    cache = await attributes.services.caches.ready(PRIORITY_CLASSES)
    entry = cache.get(key.encode()) or await attributes.services.store.get(key)
    return entry.object() if entry is not None else None


async def _default(attributes: Attributes) -> Object | None:
    """The global default with the lowest value, when there is one."""
    cache = await attributes.services.caches.ready(PRIORITY_CLASSES)
    found = [each for each in (entry.object() for entry in cache.entries()) if each.get("globalDefault")]
    return min(found, key=lambda each: int(each.get("value") or 0), default=None)


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_creation_of_pod():
        return obj
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    name = spec.get("priorityClassName") or ""
    if name:
        found = await _named(attributes, name)
        if found is None:
            raise status.forbidden(PODS, attributes.name, f"no PriorityClass with name {name} was found")
    else:
        found = await _default(attributes)
    value = int((found or {}).get("value") or 0)
    if spec.get("priority") not in (None, value):
        why = (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            "priority admission controller computed "
            f"{value} from the given PriorityClass name"
        )
        raise status.forbidden(PODS, attributes.name, why)
    if found is not None and not name:
        spec["priorityClassName"] = found["metadata"]["name"]
    spec["priority"] = value
    spec.setdefault("preemptionPolicy", (found or {}).get("preemptionPolicy") or "PreemptLowerPriority")
    return {**obj, "spec": spec}
