"""One stored object, several group-versions: HorizontalPodAutoscaler v1 and v2, Event of core and of events.k8s.io.

Everything else is stored as it is served. Conversions are pure functions between documents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from controlplane.apiserver.storage import codec
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import Resource

Conversion = Callable[[Object], Object]
_METRICS: Final = "autoscaling.alpha.kubernetes.io/metrics"


def _renamed(obj: Object, names: dict[str, str]) -> Object:
    return {names.get(name, name): value for name, value in obj.items()}


# Events: the newer API renames fields of the older and keeps what it dropped under `deprecated...`.
_EVENT_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_EVENT_NAMES_BACK: Final = {new: old for old, new in _EVENT_NAMES.items()}


def _event_to_core(obj: Object) -> Object:
    return _renamed(obj, _EVENT_NAMES_BACK)


def _event_from_core(obj: Object) -> Object:
    return _renamed(obj, _EVENT_NAMES)


def _autoscaler_to_v2(obj: Object) -> Object:
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    target = spec.pop("targetCPUUtilizationPercentage", None)
    if target is not None:
        resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}
        spec["metrics"] = [{"type": "Resource", "resource": resource}]
    converted = {**obj, "spec": spec}
    status: dict[str, Any] = dict(obj.get("status") or {})
    current = status.pop("currentCPUUtilizationPercentage", None)
    if current is not None:
        status["currentMetrics"] = [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": current}}}
        ]
    if status:
        converted["status"] = status
    return converted


def _cpu(metrics: Any, part: str) -> Any:
    for metric in metrics or []:
        resource = metric.get("resource") or {}
        if metric.get("type") == "Resource" and resource.get("name") == "cpu":
            return (resource.get(part) or {}).get("averageUtilization")
    return None


def _autoscaler_to_v1(obj: Object) -> Object:
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    metrics = spec.pop("metrics", None)
    spec.pop("behavior", None)
    target = _cpu(metrics, "target")
    if target is not None:
        spec["targetCPUUtilizationPercentage"] = target
    converted = {**obj, "spec": spec}
    status: dict[str, Any] = dict(obj.get("status") or {})
    current = _cpu(status.pop("currentMetrics", None), "current")
    status.pop("conditions", None)
    if current is not None:
        status["currentCPUUtilizationPercentage"] = current
    if status:
        converted["status"] = status
    return converted


# (group, version, plural) that is not the stored form: (stored apiVersion, to stored, from stored)
_CONVERSIONS: Final[dict[tuple[str, str, str], tuple[str, Conversion, Conversion]]] = {
    ("events.k8s.io", "v1", "events"): ("v1", _event_to_core, _event_from_core),
    ("autoscaling", "v1", "horizontalpodautoscalers"): ("autoscaling/v2", _autoscaler_to_v2, _autoscaler_to_v1),
}


def is_stored_form(resource: Resource) -> bool:
    """Whether stored bytes are this resource's own form."""
    return (resource.group, resource.version, resource.plural) not in _CONVERSIONS


def to_stored(resource: Resource, obj: Object) -> Object:
    """The object as it is stored."""
    found = _CONVERSIONS.get((resource.group, resource.version, resource.plural))
    return {**found[1](obj), "apiVersion": found[0]} if found is not None else obj


def from_stored(resource: Resource, obj: Object) -> Object:
    """A stored object in this resource's version."""
    found = _CONVERSIONS.get((resource.group, resource.version, resource.plural))
    return {**found[2](obj), "apiVersion": resource.group_version} if found is not None else obj


def raw_from_stored(resource: Resource, raw: bytes) -> bytes:
    """Answer bytes in this resource's version; the same bytes when it is the stored form."""
    if is_stored_form(resource):
        return raw
    return codec.encode_json(from_stored(resource, codec.decode(raw)))
