"""Rules for jobs and cron jobs."""

import re
from typing import Any, Final

from controlplane.objects import selectors
from controlplane.objects.meta import get_in
from controlplane.objects.rules import metadata
from controlplane.objects.rules.pod import pod_template
from controlplane.objects.rules.rule import IMMUTABLE, Errors, Object, Rules, at_least, join, keep
from controlplane.objects.status import FieldError

_NUMBERS: Final = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
                   "backoffLimitPerIndex", "maxFailedIndexes")  # fmt: skip
_RESTARTS: Final = ("OnFailure", "Never")
_LONGEST_CRON_NAME: Final = 52  # a job adds its minute to the name
_SHORTHANDS: Final = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_NAMES: Final[tuple[dict[str, int], ...]] = (
    {}, {}, {},
    {name: at for at, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)},
    {name: at for at, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))},
)  # fmt: skip


def _job_spec(spec: Object, path: str) -> Errors:
    errors = [error for name in _NUMBERS for error in at_least(spec.get(name), 0, join(path, name))]
    if not isinstance(spec.get("template"), dict):
        return [*errors, FieldError.required(join(path, "template"))]
    errors += pod_template(spec["template"], join(path, "template"))
    policy = get_in(spec, "template", "spec", "restartPolicy")
    at = join(path, "template.spec.restartPolicy")
    if policy in (None, "", "Always"):
        errors.append(FieldError.required(at, 'valid values: "OnFailure", "Never"'))
    elif policy not in _RESTARTS:
        errors.append(FieldError.not_supported(at, policy, _RESTARTS))
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        words = "when completion mode is Indexed"
        errors.append(FieldError.required(join(path, "completions"), words))
    if spec.get("podFailurePolicy") and policy != "Never":
        words = 'only "Never" is supported when podFailurePolicy is specified'
        errors.append(FieldError.invalid(at, policy, words))
    return errors


def _job(job: Object) -> Errors:
    spec: Object = job.get("spec") or {}
    errors = _job_spec(spec, "spec")
    found = spec.get("selector")
    if found is not None:
        errors += metadata.selector(found, "spec.selector")
        labels: dict[str, str] = get_in(spec, "template", "metadata", "labels", default={})
        if not errors and not selectors.from_selector(found).matches(labels):
            words = "`selector` does not match template `labels`"
            errors.append(FieldError.invalid("spec.template.metadata.labels", labels, words))
    return errors


def _update_job(new: Object, old: Object) -> Errors:
    errors = keep(new, old, ("spec", "selector"), ("spec", "completionMode"), ("spec", "podFailurePolicy"))
    indexed = get_in(new, "spec", "completionMode") == "Indexed"
    if not (indexed and get_in(new, "spec", "completions") == get_in(new, "spec", "parallelism")):
        errors += keep(new, old, ("spec", "completions"))
    if get_in(new, "spec", "template") != get_in(old, "spec", "template") and not _suspended_before_start(new, old):
        errors.append(FieldError.invalid("spec.template", get_in(new, "spec", "template"), IMMUTABLE))
    return errors


def _suspended_before_start(new: Object, old: Object) -> bool:
    """Where its pods run may change while a job waits; nothing else of its template."""
    if not get_in(old, "spec", "suspend") or get_in(old, "status", "startTime"):
        return False

    def fixed(obj: Object) -> Any:
        template: Object = get_in(obj, "spec", "template", default={})
        spec: Object = template.get("spec") or {}
        scheduling = ("nodeSelector", "affinity", "tolerations", "schedulingGates")
        return {key: value for key, value in spec.items() if key not in scheduling}

    return bool(fixed(new) == fixed(old))


def _cron_number(text: str, field: int) -> int | None:
    low, high = _RANGES[field]
    number = _NAMES[field].get(text.lower(), int(text) if text.isdigit() else -1)
    if field == 4 and number == 7:
        number = 0
    return number if low <= number <= high else None


def _cron_part(text: str, field: int) -> bool:
    """One part of a comma-separated cron field: "*", "1", "1-5", with "/step"."""
    base, slash, step = text.partition("/")
    if slash and not (step.isdigit() and int(step) > 0):
        return False
    if base in ("*", "?"):
        return True
    low, dash, high = base.partition("-")
    first = _cron_number(low, field)
    if first is None:
        return False
    last = _cron_number(high, field) if dash else first
    return last is not None and (first <= last or (field == 4 and last == 0))


def _schedule(text: str) -> Errors:
    path = "spec.schedule"
    if not text:
        return [FieldError.required(path)]
    if "TZ=" in text:
        words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return [FieldError.invalid(path, text, words)]
    if text in _SHORTHANDS or re.fullmatch(r"@every (\d+(\.\d+)?(h|m|s|ms))+", text):
        return []
    fields = text.split()
    if text.startswith("@"):
        return [FieldError.invalid(path, text, f"unrecognized descriptor: {text}")]
    if len(fields) != 5:
        words = f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
        return [FieldError.invalid(path, text, words)]
    for position, field in enumerate(fields):
        if not all(_cron_part(part, position) for part in field.split(",")):
            return [FieldError.invalid(path, text, f"failed to parse field {position + 1}: {field}")]
    return []


def _cron_job(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    name: str = get_in(obj, "metadata", "name", default="")
    errors: Errors = []
    if len(name) > _LONGEST_CRON_NAME:
        words = f"must be no more than {_LONGEST_CRON_NAME} characters"
        errors.append(FieldError.invalid("metadata.name", name, words))
    errors += _schedule(spec.get("schedule") or "")
    for number in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit", "startingDeadlineSeconds"):
        errors += at_least(spec.get(number), 0, f"spec.{number}")
    return errors + _job_spec(get_in(spec, "jobTemplate", "spec", default={}), "spec.jobTemplate.spec")


RULES: Final = {
    ("batch", "jobs"): Rules(_job, _update_job),
    ("batch", "cronjobs"): Rules(_cron_job),
}
