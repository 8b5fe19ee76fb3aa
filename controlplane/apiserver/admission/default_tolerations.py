"""DefaultTolerationSeconds: pods stay a while on a node that is not ready or not reachable."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage.codec import Object

NAME: Final = "DefaultTolerationSeconds"
RESOURCES: Final = frozenset({("", "pods")})
_NOT_READY: Final = "node.kubernetes.io/not-ready"
_UNREACHABLE: Final = "node.kubernetes.io/unreachable"


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_creation_of_pod():
        return obj
    config = attributes.services.config
    spec: dict[str, Any] = obj.get("spec") or {}
    tolerations: list[Object] = list(spec.get("tolerations") or [])
    wanted = (
        (_NOT_READY, config.default_not_ready_toleration_seconds),
        (_UNREACHABLE, config.default_unreachable_toleration_seconds),
    )
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for key, seconds in wanted
        if not any(_tolerates(each, key) for each in tolerations)
    ]
    return {**obj, "spec": {**spec, "tolerations": tolerations + added}} if added else obj
