"""Rules for disruption budgets."""

from typing import Final

from controlplane.objects.rules import metadata
from controlplane.objects.rules.rule import Errors, Object, Rules, int_or_percent
from controlplane.objects.status import FieldError


def _budget(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    errors: Errors = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        words = "minAvailable and maxUnavailable cannot be both set"
        errors.append(FieldError.invalid("spec", spec, words))
    errors += int_or_percent(spec.get("minAvailable"), "spec.minAvailable")
    errors += int_or_percent(spec.get("maxUnavailable"), "spec.maxUnavailable")
    return errors + metadata.selector(spec.get("selector"), "spec.selector")


RULES: Final = {("policy", "poddisruptionbudgets"): Rules(_budget)}
