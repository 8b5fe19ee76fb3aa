"""An autoscaler's status: conditions AbleToScale, ScalingActive, ScalingLimited in Kubernetes' words, current metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from controlplane.machinery.actions import Update
from controlplane.objects.kinds import HORIZONTAL_POD_AUTOSCALERS
from controlplane.objects.meta import conditions_of, format_time, get_in, with_condition
from controlplane.objects.quantity import from_milli

Object = dict[str, Any]

_LIMITS = {
    "": ("False", "DesiredWithinRange", "the desired count is within the acceptable range"),
    "TooFewReplicas": ("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count"),
    "TooManyReplicas": ("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count"),
    "ScaleUpLimit": (
        "True",
        "ScaleUpLimit",
        "the desired replica count is increasing faster than the maximum scale rate",
    ),
    "ScaleDownLimit": (
        "True",
        "ScaleDownLimit",
        "the desired replica count is decreasing faster than the maximum scale rate",
    ),
}
_HELD = {
    "": ("ReadyForNewScale", "recommended size matches current size"),
    "ScaleUpStabilized": (
        "ScaleUpStabilized",
        "recent recommendations were lower than current one, applying the lowest recent recommendation",
    ),
    "ScaleDownStabilized": (
        "ScaleDownStabilized",
        "recent recommendations were higher than current one, applying the highest recent recommendation",
    ),
}


class Report:
    """Conditions in the making."""

    def __init__(self, autoscaler: Object, now: datetime) -> None:
        self._autoscaler = autoscaler
        self._now = now
        self._conditions = conditions_of(autoscaler)
        self._rescaled = False

    def set(self, kind: str, status: str, reason: str, message: str) -> None:
        condition = {"type": kind, "status": status, "reason": reason, "message": message}
        self._conditions = with_condition(self._conditions, condition, self._now)

    def stabilized(self, held: str) -> None:
        """What the windows did."""
        self.set("AbleToScale", "True", *_HELD[held])

    def limited(self, limit: str) -> None:
        """What bounds and policies did."""
        self.set("ScalingLimited", *_LIMITS[limit])

    def rescaled(self, replicas: int) -> None:
        """The target gets a new size."""
        text = f"the HPA controller was able to update the target scale to {replicas}"
        self.set("AbleToScale", "True", "SucceededRescale", text)
        self._rescaled = True

    def as_update(self, current: int, desired: int, metrics: list[Object]) -> Update | None:
        """The status that is due; None when it is there already."""
        old = self._autoscaler.get("status") or {}
        status: Object = {
            "observedGeneration": get_in(self._autoscaler, "metadata", "generation", default=0),
            "lastScaleTime": format_time(self._now) if self._rescaled else old.get("lastScaleTime"),
            "currentReplicas": current,
            "desiredReplicas": desired,
            "currentMetrics": metrics or None,
            "conditions": self._conditions,
        }
        status = {key: value for key, value in status.items() if value is not None}
        if status == old:
            return None
        return Update(HORIZONTAL_POD_AUTOSCALERS, {**self._autoscaler, "status": status}, "status")


def failed(autoscaler: Object, kind: str, reason: str, message: str, now: datetime) -> Update | None:
    """The status when the target cannot even be read."""
    report = Report(autoscaler, now)
    text = f"the HPA controller was unable to get the target's current scale: {message}"
    report.set(kind, "False", reason, text)
    old = autoscaler.get("status") or {}
    return report.as_update(int(old.get("currentReplicas") or 0), int(old.get("desiredReplicas") or 0), [])


def current_metric(kind: str, source: Object, usage: Mapping[str, float], share: float | None) -> Object:
    """The entry of status.currentMetrics; usage by pod in thousandths."""
    average = round(sum(usage.values()) / len(usage)) if usage else 0
    current: Object = {"averageValue": str(from_milli(average))}
    if share is not None:
        current["averageUtilization"] = int(share * 100 + 1e-9)
    entry: Object = {"name": source["name"], "current": current}
    if kind == "ContainerResource":
        return {"type": kind, "containerResource": {**entry, "container": source.get("container", "")}}
    return {"type": kind, "resource": entry}
