"""ExtendedResourceToleration (off by default): who asks for an extended resource tolerates the taint of its name."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage.codec import Object

NAME: Final = "ExtendedResourceToleration"
RESOURCES: Final = frozenset({("", "pods")})
IS_OPTIONAL: Final = True


def _is_extended(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if attributes.operation not in ("CREATE", "UPDATE") or attributes.subresource:
        return obj
    spec: dict[str, Any] = obj.get("spec") or {}
    asked = {
        name
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        for name in (container.get("resources") or {}).get("requests") or ()
        if _is_extended(name)
    }
    tolerations: list[Object] = list(spec.get("tolerations") or ())
    added = [
        {"key": name, "operator": "Exists", "effect": "NoSchedule"}
        for name in sorted(asked)
        if not any(_covers(each, name) for each in tolerations)
    ]
    return {**obj, "spec": {**spec, "tolerations": tolerations + added}} if added else obj


def _covers(toleration: Object, name: str) -> bool:
    is_same = toleration.get("key") == name and toleration.get("operator") == "Exists"
    return is_same and toleration.get("effect", "") in ("", "NoSchedule")
