"""Disruption: the status of PodDisruptionBudgets, by which the eviction subresource decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.actions import Plan, Update
from controlplane.machinery.controller import Caches, Kind, Reads, Related
from controlplane.objects.kinds import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Resource,
)
from controlplane.objects.meta import (
    conditions_of,
    controller_of,
    get_in,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    with_condition,
)
from controlplane.objects.selectors import from_selector

Object = dict[str, Any]

EVICTION_SECONDS = 120  # how long an eviction that was granted but not seen yet is believed in
SIZED: dict[str, Resource] = {
    "ReplicaSet": REPLICA_SETS,
    "ReplicationController": REPLICATION_CONTROLLERS,
    "StatefulSet": STATEFUL_SETS,
    "Deployment": DEPLOYMENTS,
}


@dataclass(frozen=True, slots=True)
class Observed:
    """The budget, the pods it covers, and how many their controllers want (None: one has no size that is known)."""

    budget: Object
    pods: Sequence[Object]
    expected: int | None


def _budgets_of_pod(pod: Object, caches: Caches) -> Iterable[str]:
    namespace = namespace_of(pod)
    for budget in caches[POD_DISRUPTION_BUDGETS].in_namespace(namespace):
        if from_selector(budget["spec"].get("selector")).matches(labels_of(pod)):
            yield f"{namespace}/{name_of(budget)}"


def _budgets_of_namespace(obj: Object, caches: Caches) -> Iterable[str]:
    namespace = namespace_of(obj)
    return [f"{namespace}/{name_of(budget)}" for budget in caches[POD_DISRUPTION_BUDGETS].in_namespace(namespace)]


def _resized(old: Object, new: Object) -> bool:
    return bool(get_in(old, "spec", "replicas") != get_in(new, "spec", "replicas"))


NAME = "disruption-controller"
WATCHES = (
    Kind(POD_DISRUPTION_BUDGETS),
    Related(PODS, _budgets_of_pod),
    Related(REPLICA_SETS, _budgets_of_namespace, changed=_resized),
    Related(REPLICATION_CONTROLLERS, _budgets_of_namespace, changed=_resized),
    Related(STATEFUL_SETS, _budgets_of_namespace, changed=_resized),
    Reads(DEPLOYMENTS),
)


def observe(key: str, caches: Caches) -> Observed | None:
    """The budget and its pods, or None when it is gone."""
    budget = caches[POD_DISRUPTION_BUDGETS].get(key)
    if budget is None:
        return None
    pods = caches[PODS].select(namespace_of(budget), from_selector(budget["spec"].get("selector")))
    pods = [pod for pod in pods if _pods.phase_of(pod) not in ("Succeeded", "Failed")]
    return Observed(budget, pods, _expected(pods, caches))


def plan(observed: Observed, now: datetime) -> Plan:
    """Count, and say how many pods may go."""
    budget, pods = observed.budget, observed.pods
    disrupted, wait = _disrupted(budget, pods, now)
    healthy = [pod for pod in pods if _pods.is_ready(pod) and not is_deleting(pod) and name_of(pod) not in disrupted]
    expected, desired = _desired(budget, observed)
    allowed = max(0, len(healthy) - desired) if expected > 0 else 0
    reason = "SufficientPods" if allowed > 0 else "InsufficientPods"
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed > 0 else "False",
        "reason": reason,
        "message": "",
        "observedGeneration": get_in(budget, "metadata", "generation", default=0),
    }
    status: Object = {
        "observedGeneration": get_in(budget, "metadata", "generation", default=0),
        "disruptionsAllowed": allowed,
        "currentHealthy": len(healthy),
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": with_condition(conditions_of(budget), condition, now),
    }
    if disrupted:
        status["disruptedPods"] = disrupted
    update = None
    if status != budget.get("status"):
        update = Update(POD_DISRUPTION_BUDGETS, {**budget, "status": status}, "status")
    return Plan(status=update, again_after=wait)


def _expected(pods: Sequence[Object], caches: Caches) -> int | None:
    """What the controllers of these pods want altogether; None when one of them has no known size."""
    sizes: dict[str, int] = {}
    for pod in pods:
        reference = controller_of(pod)
        resource = SIZED.get(reference["kind"]) if reference else None
        owner = caches[resource].by_uid(reference["uid"]) if resource and reference else None
        if owner is None or reference is None:
            return None
        above = controller_of(owner)
        deployment = caches[DEPLOYMENTS].by_uid(above["uid"]) if above and above["kind"] == "Deployment" else None
        sized = deployment or owner
        sizes[sized["metadata"]["uid"]] = int(get_in(sized, "spec", "replicas", default=1))
    return sum(sizes.values())


def _desired(budget: Object, observed: Observed) -> tuple[int, int]:
    """(pods expected, pods that must stay healthy)."""
    minimum, maximum = budget["spec"].get("minAvailable"), budget["spec"].get("maxUnavailable")
    count = len(observed.pods)
    if maximum is None and isinstance(minimum, int):
        return count, minimum
    expected = observed.expected if observed.expected is not None else count
    if maximum is not None:
        return expected, max(0, expected - _scaled(maximum, expected))
    return expected, _scaled(minimum if minimum is not None else 0, expected)


def _scaled(value: Any, total: int) -> int:
    """A number, or a percentage rounded up."""
    if isinstance(value, str) and value.endswith("%"):
        return -(-int(value[:-1]) * total // 100)
    return int(value)


def _disrupted(budget: Object, pods: Sequence[Object], now: datetime) -> tuple[dict[str, str], float | None]:
    """Evictions that were granted and whose pods still stand, and when to look at them again."""
    left: dict[str, str] = {}
    waits: list[float] = []
    present = {name_of(pod) for pod in pods if not is_deleting(pod)}
    for name, text in get_in(budget, "status", "disruptedPods", default={}).items():
        moment = _pods.time_of(text)
        if name in present and moment is not None and now < moment + timedelta(seconds=EVICTION_SECONDS):
            left[name] = text
            waits.append((moment + timedelta(seconds=EVICTION_SECONDS) - now).total_seconds())
    return left, min(waits, default=None)
