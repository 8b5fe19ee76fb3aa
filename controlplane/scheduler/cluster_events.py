"""What can happen to the cluster that might let a waiting pod in: the questions of the queueing hints."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.scheduler.podinfo import PodInfo
from controlplane.scheduler.requests import amounts


class ClusterChange(enum.Flag):
    """Kinds of change; a plugin names those that can turn its rejection."""

    NODE_ADDED = enum.auto()
    NODE_ALLOCATABLE = enum.auto()
    NODE_LABELS = enum.auto()
    NODE_TAINTS = enum.auto()
    NODE_UNSCHEDULABLE = enum.auto()
    POD_REMOVED = enum.auto()
    POD_ITSELF = enum.auto()


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """One change. `node` is its new state (node changes), `pod` the pod that left or shrank (POD_REMOVED)."""

    change: ClusterChange
    node: Mapping[str, Any] | None = None
    pod: PodInfo | None = None


def node_event(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> ClusterEvent | None:
    """What a node's update changed for the scheduler; None for a heartbeat. A change that helps nobody has no flag set."""
    if old is None:
        return ClusterEvent(ClusterChange.NODE_ADDED, node=new)
    old_spec, new_spec = old.get("spec") or {}, new.get("spec") or {}
    old_allocatable = (old.get("status") or {}).get("allocatable") or {}
    new_allocatable = (new.get("status") or {}).get("allocatable") or {}
    differs = old_allocatable != new_allocatable
    change = ClusterChange(0)
    if (old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
        change |= ClusterChange.NODE_LABELS
    if (old_spec.get("taints") or []) != (new_spec.get("taints") or []):
        change |= ClusterChange.NODE_TAINTS
    if bool(old_spec.get("unschedulable")) != bool(new_spec.get("unschedulable")):
        change |= ClusterChange.NODE_UNSCHEDULABLE
    if differs:
        before, after = amounts(old_allocatable), amounts(new_allocatable)
        if any(amount > before.get(name, 0) for name, amount in after.items()):
            change |= ClusterChange.NODE_ALLOCATABLE
    return ClusterEvent(change, node=new) if change or differs else None
