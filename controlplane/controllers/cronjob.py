"""CronJob: a Job at each time of the schedule, named after that time, so that no time is run twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from controlplane.controllers import _pods
from controlplane.controllers.ttl_after_finished import finished_at
from controlplane.machinery.actions import Action, Create, Delete, Note, Plan, Update
from controlplane.machinery.controller import Caches, Kind, Owned
from controlplane.objects.kinds import CRON_JOBS, JOBS
from controlplane.objects.meta import (
    format_time,
    get_in,
    is_deleting,
    is_true,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)

Object = dict[str, Any]

SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MISSED_LIMIT = 100  # missed times that are looked through; more are taken as one
LOOK_BACK = timedelta(days=7)  # how far back a start is sought where nothing was ever run

NAME = "cronjob-controller"
WATCHES = (Kind(CRON_JOBS), Owned(JOBS, by=CRON_JOBS))


@dataclass(frozen=True, slots=True)
class Observed:
    """The CronJob and the Jobs it controls."""

    owner: Object
    jobs: Sequence[Object]


def observe(key: str, caches: Caches) -> Observed | None:
    """The CronJob and its Jobs, or None when it is gone."""
    owner = caches[CRON_JOBS].get(key)
    if owner is None:
        return None
    return Observed(owner, caches[JOBS].controlled_by(owner))


def plan(observed: Observed, now: datetime) -> Plan:
    """Run what is due, drop old Jobs, and come back for the next time."""
    owner = observed.owner
    if is_deleting(owner):
        return Plan()
    active = sorted((job for job in observed.jobs if finished_at(job) is None), key=name_of)
    actions: list[Action] = _expired(owner, observed.jobs)
    last = _pods.time_of(get_in(owner, "status", "lastScheduleTime"))
    succeeded = [
        _pods.time_of(get_in(job, "status", "completionTime")) for job in observed.jobs if is_true(job, "Complete")
    ]
    finished = [moment for moment in succeeded if moment is not None]
    if owner["spec"].get("suspend"):
        return Plan(tuple(actions), _status(owner, active, last, finished))
    try:
        due, following = times(owner, last, now)
    except (CronSimError, ValueError, KeyError) as error:
        note = Note(
            owner, "Warning", "UnparseableSchedule", f"unparseable schedule: {owner['spec']['schedule']!r}: {error}"
        )
        return Plan(tuple(actions), _status(owner, active, last, finished), (note,))
    again_after = (following - now).total_seconds() + 0.1 if following else None
    if due is None:
        return Plan(tuple(actions), _status(owner, active, last, finished), again_after=again_after)
    deadline = owner["spec"].get("startingDeadlineSeconds")
    if deadline is not None and (now - due).total_seconds() > deadline:
        text = f"Missed scheduled time to start a job: {format_time(due)}"
        note = Note(owner, "Warning", "MissSchedule", text)
        return Plan(tuple(actions), _status(owner, active, due, finished), (note,), again_after)
    policy = owner["spec"].get("concurrencyPolicy", "Allow")
    if policy == "Forbid" and active:
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        note = Note(owner, "Normal", "JobAlreadyActive", text)
        return Plan(tuple(actions), _status(owner, active, last, finished), (note,), again_after)
    if policy == "Replace":
        actions += [Delete(JOBS, job, propagation="Background") for job in active]
        active = []
    job = _job(owner, due)
    done = Note(owner, "Normal", "SuccessfulCreate", f"Created job {name_of(job)}")
    failed = Note(owner, "Warning", "FailedCreate", "Error creating job: {error}")
    actions.append(Create(JOBS, job, exists_ok=True, on_success=done, on_failure=failed))
    return Plan(tuple(actions), _status(owner, active, due, finished), again_after=again_after)


def times(owner: Object, last: datetime | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """(the latest time that is due and not run yet, the next one after now). CronSimError on a bad schedule."""
    schedule = owner["spec"]["schedule"].strip()
    zone = ZoneInfo(owner["spec"].get("timeZone") or "UTC")
    created = _pods.time_of(get_in(owner, "metadata", "creationTimestamp")) or now
    start = max(last or created, now - LOOK_BACK)
    deadline = owner["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        start = max(start, now - timedelta(seconds=deadline))
    if schedule.startswith("@every "):
        raise ValueError("@every is not served")
    moments = CronSim(SHORTHANDS.get(schedule, schedule), start.astimezone(zone))
    due: datetime | None = None
    for count, moment in enumerate(moments):
        if moment > now:
            return due, moment
        due = moment
        if count >= MISSED_LIMIT:  # far behind: begin near now
            moments = CronSim(SHORTHANDS.get(schedule, schedule), now.astimezone(zone))
            return due, next(moments, None)
    return due, None


def _job(owner: Object, moment: datetime) -> Object:
    """The Job of one time; its name holds that time in minutes."""
    template = owner["spec"]["jobTemplate"]
    source = template.get("metadata") or {}
    metadata: Object = {
        "name": f"{name_of(owner)[:52]}-{int(moment.timestamp()) // 60}",
        "namespace": namespace_of(owner),
        "ownerReferences": [owner_reference(owner, CRON_JOBS)],
        "annotations": {**(source.get("annotations") or {}), SCHEDULED_AT: format_time(moment)},
    }
    if source.get("labels"):
        metadata["labels"] = source["labels"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}


def _expired(owner: Object, jobs: Sequence[Object]) -> list[Action]:
    """Finished Jobs beyond the history limits, the oldest first."""
    found: list[Action] = []
    for kind, field, limit in (("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)):
        ended = [job for job in jobs if is_true(job, kind) and not is_deleting(job)]
        ended.sort(key=lambda job: (get_in(job, "status", "startTime", default=""), name_of(job)))
        keep = int(get_in(owner, "spec", field, default=limit))
        found += [Delete(JOBS, job, propagation="Background") for job in ended[: max(0, len(ended) - keep)]]
    return found


def _status(
    owner: Object, active: Sequence[Object], last: datetime | None, finished: Sequence[datetime]
) -> Update | None:
    old = owner.get("status") or {}
    reference = {"apiVersion": "batch/v1", "kind": "Job"}
    status: Object = {
        "active": [
            {
                **reference,
                "name": name_of(job),
                "namespace": namespace_of(job),
                "uid": uid_of(job),
                "resourceVersion": job["metadata"].get("resourceVersion", ""),
            }
            for job in active
        ],
        "lastScheduleTime": format_time(last) if last else None,
        "lastSuccessfulTime": format_time(max(finished)) if finished else old.get("lastSuccessfulTime"),
    }
    status = {key: value for key, value in status.items() if value}
    return None if status == old else Update(CRON_JOBS, {**owner, "status": status}, "status")
