"""A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure in Kubernetes' words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.controllers._rollout import Limits
from controlplane.machinery.actions import Plan, Update
from controlplane.objects.kinds import DEPLOYMENTS
from controlplane.objects.meta import condition_of, conditions_of, format_time, get_in, name_of

Object = dict[str, Any]

NO_DEADLINE = 2147483647
AVAILABLE_REASON = "NewReplicaSetAvailable"
TIMED_OUT_REASON = "ProgressDeadlineExceeded"
PAUSED_REASON, RESUMED_REASON = "DeploymentPaused", "DeploymentResumed"


def counts(deployment: Object, sets: Sequence[Object], new: Object | None) -> Object:
    """The numbers of the status, without those that are zero."""

    def total(field: str) -> int:
        return sum(int(get_in(found, "status", field, default=0)) for found in sets)

    replicas, available = total("replicas"), total("availableReplicas")
    status = {
        "observedGeneration": get_in(deployment, "metadata", "generation", default=0),
        "replicas": replicas,
        "updatedReplicas": int(get_in(new or {}, "status", "replicas", default=0)),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, replicas - available),
        "collisionCount": get_in(deployment, "status", "collisionCount", default=0),
    }
    return {key: value for key, value in status.items() if value}


def is_complete(deployment: Object, status: Object) -> bool:
    """All replicas are new and available, and none are old."""
    wanted = int(get_in(deployment, "spec", "replicas", default=1))
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    return all(int(status.get(field, 0)) == wanted for field in fields)


def report(deployment: Object, sets: Sequence[Object], new: Object | None, limits: Limits, now: datetime) -> Plan:
    """The status that is due, and when to look again for a deadline."""
    status = counts(deployment, sets, new)
    conditions = _with(conditions_of(deployment), _available(limits, status), now)
    again_after = None
    deadline = _deadline(deployment)
    if deadline is None:
        conditions = [condition for condition in conditions if condition["type"] != "Progressing"]
    elif get_in(deployment, "spec", "paused", default=False) or _was_paused(deployment):
        conditions = _paused(deployment, conditions, now)
    else:
        conditions = _progressing(deployment, status, conditions, new, deadline, now)
        again_after = _until_deadline(conditions, deadline, now)
    conditions = _replica_failure(conditions, [*([new] if new else []), *sets], now)
    status["conditions"] = conditions
    return Plan(status=_update(deployment, status), again_after=again_after)


def created(deployment: Object, name: str, now: datetime) -> Update | None:
    """The status when the new set has just been made."""
    if _deadline(deployment) is None:
        return None
    condition = _condition("Progressing", "True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
    return _update(deployment, _old(deployment) | {"conditions": _with(conditions_of(deployment), condition, now)})


def create_failed(deployment: Object, message: str, now: datetime) -> Update | None:
    """The status when the new set could not be made."""
    if _deadline(deployment) is None:
        return None
    condition = _condition("Progressing", "False", "ReplicaSetCreateError", message)
    return _update(deployment, _old(deployment) | {"conditions": _with(conditions_of(deployment), condition, now)})


def with_collision(deployment: Object, now: datetime) -> Update | None:
    """The status that makes the next hash another one: the name is a stranger's."""
    return _update(
        deployment, _old(deployment) | {"collisionCount": int(_old(deployment).get("collisionCount", 0)) + 1}
    )


def _old(deployment: Object) -> Object:
    return dict(deployment.get("status") or {})


def _update(deployment: Object, status: Object) -> Update | None:
    if not status.get("conditions"):
        status.pop("conditions", None)
    old = {key: value for key, value in _old(deployment).items() if value}
    return None if old == status else Update(DEPLOYMENTS, {**deployment, "status": status}, "status")


def _deadline(deployment: Object) -> int | None:
    seconds = int(get_in(deployment, "spec", "progressDeadlineSeconds", default=600))
    return None if seconds == NO_DEADLINE else seconds


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _with(conditions: Sequence[Object], condition: Object, now: datetime, *, touch: bool = False) -> list[Object]:
    """Set a condition. It stays as it was while status and reason do, unless `touch` moves its lastUpdateTime."""
    moment = format_time(now)
    old = next((found for found in conditions if found["type"] == condition["type"]), None)
    if (
        old is not None
        and not touch
        and (old["status"], old.get("reason")) == (condition["status"], condition["reason"])
    ):
        return list(conditions)
    transition = old["lastTransitionTime"] if old is not None and old["status"] == condition["status"] else moment
    fresh = {**condition, "lastUpdateTime": moment, "lastTransitionTime": transition}
    return [*(found for found in conditions if found is not old), fresh]


def _available(limits: Limits, status: Object) -> Object:
    if int(status.get("availableReplicas", 0)) >= limits.minimum_available:
        return _condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return _condition(
        "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )


def _was_paused(deployment: Object) -> bool:
    condition = condition_of(deployment, "Progressing")
    return condition is not None and condition.get("reason") == PAUSED_REASON


def _paused(deployment: Object, conditions: list[Object], now: datetime) -> list[Object]:
    condition = condition_of(deployment, "Progressing")
    if condition is not None and condition.get("reason") == TIMED_OUT_REASON:
        return conditions
    if get_in(deployment, "spec", "paused", default=False):
        return _with(conditions, _condition("Progressing", "Unknown", PAUSED_REASON, "Deployment is paused"), now)
    return _with(conditions, _condition("Progressing", "Unknown", RESUMED_REASON, "Deployment is resumed"), now)


def _progressing(
    deployment: Object, status: Object, conditions: list[Object], new: Object | None, deadline: int, now: datetime
) -> list[Object]:
    current = condition_of(deployment, "Progressing")
    subject = f'ReplicaSet "{name_of(new)}"' if new else f'Deployment "{name_of(deployment)}"'
    if current is None and new is not None:
        found = _condition("Progressing", "True", "FoundNewReplicaSet", f'Found new replica set "{name_of(new)}"')
        conditions = _with(conditions, found, now)
    settled = current is not None and current.get("reason") == AVAILABLE_REASON
    if settled and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        return conditions  # a complete rollout stays complete, whatever becomes of single pods
    if is_complete(deployment, status):
        done = _condition("Progressing", "True", AVAILABLE_REASON, f"{subject} has successfully progressed.")
        return _with(conditions, done, now)
    if _has_progressed(_old(deployment), status):
        moving = _condition("Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.")
        return _with(conditions, moving, now, touch=True)
    if _is_overdue(current, deadline, now):
        late = _condition("Progressing", "False", TIMED_OUT_REASON, f"{subject} has timed out progressing.")
        return _with(conditions, late, now)
    return conditions


def _has_progressed(old: Object, new: Object) -> bool:
    def of(status: Object, field: str) -> int:
        return int(status.get(field, 0))

    fewer_old = of(new, "replicas") - of(new, "updatedReplicas") < of(old, "replicas") - of(old, "updatedReplicas")
    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return fewer_old or any(of(new, field) > of(old, field) for field in more)


def _is_overdue(condition: Object | None, deadline: int, now: datetime) -> bool:
    if condition is None or condition.get("reason") == AVAILABLE_REASON:
        return False
    if condition.get("reason") == TIMED_OUT_REASON:
        return True
    since = _pods.time_of(condition.get("lastUpdateTime"))
    return since is not None and (now - since).total_seconds() > deadline


def _until_deadline(conditions: Sequence[Object], deadline: int, now: datetime) -> float | None:
    condition = next((found for found in conditions if found["type"] == "Progressing"), None)
    if condition is None or condition.get("reason") in (AVAILABLE_REASON, TIMED_OUT_REASON):
        return None
    since = _pods.time_of(condition.get("lastUpdateTime"))
    return max(0.0, deadline - (now - since).total_seconds()) + 1 if since else None


def _replica_failure(conditions: list[Object], sets: Sequence[Object], now: datetime) -> list[Object]:
    for found in sets:
        failure = condition_of(found, "ReplicaFailure")
        if failure is not None:
            copied = _condition(
                "ReplicaFailure", failure["status"], failure.get("reason", ""), failure.get("message", "")
            )
            return _with(conditions, copied, now)
    return [condition for condition in conditions if condition["type"] != "ReplicaFailure"]
