"""TaintNodesByCondition: a new node takes no pods until it is known to be ready."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage.codec import Object

NAME: Final = "TaintNodesByCondition"
RESOURCES: Final = frozenset({("", "nodes")})
_TAINT: Final = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if attributes.operation != "CREATE" or attributes.subresource:
        return obj
    spec: dict[str, Any] = obj.get("spec") or {}
    taints = spec.get("taints") or []
    if any((each.get("key"), each.get("effect")) == (_TAINT["key"], _TAINT["effect"]) for each in taints):
        return obj
    return {**obj, "spec": {**spec, "taints": [*taints, _TAINT]}}
