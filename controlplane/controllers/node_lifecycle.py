"""Node lifecycle: a node that falls silent becomes Unknown and is tainted, and its pods are no longer ready.

A node gives signs of life by renewing its Lease and by writing its Ready condition. What counts is when this process saw
the last sign, by its own clock: clocks of nodes are not compared with ours. Heartbeats wake nobody; a timer per node looks
at the last sign when the grace period may be over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.actions import Action, Note, Patch, Plan, Update
from controlplane.machinery.clock import Clock
from controlplane.machinery.controller import Caches, Kind, Reads, Related, Watch
from controlplane.objects.kinds import LEASES, NODES, PODS
from controlplane.objects.meta import (
    condition_of,
    conditions_of,
    format_time,
    get_in,
    is_deleting,
    is_true,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
    with_condition,
)
from controlplane.objects.taints import same_taint

Object = dict[str, Any]

LEASE_NAMESPACE = "kube-node-lease"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
# Condition -> the status that is bad, and the taint that keeps new pods away while it is.
CONDITION_TAINTS = {
    "MemoryPressure": ("True", "node.kubernetes.io/memory-pressure"),
    "DiskPressure": ("True", "node.kubernetes.io/disk-pressure"),
    "PIDPressure": ("True", "node.kubernetes.io/pid-pressure"),
    "NetworkUnavailable": ("True", "node.kubernetes.io/network-unavailable"),
}
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MANAGED_KEYS = {NOT_READY, UNREACHABLE, UNSCHEDULABLE, *(key for _, key in CONDITION_TAINTS.values())}
REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
ALL_LOST_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Observed:
    """The node, its pods, how long it has been silent (seconds), and whether any node of the cluster is ready."""

    node: Object
    pods: Sequence[Object]
    silent_seconds: float
    any_ready: bool = True


@dataclass(slots=True)
class _Sign:
    """The last sign of life: what it was and when we saw it (monotonic seconds)."""

    value: tuple[str, str]
    seen_at: float


class NodeLifecycle:
    """`grace_seconds`: silence after which a node is Unknown; `startup_grace_seconds`: the same before its first report."""

    NAME = "node-lifecycle-controller"

    def __init__(self, clock: Clock, grace_seconds: float, startup_grace_seconds: float) -> None:
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._startup_grace_seconds = startup_grace_seconds
        self._signs: dict[str, _Sign] = {}
        self._renewals: dict[str, str] = {}
        self.WATCHES: tuple[Watch, ...] = (
            Kind(NODES),
            Related(LEASES, self._on_lease, changed=self._on_renewal),
            Reads(PODS),
        )

    def _on_lease(self, lease: Object, _: Caches) -> Iterable[str]:
        self._on_renewal({}, lease)
        return (name_of(lease),) if namespace_of(lease) == LEASE_NAMESPACE else ()

    def _on_renewal(self, old: Object, new: Object) -> bool:
        """Note the heartbeat; it changes nothing that would have to be worked on now."""
        if namespace_of(new) == LEASE_NAMESPACE:
            name, renewed = name_of(new), str(get_in(new, "spec", "renewTime", default=""))
            self._renewals[name] = renewed
            if (sign := self._signs.get(name)) is not None and sign.value[0] != renewed:
                sign.value, sign.seen_at = (renewed, sign.value[1]), self._clock.monotonic()
        return False

    def observe(self, key: str, caches: Caches) -> Observed | None:
        """The node with its pods, or None when it is gone."""
        node = caches[NODES].get(key)
        if node is None:
            self._signs.pop(key, None)
            self._renewals.pop(key, None)
            return None
        heartbeat = str((condition_of(node, "Ready") or {}).get("lastHeartbeatTime", ""))
        value = (self._renewals.get(key, ""), heartbeat)
        sign = self._signs.get(key)
        now = self._clock.monotonic()
        if sign is None or sign.value != value:
            sign = self._signs[key] = _Sign(value, now)
        any_ready = any(is_true(other, "Ready") for other in caches[NODES])
        return Observed(node, caches[PODS].by_node(key), now - sign.seen_at, any_ready)

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """Status first; taints and pods follow when the caches show it."""
        node = observed.node
        ready = condition_of(node, "Ready")
        grace = self._grace_seconds if ready is not None else self._startup_grace_seconds
        is_silent = observed.silent_seconds >= grace
        again_after = max(0.01, grace - observed.silent_seconds) if not is_silent else None
        if is_silent and (status := _unknown_status(node, now)) is not None:
            note = Note(node, "Normal", "NodeNotReady", f"Node {name_of(node)} status is now: NodeNotReady")
            return Plan(status=status, notes=(note,), again_after=again_after)
        lost = ready is not None and ready.get("status") == "Unknown"
        # When nothing at all is ready, it is more likely we who are cut off: nobody is evicted then.
        evict = observed.any_ready
        if not evict and not is_true(node, "Ready"):
            again_after = min(again_after or ALL_LOST_LOOK_SECONDS, ALL_LOST_LOOK_SECONDS)
        actions: list[Action] = []
        if (tainted := _with_taints(node, evict, now)) is not None:
            actions.append(Update(NODES, tainted))
        if lost:
            actions += [_not_ready(pod, now) for pod in observed.pods if _pods.is_ready(pod) and not is_deleting(pod)]
        return Plan(tuple(actions), again_after=again_after)


def _unknown_status(node: Object, now: datetime) -> Update | None:
    """The status of a silent node; None when it says so already."""
    conditions = conditions_of(node)
    for kind in REPORTED:
        old = condition_of(node, kind)
        if old is None:
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
            created = get_in(node, "metadata", "creationTimestamp", default=format_time(now))
            fresh = {"type": kind, "status": "Unknown", "lastHeartbeatTime": created}
        elif old.get("status") != "Unknown":
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
            fresh = {**old, "status": "Unknown"}
        else:
            continue
        conditions = with_condition(conditions, {**fresh, "reason": reason, "message": message}, now)
    if conditions == conditions_of(node):
        return None
    return Update(NODES, {**node, "status": {**(node.get("status") or {}), "conditions": conditions}}, "status")


def _wanted_taints(node: Object, evict: bool) -> list[Object]:
    wanted: list[Object] = []
    ready = condition_of(node, "Ready")
    if ready is None or ready.get("status") != "True":
        key = UNREACHABLE if ready is not None and ready.get("status") == "Unknown" else NOT_READY
        wanted.append({"key": key, "effect": "NoSchedule"})
        # A node that never was ready has no pods to evict, and no reason to frighten those that come with tolerations.
        if evict and ready is not None:
            wanted.append({"key": key, "effect": "NoExecute"})
    for kind, (bad, key) in CONDITION_TAINTS.items():
        condition = condition_of(node, kind)
        if condition is not None and condition.get("status") == bad:
            wanted.append({"key": key, "effect": "NoSchedule"})
    if get_in(node, "spec", "unschedulable", default=False):
        wanted.append({"key": UNSCHEDULABLE, "effect": "NoSchedule"})
    return wanted


def _with_taints(node: Object, evict: bool, now: datetime) -> Object | None:
    """The node with the taints that its conditions ask for; None when it has them."""
    present: list[Object] = get_in(node, "spec", "taints", default=[])
    wanted = _wanted_taints(node, evict)
    kept = [
        taint
        for taint in present
        if taint.get("key") not in MANAGED_KEYS or any(same_taint(taint, other) for other in wanted)
    ]
    lacking = [taint for taint in wanted if not any(same_taint(taint, other) for other in present)]
    if not lacking and len(kept) == len(present):
        return None
    taints = kept + [{**taint, "timeAdded": format_time(now)} for taint in lacking]
    return {**node, "spec": {**(node.get("spec") or {}), "taints": taints}}


def _not_ready(pod: Object, now: datetime) -> Patch:
    """Take a pod of a lost node out of the endpoints."""
    condition = {"type": "Ready", "status": "False", "reason": "NodeLost", "message": "The node is not reachable."}
    conditions = with_condition(conditions_of(pod), condition, now)
    metadata = {"uid": uid_of(pod), "resourceVersion": resource_version_of(pod)}
    note = Note(pod, "Warning", "NodeNotReady", "Node is not ready")
    patch = {"metadata": metadata, "status": {"conditions": conditions}}
    return Patch(PODS, name_of(pod), namespace_of(pod), patch, subresource="status", missing_ok=True, on_success=note)
