"""Rules for horizontal pod autoscalers."""

from typing import Final

from controlplane.objects.rules.rule import Errors, Object, Rules, at_least, each
from controlplane.objects.status import FieldError

_SOURCES: Final = {
    "Object": "object", "Pods": "pods", "Resource": "resource", "ContainerResource": "containerResource",
    "External": "external",
}  # fmt: skip
_LONGEST_WINDOW: Final = 3600
_LONGEST_PERIOD: Final = 1800


def _metric(metric: Object, path: str) -> Errors:
    kind = metric.get("type") or ""
    if not kind:
        return [FieldError.required(f"{path}.type", "must specify a metric source type")]
    field = _SOURCES.get(kind)
    if field is None:
        return []  # the enumerations refuse it
    source = metric.get(field)
    if not isinstance(source, dict):
        return [FieldError.required(f"{path}.{field}", "must populate information for the given metric source")]
    return _target(source.get("target") or {}, f"{path}.{field}.target")


def _target(target: Object, path: str) -> Errors:
    if not target.get("type"):
        return [FieldError.required(f"{path}.type", "must specify a metric target type")]
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        return [FieldError.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0")]
    if utilization is None and target.get("value") is None and target.get("averageValue") is None:
        words = "must set either a target raw value or a target utilization"
        return [FieldError.required(f"{path}.averageUtilization", words)]
    return []


def _behavior(spec: Object) -> Errors:
    errors: Errors = []
    for direction in ("scaleUp", "scaleDown"):
        rules: Object = (spec.get("behavior") or {}).get(direction) or {}
        path = f"spec.behavior.{direction}"
        window = rules.get("stabilizationWindowSeconds")
        errors += at_least(window, 0, f"{path}.stabilizationWindowSeconds")
        if window is not None and window > _LONGEST_WINDOW:
            words = f"must be less than or equal to {_LONGEST_WINDOW}"
            errors.append(FieldError.invalid(f"{path}.stabilizationWindowSeconds", window, words))
        for where, policy in each(rules, "policies", path):
            if (policy.get("value") or 0) <= 0:
                errors.append(
                    FieldError.invalid(f"{where}.value", policy.get("value") or 0, "must be greater than zero")
                )
            period = policy.get("periodSeconds") or 0
            if period <= 0:
                errors.append(FieldError.invalid(f"{where}.periodSeconds", period, "must be greater than zero"))
            elif period > _LONGEST_PERIOD:
                words = f"must be less than or equal to {_LONGEST_PERIOD}"
                errors.append(FieldError.invalid(f"{where}.periodSeconds", period, words))
    return errors


def _autoscaler(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    errors: Errors = []
    if least is not None and least < 1:
        errors.append(FieldError.invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
    if most < 1:
        errors.append(FieldError.invalid("spec.maxReplicas", most, "must be greater than 0"))
    elif least is not None and most < least:
        errors.append(FieldError.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    target: Object = spec.get("scaleTargetRef") or {}
    errors += [FieldError.required(f"spec.scaleTargetRef.{name}") for name in ("kind", "name") if not target.get(name)]
    for path, metric in each(spec, "metrics", "spec"):
        errors += _metric(metric, path)
    return errors + _behavior(spec)


RULES: Final = {("autoscaling", "horizontalpodautoscalers"): Rules(_autoscaler)}
