"""RuntimeClass: a pod gets what its runtime costs and where that runtime is, from the class that it names."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import quantity, status
from controlplane.objects.kinds import PODS, RUNTIME_CLASSES

NAME: Final = "RuntimeClass"
RESOURCES: Final = frozenset({("", "pods")})


async def _class(attributes: Attributes, name: str) -> Object:
    key = layout.key(RUNTIME_CLASSES.group, RUNTIME_CLASSES.plural, "", name)
    cache = await attributes.services.caches.ready(RUNTIME_CLASSES)
    entry = cache.get(key.encode()) or await attributes.services.store.get(key)
    if entry is None:
        raise _refusal(attributes, f'pod rejected: RuntimeClass "{name}" not found')
    return entry.object()


def _refusal(attributes: Attributes, why: str) -> status.ApiError:
    return status.forbidden(PODS, attributes.object["metadata"].get("name", ""), why)


def _same(one: Object, other: Object) -> bool:
    return set(one) == set(other) and all(
        quantity.parse(one[name]).nanos == quantity.parse(other[name]).nanos for name in one
    )


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_creation_of_pod():
        return obj
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    if not spec.get("runtimeClassName"):
        return obj
    found = await _class(attributes, spec["runtimeClassName"])
    overhead = (found.get("overhead") or {}).get("podFixed")
    if overhead:
        given = spec.get("overhead")
        if given and not _same(given, overhead):
            why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            raise _refusal(attributes, why)
        spec["overhead"] = overhead
    scheduling = found.get("scheduling") or {}
    if scheduling.get("nodeSelector"):
        wanted, selector = scheduling["nodeSelector"], spec.get("nodeSelector") or {}
        for key, value in wanted.items():
            if selector.get(key, value) != value:
                why = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value};"
                raise _refusal(attributes, f"{why} pod.spec.nodeSelector[{key}] = {selector[key]}")
        spec["nodeSelector"] = {**selector, **wanted}
    if scheduling.get("tolerations"):
        present = spec.get("tolerations") or []
        spec["tolerations"] = [*present, *(each for each in scheduling["tolerations"] if each not in present)]
    return {**obj, "spec": spec}


async def validate(attributes: Attributes) -> None:
    """Overhead comes from a class and from nowhere else."""
    if not attributes.is_creation_of_pod():
        return
    spec = attributes.object.get("spec") or {}
    if spec.get("overhead") and not spec.get("runtimeClassName"):
        raise _refusal(attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
