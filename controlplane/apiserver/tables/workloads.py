"""Deployments and their kin, jobs, autoscalers."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import (
    AGE,
    NONE,
    UNKNOWN,
    UNSET,
    Column,
    Object,
    Printer,
    age,
    boolean,
    containers,
    human_duration,
    labels,
    number,
    selector,
    since,
    some,
    text,
    wide,
)
from controlplane.objects.meta import controller_of, get_in, is_true, parse_time

_MOST_METRICS: Final = 2
_INTEGERS: Final = ("Desired", "Current", "Ready")


def _template(obj: Object) -> list[str]:
    return containers(get_in(obj, "spec", "template", default={}))


def _selected(obj: Object) -> str:
    return selector(get_in(obj, "spec", "selector"))


def _deployment(obj: Object, now: datetime) -> list[Any]:
    ready = f"{number(obj, 'status', 'readyReplicas')}/{number(obj, 'spec', 'replicas')}"
    counts = [number(obj, "status", name) for name in ("updatedReplicas", "availableReplicas")]
    return [ready, *counts, age(obj, now), *_template(obj), _selected(obj)]


def _counts(obj: Object) -> list[int]:
    return [number(obj, "spec", "replicas"), number(obj, "status", "replicas"), number(obj, "status", "readyReplicas")]


def _replica_set(obj: Object, now: datetime) -> list[Any]:
    return [*_counts(obj), age(obj, now), *_template(obj), _selected(obj)]


def _replication_controller(obj: Object, now: datetime) -> list[Any]:
    return [*_counts(obj), age(obj, now), *_template(obj), labels(get_in(obj, "spec", "selector"))]


def _stateful_set(obj: Object, now: datetime) -> list[Any]:
    ready = f"{number(obj, 'status', 'readyReplicas')}/{number(obj, 'spec', 'replicas')}"
    return [ready, age(obj, now), *_template(obj)]


_DAEMON_COUNTS: Final = (
    "desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable",
)  # fmt: skip


def _daemon_set(obj: Object, now: datetime) -> list[Any]:
    counts = [number(obj, "status", name) for name in _DAEMON_COUNTS]
    where = labels(get_in(obj, "spec", "template", "spec", "nodeSelector"))
    return [*counts, where, age(obj, now), *_template(obj), _selected(obj)]


def _job_status(job: Object) -> str:
    for condition in ("Complete", "Failed"):
        if is_true(job, condition):
            return condition
    if get_in(job, "metadata", "deletionTimestamp"):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if is_true(job, condition):
            return condition
    return "Running"


def _completions(job: Object) -> str:
    done = number(job, "status", "succeeded")
    wanted = get_in(job, "spec", "completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallelism = number(job, "spec", "parallelism")
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(job: Object, now: datetime) -> str:
    start, end = get_in(job, "status", "startTime"), get_in(job, "status", "completionTime")
    if not start:
        return ""
    until = parse_time(end) if end else now
    return human_duration((until - parse_time(start)).total_seconds())


def _job(job: Object, now: datetime) -> list[Any]:
    shown = [_job_status(job), _completions(job), _duration(job, now), age(job, now)]
    return [*shown, *_template(job), _selected(job)]


def _cron_job(obj: Object, now: datetime) -> list[Any]:
    job: Object = get_in(obj, "spec", "jobTemplate", default={})
    return [
        text(obj, "spec", "schedule", absent=""),
        text(obj, "spec", "timeZone"),
        boolean(get_in(obj, "spec", "suspend")),
        len(get_in(obj, "status", "active", default=())),
        since(get_in(obj, "status", "lastScheduleTime"), now, NONE),
        age(obj, now),
        *_template(job),
        _selected(job),
    ]


def _target_text(wanted: Object, current: Object, name: str) -> str:
    """ "cpu: 5%/80%", or a plain amount, or an average."""
    prefix = f"{name}: " if name else ""
    if wanted.get("averageUtilization") is not None or (name and wanted.get("averageValue") is None):
        used = current.get("averageUtilization")
        goal = wanted.get("averageUtilization")
        return f"{prefix}{UNKNOWN if used is None else f'{used}%'}/{'<auto>' if goal is None else f'{goal}%'}"
    if wanted.get("averageValue") is not None:
        return f"{prefix}{current.get('averageValue', UNKNOWN)}/{wanted['averageValue']}"
    return f"{prefix}{current.get('value', UNKNOWN)}/{wanted.get('value', UNKNOWN)}"


_METRICS: Final = {
    "Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object",
    "External": "external",
}  # fmt: skip


def _metric(metric: Object, current: Object) -> str:
    field = _METRICS.get(metric.get("type", ""))
    if field is None:
        return UNKNOWN
    source, now = metric.get(field) or {}, current.get(field) or {}
    name = source.get("name", "") if field in ("resource", "containerResource") else ""
    shown = _target_text(source.get("target") or {}, now.get("current") or {}, name)
    averaged = field in ("object", "external") and get_in(source, "target", "averageValue") is not None
    return f"{shown} (avg)" if averaged else shown


def _targets(obj: Object) -> str:
    if obj.get("apiVersion") == "autoscaling/v1":
        goal = get_in(obj, "spec", "targetCPUUtilizationPercentage")
        if goal is None:
            return NONE
        used = get_in(obj, "status", "currentCPUUtilizationPercentage")
        return f"cpu: {UNKNOWN if used is None else f'{used}%'}/{goal}%"
    metrics: list[Object] = get_in(obj, "spec", "metrics", default=[])
    current: list[Object] = get_in(obj, "status", "currentMetrics", default=[])
    shown = [_metric(metric, current[at] if at < len(current) else {}) for at, metric in enumerate(metrics)]
    return some(shown, _MOST_METRICS, separator=", ")


def _autoscaler(obj: Object, now: datetime) -> list[Any]:
    reference: Object = get_in(obj, "spec", "scaleTargetRef", default={})
    least = get_in(obj, "spec", "minReplicas")
    return [
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        _targets(obj),
        UNSET if least is None else str(least),
        number(obj, "spec", "maxReplicas"),
        number(obj, "status", "currentReplicas"),
        age(obj, now),
    ]


def _revision(obj: Object, now: datetime) -> list[Any]:
    owner = controller_of(obj)
    shown = NONE
    if owner is not None:
        group, _, _ = owner.get("apiVersion", "").rpartition("/")
        kind = owner.get("kind", "").lower()
        shown = f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"
    return [shown, number(obj, "revision"), age(obj, now)]


_WIDE: Final = wide("Containers", "Images", "Selector")
_SETS: Final = (*(Column(name, "integer") for name in _INTEGERS), AGE, *_WIDE)
PRINTERS: Final = {
    ("apps", "deployments"): Printer(
        (Column("Ready"), Column("Up-to-date"), Column("Available"), AGE, *_WIDE), _deployment
    ),
    ("apps", "replicasets"): Printer(_SETS, _replica_set),
    ("", "replicationcontrollers"): Printer(_SETS, _replication_controller),
    ("apps", "statefulsets"): Printer((Column("Ready"), AGE, *wide("Containers", "Images")), _stateful_set),
    ("apps", "daemonsets"): Printer(
        (
            *(Column(name, "integer") for name in (*_INTEGERS, "Up-to-date", "Available")),
            Column("Node Selector"),
            AGE,
            *_WIDE,
        ),
        _daemon_set,
    ),
    ("apps", "controllerrevisions"): Printer((Column("Controller"), Column("Revision"), AGE), _revision),
    ("batch", "jobs"): Printer((Column("Status"), Column("Completions"), Column("Duration"), AGE, *_WIDE), _job),
    ("batch", "cronjobs"): Printer(
        (
            Column("Schedule"),
            Column("Timezone"),
            Column("Suspend", "boolean"),
            Column("Active", "integer"),
            Column("Last Schedule"),
            AGE,
            *_WIDE,
        ),
        _cron_job,
    ),
    ("autoscaling", "horizontalpodautoscalers"): Printer(
        (*(Column(name) for name in ("Reference", "Targets", "MinPods", "MaxPods", "Replicas")), AGE), _autoscaler
    ),
}
