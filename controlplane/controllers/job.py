"""Job: run pods until enough of them have succeeded, or too many have failed, or it takes too long.

Finished pods are counted while they are there, and counts never go down: a finished pod that is deleted stays counted; at
worst (several deleted in between) some work runs once more. Indexed Jobs keep the exact set of indexes in their status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.controllers._indexes import format_indexes, parse_indexes
from controlplane.machinery.actions import Action, Create, Delete, Note, Plan, Update
from controlplane.machinery.controller import Caches, Kind, Owned
from controlplane.objects.kinds import JOBS, PODS
from controlplane.objects.meta import (
    annotations_of,
    condition_of,
    conditions_of,
    format_time,
    get_in,
    is_deleting,
    is_true,
    name_of,
    uid_of,
    with_condition,
)

Object = dict[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"
BACKOFF_SECONDS = 10.0
BACKOFF_LIMIT_SECONDS = 360.0

NAME = "job-controller"
WATCHES = (Kind(JOBS), Owned(PODS, by=JOBS))


@dataclass(frozen=True, slots=True)
class Observed:
    """The Job and the pods it controls."""

    job: Object
    pods: Sequence[Object]


def observe(key: str, caches: Caches) -> Observed | None:
    """The Job and its pods, or None when it is gone."""
    job = caches[JOBS].get(key)
    if job is None:
        return None
    return Observed(job, caches[PODS].controlled_by(job))


def plan(observed: Observed, now: datetime) -> Plan:
    """The next step: begin, finish, pause, or bring the number of active pods to what is wanted."""
    run = _Run(observed.job, observed.pods, now)
    if run.is_finished or is_deleting(run.job):
        return Plan(run.deletes(run.active), run.status(run.conditions))
    if run.spec.get("suspend"):
        return run.suspend()
    if run.old.get("startTime") is None or is_true(run.job, "Suspended"):
        return run.begin()
    if failure := run.failure():
        return run.fail(*failure)
    if run.is_complete:
        return run.complete()
    return run.advance()


class _Run:
    """One plan in the making."""

    def __init__(self, job: Object, pods: Sequence[Object], now: datetime) -> None:
        self.job, self.pods, self.now = job, pods, now
        self.spec: Object = job["spec"]
        self.old: Object = job.get("status") or {}
        self.conditions = conditions_of(job)
        self.is_indexed = self.spec.get("completionMode") == "Indexed"
        self.completions: int | None = self.spec.get("completions")
        self.parallelism = int(get_in(job, "spec", "parallelism", default=1))
        self.active = sorted((pod for pod in pods if _pods.is_active(pod)), key=name_of)
        done = [pod for pod in pods if _pods.phase_of(pod) == "Succeeded"]
        self.failed_pods = [pod for pod in pods if _pods.phase_of(pod) == "Failed"]
        self.completed = parse_indexes(self.old.get("completedIndexes") or "") if self.is_indexed else set()
        if self.is_indexed:
            limit = self.completions or 0
            self.completed |= {index for pod in done if (index := _index_of(pod)) is not None and index < limit}
            self.succeeded = len(self.completed)
        else:
            self.succeeded = max(len(done), int(self.old.get("succeeded", 0)))
        self.failed = max(len(self.failed_pods), int(self.old.get("failed", 0)))

    @property
    def is_finished(self) -> bool:
        return any(is_true(self.job, kind) for kind in ("Complete", "Failed"))

    @property
    def is_complete(self) -> bool:
        if self.completions is None:
            return self.succeeded > 0 and not self.active  # a work queue: one success, and the others have ended
        return self.succeeded >= self.completions

    # --- steps
    def begin(self) -> Plan:
        """The clock starts; the pods follow when the status is seen."""
        conditions = self.conditions
        if condition_of(self.job, "Suspended"):
            conditions = self.condition(conditions, "Suspended", "JobResumed", "Job resumed", status="False")
        return Plan(status=self.status(conditions, startTime=format_time(self.now)))

    def suspend(self) -> Plan:
        notes: tuple[Note, ...] = ()
        conditions = self.conditions
        if not is_true(self.job, "Suspended"):
            conditions = self.condition(conditions, "Suspended", "JobSuspended", "Job suspended")
            notes = (Note(self.job, "Normal", "Suspended", "Job suspended"),)
        return Plan(self.deletes(self.active), self.status(conditions, startTime=None), notes)

    def failure(self) -> tuple[str, str] | None:
        """(reason, message) when the Job has failed."""
        limit = int(get_in(self.job, "spec", "backoffLimit", default=6))
        restarts = sum(_pods.restarts_of(pod) for pod in self.active)
        in_place = get_in(self.spec, "template", "spec", "restartPolicy") == "OnFailure"
        if self.failed > limit or (in_place and restarts > 0 and restarts >= limit):
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        left = self.seconds_left()
        if left is not None and left <= 0:
            return "DeadlineExceeded", "Job was active longer than specified deadline"
        return None

    def fail(self, reason: str, message: str) -> Plan:
        conditions = self.condition(self.conditions, "FailureTarget", reason, message)
        conditions = self.condition(conditions, "Failed", reason, message)
        note = Note(self.job, "Warning", reason, message)
        return Plan(self.deletes(self.active), self.status(conditions, active=[]), (note,))

    def complete(self) -> Plan:
        reason, message = "CompletionsReached", "Reached expected number of succeeded pods"
        conditions = self.condition(self.conditions, "SuccessCriteriaMet", reason, message)
        conditions = self.condition(conditions, "Complete", reason, message)
        status = self.status(conditions, active=[], completionTime=format_time(self.now))
        return Plan(self.deletes(self.active), status, (Note(self.job, "Normal", "Completed", "Job completed"),))

    def advance(self) -> Plan:
        """Create or delete pods, after the back-off that failures ask for."""
        wanted = self.wanted()
        again = [seconds for seconds in (self.seconds_left(),) if seconds is not None]
        actions: tuple[Action, ...] = ()
        surplus = self.surplus(wanted)
        if surplus:
            actions = self.deletes(surplus)
        elif len(self.active) < wanted:
            delay = self.backoff_left()
            if delay > 0:
                again.append(delay)
            else:
                actions = self.creates(wanted - len(self.active))
        # A status beside changes would be out of date at once: the changes bring the key back.
        status = None if actions else self.status(self.conditions)
        return Plan(actions, status, again_after=min(again, default=None))

    def wanted(self) -> int:
        """How many pods should be active."""
        if self.completions is None:
            return len(self.active) if self.succeeded else self.parallelism
        return max(0, min(self.parallelism, self.completions - self.succeeded))

    def surplus(self, wanted: int) -> list[Object]:
        """Active pods to stop: doubles and finished indexes first."""
        if self.is_indexed:
            useless: list[Object] = []
            seen = set(self.completed)
            for pod in self.active:
                index = _index_of(pod)
                if index is None or index in seen or index >= (self.completions or 0):
                    useless.append(pod)
                else:
                    seen.add(index)
            if useless:
                return useless
        return _pods.in_order_of_deletion(self.active)[: max(0, len(self.active) - wanted)]

    def seconds_left(self) -> float | None:
        """Until the Job's deadline; None when it has none."""
        deadline, start = self.spec.get("activeDeadlineSeconds"), _pods.time_of(self.old.get("startTime"))
        if deadline is None or start is None:
            return None
        return float(deadline) - (self.now - start).total_seconds()

    def backoff_left(self) -> float:
        """Seconds to wait after the last failure: 10 after the first in a row, then twice as many each."""
        ends = sorted(_ended_at(pod) for pod in self.failed_pods)
        successes = [_ended_at(pod) for pod in self.pods if _pods.phase_of(pod) == "Succeeded"]
        row = [end for end in ends if not successes or end > max(successes)]
        if not row:
            return 0.0
        delay = min(BACKOFF_LIMIT_SECONDS, BACKOFF_SECONDS * 2.0 ** min(len(row) - 1, 16))
        return delay - (self.now - row[-1]).total_seconds()

    # --- actions and status
    def deletes(self, pods: Sequence[Object]) -> tuple[Action, ...]:
        failed = _pods.delete_failed_note(self.job)
        return tuple(
            Delete(PODS, pod, on_success=_pods.deleted_note(self.job, name_of(pod)), on_failure=failed) for pod in pods
        )

    def creates(self, count: int) -> tuple[Action, ...]:
        names = _pods.pod_names(self.job, self.pods, count)
        if self.is_indexed:
            busy = {_index_of(pod) for pod in self.active} | self.completed
            free = [index for index in range(self.completions or 0) if index not in busy][:count]
            made = [_indexed_pod(self.job, self.pods, index) for index in free]
        else:
            made = [_pod(self.job, name) for name in names]
        failed = _pods.create_failed_note(self.job)
        return tuple(
            Create(PODS, pod, on_success=_pods.created_note(self.job, name_of(pod)), on_failure=failed) for pod in made
        )

    def condition(
        self, conditions: Sequence[Object], kind: str, reason: str, message: str, status: str = "True"
    ) -> list[Object]:
        fresh = {"type": kind, "status": status, "reason": reason, "message": message}
        fresh["lastProbeTime"] = format_time(self.now)
        return with_condition(conditions, fresh, self.now)

    def status(
        self, conditions: Sequence[Object], active: list[Object] | None = None, **times: str | None
    ) -> Update | None:
        """The status that is due; None when it is there already."""
        running = self.active if active is None else active
        counted: Object = {
            "startTime": self.old.get("startTime"),
            "completionTime": self.old.get("completionTime"),
            **times,
            "active": len(running),
            "ready": sum(_pods.is_ready(pod) for pod in running),
            "terminating": sum(is_deleting(pod) and not _is_over(pod) for pod in self.pods),
            "succeeded": self.succeeded,
            "failed": self.failed,
            "completedIndexes": format_indexes(self.completed),
            "conditions": list(conditions),
        }
        always = ("ready", "terminating")
        counted = {key: value for key, value in counted.items() if value or key in always}
        status = {key: value for key, value in self.old.items() if key not in _OURS} | counted
        status.setdefault("uncountedTerminatedPods", {})
        return None if status == self.old else Update(JOBS, {**self.job, "status": status}, "status")


_OURS = frozenset(
    {
        "startTime",
        "completionTime",
        "active",
        "ready",
        "terminating",
        "succeeded",
        "failed",
        "completedIndexes",
        "conditions",
    }
)


def _index_of(pod: Object) -> int | None:
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def _is_over(pod: Object) -> bool:
    return _pods.phase_of(pod) in ("Succeeded", "Failed")


def _ended_at(pod: Object) -> datetime:
    """When the last of its containers ended; where nobody knows (it never ran), when the pod was made."""
    statuses = get_in(pod, "status", "containerStatuses", default=[])
    times = [_pods.time_of(get_in(status, "state", "terminated", "finishedAt")) for status in statuses]
    known = [time for time in times if time is not None]
    return max(known) if known else _pods.time_of(get_in(pod, "metadata", "creationTimestamp")) or _pods.EPOCH


def _pod(job: Object, name: str) -> Object:
    pod = _pods.pod_from_template(job, JOBS, job["spec"]["template"], name)
    labels = {
        "batch.kubernetes.io/controller-uid": uid_of(job),
        "batch.kubernetes.io/job-name": name_of(job),
        "controller-uid": uid_of(job),
        "job-name": name_of(job),
    }
    metadata = pod["metadata"]
    spec = {"restartPolicy": "Never", **pod["spec"]}
    return {**pod, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}, "spec": spec}


def _indexed_pod(job: Object, pods: Sequence[Object], index: int) -> Object:
    """A pod that knows its index: by name, host name, label, annotation and environment."""
    earlier = sorted(uid_of(pod) for pod in pods if _index_of(pod) == index)
    base = f"{name_of(job)[:50]}-{index}"
    pod = _pod(job, f"{base}-{_pods.suffix(5, uid_of(job), index, *earlier)}")
    field = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": field}
    spec = {"hostname": base, **pod["spec"]}
    for group in ("initContainers", "containers"):
        if group in spec:
            spec[group] = [_with_variable(container, variable) for container in spec[group]]
    metadata = pod["metadata"]
    mark = {INDEX: str(index)}
    labels, annotations = {**metadata["labels"], **mark}, {**(metadata.get("annotations") or {}), **mark}
    return {**pod, "metadata": {**metadata, "labels": labels, "annotations": annotations}, "spec": spec}


def _with_variable(container: Object, variable: Object) -> Object:
    present = container.get("env") or []
    if any(entry["name"] == variable["name"] for entry in present):
        return container
    return {**container, "env": [*present, variable]}
