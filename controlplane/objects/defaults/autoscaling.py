"""Horizontal pod autoscalers."""

from typing import Any, Final

from controlplane.objects.defaults.fill import Object, edit, ensure, fill

_CPU: Final = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}
_UP: Final[dict[str, Any]] = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: Final[dict[str, Any]] = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def _behavior(behavior: Object) -> Object:
    behavior = ensure(behavior, "scaleUp", lambda rules: fill(rules, _UP))
    return ensure(behavior, "scaleDown", lambda rules: fill(rules, _DOWN))


def _spec(spec: Object) -> Object:
    return edit(fill(spec, {"minReplicas": 1}), "behavior", _behavior)


def _autoscaler(autoscaler: Object) -> Object:
    """Version 2 gets a metric when it has none; version 1 has its one field for it, which may stay empty."""
    autoscaler = edit(autoscaler, "spec", _spec)
    if autoscaler.get("apiVersion") == "autoscaling/v1":
        return autoscaler
    return edit(autoscaler, "spec", lambda spec: spec if spec.get("metrics") else {**spec, "metrics": [_CPU]})


DEFAULTS: Final = {("autoscaling", "horizontalpodautoscalers"): _autoscaler}
