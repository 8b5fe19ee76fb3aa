"""LimitRanger: containers get their namespace's default requests and limits, and stay within its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import quantity, status
from controlplane.objects.kinds import LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS

NAME: Final = "LimitRanger"
RESOURCES: Final = frozenset({("", "pods"), ("", "persistentvolumeclaims")})
_ANNOTATION: Final = "kubernetes.io/limit-ranger"


async def _limits(attributes: Attributes, kind: str) -> list[Object]:
    """The items of one type in all LimitRanges of the namespace."""
    cache = await attributes.services.caches.ready(LIMIT_RANGES)
    if not len(cache):
        return []
    prefix = layout.scope_prefix("", LIMIT_RANGES.plural, attributes.namespace).encode()
    return [
        item
        for entry in cache.entries(prefix)
        for item in (entry.object().get("spec") or {}).get("limits") or ()
        if item.get("type") == kind
    ]


def with_defaults(container: Object, items: list[Object]) -> tuple[Object, list[str]]:
    """The container with default requests and limits, and the words of the annotation for what was set."""
    resources: dict[str, Any] = dict(container.get("resources") or {})
    limits, requests = dict(resources.get("limits") or {}), dict(resources.get("requests") or {})
    said = []
    for item in items:
        for name, amount in (item.get("default") or {}).items():
            if name not in limits:
                limits[name] = amount
                said.append(f"{name} limit for container {container.get('name')}")
        for name, amount in (item.get("defaultRequest") or {}).items():
            if name not in requests:
                requests[name] = amount
                said.append(f"{name} request for container {container.get('name')}")
    if not said:
        return container, []
    resources |= {"limits": limits, "requests": requests}
    return {**container, "resources": {name: each for name, each in resources.items() if each}}, said


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_creation_of_pod():
        return obj
    items = await _limits(attributes, "Container")
    if not items:
        return obj
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    words: list[str] = []
    for field in ("initContainers", "containers"):
        if spec.get(field):
            changed = [with_defaults(container, items) for container in spec[field]]
            spec[field] = [container for container, _ in changed]
            words += [word for _, said in changed for word in said]
    if not words:
        return obj
    metadata = obj["metadata"]
    annotations = {**(metadata.get("annotations") or {}), _ANNOTATION: f"LimitRanger plugin set: {', '.join(words)}"}
    return {**obj, "metadata": {**metadata, "annotations": annotations}, "spec": spec}


def _above(found: str, bound: str) -> bool:
    return quantity.parse(found).nanos > quantity.parse(bound).nanos


def violations(kind: str, item: Object, requests: Object, limits: Object) -> Iterator[str]:
    """What is out of bounds, in Kubernetes' words."""
    for name, bound in (item.get("min") or {}).items():
        found = requests.get(name)
        if found is None:
            yield f"minimum {name} usage per {kind} is {bound}.  No request is specified"
        elif _above(bound, found):
            yield f"minimum {name} usage per {kind} is {bound}, but request is {found}"
    for name, bound in (item.get("max") or {}).items():
        found = limits.get(name, requests.get(name) if kind == "PersistentVolumeClaim" else None)
        if found is None:
            yield f"maximum {name} usage per {kind} is {bound}.  No limit is specified"
        elif _above(found, bound):
            yield f"maximum {name} usage per {kind} is {bound}, but limit is {found}"
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        request, limit = requests.get(name), limits.get(name)
        if request is None or limit is None:
            yield f"{name} max limit to request ratio per {kind} is {ratio}, but no request or limit is specified"
        elif quantity.parse(limit).nanos * 10**9 > quantity.parse(request).nanos * quantity.parse(ratio).nanos:
            share = quantity.parse(limit).nanos / max(quantity.parse(request).nanos, 1)
            yield f"{name} max limit to request ratio per {kind} is {ratio}, but provided ratio is {share:f}"


def _total(spec: Object, kind: str) -> Object:
    """Sums over the containers of a pod; a resource that a container lacks is not limited at all."""
    sums: dict[str, quantity.Quantity] = {}
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get(kind) or {}).items():
            parsed = quantity.parse(amount)
            sums[name] = sums[name] + parsed if name in sums else parsed
    return {name: str(amount) for name, amount in sums.items()}


async def _pod_problems(attributes: Attributes) -> list[str]:
    spec = attributes.object.get("spec") or {}
    found: list[str] = []
    for item in await _limits(attributes, "Container"):
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            resources = container.get("resources") or {}
            found += violations("Container", item, resources.get("requests") or {}, resources.get("limits") or {})
    for item in await _limits(attributes, "Pod"):
        found += violations("Pod", item, _total(spec, "requests"), _total(spec, "limits"))
    return found


async def validate(attributes: Attributes) -> None:
    if attributes.operation != "CREATE" or attributes.subresource:
        return
    problems: list[str] = []
    if attributes.resource == PODS:
        problems = await _pod_problems(attributes)
    elif attributes.resource == PERSISTENT_VOLUME_CLAIMS:
        resources = (attributes.object.get("spec") or {}).get("resources") or {}
        requests = resources.get("requests") or {}
        for item in await _limits(attributes, "PersistentVolumeClaim"):
            problems += violations("PersistentVolumeClaim", item, requests, requests)
    if problems:
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise status.forbidden(attributes.resource, attributes.object["metadata"].get("name", ""), text)
