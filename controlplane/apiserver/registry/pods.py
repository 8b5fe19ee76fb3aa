"""Pods: a new one is Pending and has a quality of service; deletion waits for its grace period while a node runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controlplane.apiserver.registry.deletion import Options
from controlplane.apiserver.registry.strategy import Strategy
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.quantity import milli_value

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

DEFAULT_GRACE_SECONDS: Final = 30
_COMPUTE: Final = ("cpu", "memory")


def _amounts(container: Object, kind: str) -> dict[str, int]:
    resources = container.get("resources") or {}
    return {name: milli_value(value) for name, value in (resources.get(kind) or {}).items() if name in _COMPUTE}


def quality_of_service(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from the requests and limits of all containers."""
    guaranteed, anything = True, False
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        limits = {name: amount for name, amount in _amounts(container, "limits").items() if amount > 0}
        requests = {name: amount for name, amount in _amounts(container, "requests").items() if amount > 0}
        anything = anything or bool(limits or requests)
        if any(name not in limits for name in _COMPUTE) or any(
            requests.get(name, limits[name]) != limits[name] for name in _COMPUTE if name in limits
        ):
            guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _create(services: Services, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    return {**obj, "status": {"phase": "Pending", "qosClass": quality_of_service(spec)}}


def grace_of(obj: Object, options: Options) -> int:
    """Seconds between the request and the end: none for a pod that no node runs."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    grace = options.grace_period_seconds
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        grace = DEFAULT_GRACE_SECONDS
    if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
        return 0
    return int(grace)


STRATEGY: Final = Strategy(prepare_create=_create, grace_of=grace_of, counts_generation=True)
