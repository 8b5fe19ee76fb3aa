"""Jobs and cron jobs."""

from typing import Final

from controlplane.objects.defaults.fill import Object, each, edit, edit_at, ensure, fill
from controlplane.objects.defaults.pod import pod_template
from controlplane.objects.meta import get_in

_NEVER_GIVES_UP: Final = 2**31 - 1


def _failure_rule(rule: Object) -> Object:
    return each(rule, "onPodConditions", lambda pattern: fill(pattern, {"status": "True"}))


def _job_spec(spec: Object) -> Object:
    spec = edit(spec, "template", pod_template)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec = {**spec, "completions": 1, "parallelism": 1}
    per_index = spec.get("backoffLimitPerIndex") is not None
    replacement = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    spec = edit(spec, "podFailurePolicy", lambda policy: each(policy, "rules", _failure_rule))
    return fill(
        spec,
        {
            "parallelism": 1,
            "backoffLimit": _NEVER_GIVES_UP if per_index else 6,
            "completionMode": "NonIndexed",
            "suspend": False,
            "podReplacementPolicy": replacement,
            "manualSelector": False,
        },
    )


def _job(job: Object) -> Object:
    labels = get_in(job, "spec", "template", "metadata", "labels")
    if labels:
        job = ensure(job, "metadata", lambda metadata: fill(metadata, {"labels": labels}))
    return edit(job, "spec", _job_spec)


def _cron_job_spec(spec: Object) -> Object:
    spec = edit_at(spec, ("jobTemplate", "spec", "template"), pod_template)
    history = {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    return fill(spec, {"concurrencyPolicy": "Allow", "suspend": False, **history})


DEFAULTS: Final = {
    ("batch", "jobs"): _job,
    ("batch", "cronjobs"): lambda obj: edit(obj, "spec", _cron_job_spec),
}
