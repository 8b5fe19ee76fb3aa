"""NodeResourcesFit: what the pod requests must be free; the emptier the node, the better (LeastAllocated, cpu and memory)."""

from collections.abc import Iterable

import numpy as np

from controlplane.scheduler.cluster_events import ClusterChange, ClusterEvent
from controlplane.scheduler.columns import (
    CPU_COLUMN,
    MEMORY_COLUMN,
    PODS_COLUMN,
    Integers,
    NodeColumns,
    Rows,
)
from controlplane.scheduler.framework import MAX_SCORE, Plugin, Rejection
from controlplane.scheduler.podinfo import PodInfo
from controlplane.scheduler.requests import PODS, amounts


class NodeResourcesFit(Plugin):
    """All missing resources of a node are named, not only the first."""

    name = "NodeResourcesFit"
    weight = 1
    helped_by = (
        ClusterChange.NODE_ADDED | ClusterChange.NODE_ALLOCATABLE | ClusterChange.POD_REMOVED | ClusterChange.POD_ITSELF
    )

    def filter(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        """Per resource the rows that lack room; not resolvable where the whole node would be too small."""
        found = _short_of(nodes, PODS_COLUMN, 1, "Too many pods")
        for name, amount in pod.requests.items():
            if not amount:
                continue
            column = nodes.resources.get(name)
            if column is None:
                found.append(Rejection(f"Insufficient {name}", np.ones(nodes.size, np.bool_), resolvable=False))
            else:
                found += _short_of(nodes, column, amount, f"Insufficient {name}")
        return found

    def score(self, pod: PodInfo, nodes: NodeColumns, feasible: Rows) -> Integers | None:
        """The free share of cpu and memory after the pod, averaged over those that the node has."""
        total = np.zeros(nodes.size, np.int64)
        kinds = np.zeros(nodes.size, np.int64)
        wanted = ((CPU_COLUMN, pod.scoring_cpu_millicores), (MEMORY_COLUMN, pod.scoring_memory_bytes))
        for column, amount in wanted:
            allocatable = nodes.allocatable[column, : nodes.size]
            free = allocatable - nodes.scoring_requested[column, : nodes.size]
            free -= amount
            np.maximum(free, 0, out=free)
            free *= MAX_SCORE
            total += free // np.maximum(allocatable, 1)
            kinds += allocatable > 0
        return total // np.maximum(kinds, 1)

    def may_help(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """A node that is big enough when empty, or a pod that gives back something that this one wants."""
        if event.pod is not None:
            return True  # its place among the node's pods, at least
        if event.node is None:
            return True
        allocatable = amounts((event.node.get("status") or {}).get("allocatable") or {})
        return allocatable.get(PODS, 0) > 0 and all(
            allocatable.get(name, 0) >= amount for name, amount in pod.requests.items()
        )


def _short_of(nodes: NodeColumns, column: int, amount: int, reason: str) -> list[Rejection]:
    allocatable = nodes.allocatable[column, : nodes.size]
    short = nodes.requested[column, : nodes.size] + amount > allocatable
    if not short.any():
        return []
    too_small = short & (allocatable < amount)
    found = [Rejection(reason, short & ~too_small, resolvable=True), Rejection(reason, too_small, resolvable=False)]
    return [rejection for rejection in found if rejection.rows.any()]
