"""TTL after finished: a finished Job goes `ttlSecondsAfterFinished` after its end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.actions import Delete, Plan
from controlplane.machinery.controller import Caches, Kind
from controlplane.objects.kinds import JOBS
from controlplane.objects.meta import conditions_of, get_in, is_deleting

Object = dict[str, Any]

NAME = "ttl-after-finished-controller"
WATCHES = (Kind(JOBS),)


def finished_at(job: Object) -> datetime | None:
    """When the Job completed or failed, if it has."""
    for condition in conditions_of(job):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return _pods.time_of(condition.get("lastTransitionTime"))
    return None


def observe(key: str, caches: Caches) -> Object | None:
    """A finished Job with a time to live, or None."""
    job = caches[JOBS].get(key)
    if job is None or is_deleting(job) or get_in(job, "spec", "ttlSecondsAfterFinished") is None:
        return None
    return job if finished_at(job) is not None else None


def plan(job: Object, now: datetime) -> Plan:
    """Delete it when its time has come; its pods go with it."""
    ended = finished_at(job)
    assert ended is not None
    left = job["spec"]["ttlSecondsAfterFinished"] - (now - ended).total_seconds()
    if left > 0:
        return Plan(again_after=left)
    return Plan((Delete(JOBS, job, propagation="Foreground", at_version=True),))
