"""TaintToleration: NoSchedule and NoExecute taints refuse, PreferNoSchedule taints count against a node."""

from collections.abc import Iterable

import numpy as np

from controlplane.scheduler.cluster_events import ClusterChange, ClusterEvent
from controlplane.scheduler.columns import NO_POSITION, Integers, NodeColumns, Rows, read_taints
from controlplane.scheduler.framework import Plugin, Rejection, normalise
from controlplane.scheduler.podinfo import PodInfo


class TaintToleration(Plugin):
    """Each distinct taint of the cluster is looked at once; the nodes follow by column."""

    name = "TaintToleration"
    weight = 3
    helped_by = ClusterChange.NODE_ADDED | ClusterChange.NODE_TAINTS

    def filter(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        """A row is refused for the first taint of its list that the pod does not tolerate."""
        columns = nodes.taints
        offending = [
            number
            for number, taint in enumerate(columns.taints.values)
            if taint is not None and taint.is_hard and not taint.is_tolerated(pod.tolerations)
        ]
        if not offending:
            return ()
        positions = columns.positions[offending, : nodes.size]
        first = positions.argmin(axis=0)
        tainted = positions.min(axis=0) != NO_POSITION
        return [
            Rejection(_reason(nodes, number), tainted & (first == place), resolvable=False)
            for place, number in enumerate(offending)
        ]

    def score(self, pod: PodInfo, nodes: NodeColumns, feasible: Rows) -> Integers | None:
        """The fewer PreferNoSchedule taints that the pod does not tolerate, the better."""
        columns = nodes.taints
        disliked = [
            number
            for number, taint in enumerate(columns.taints.values)
            if taint is not None and not taint.is_hard and not taint.is_tolerated(pod.tolerations)
        ]
        if not disliked:
            return None
        count = (columns.positions[disliked, : nodes.size] != NO_POSITION).sum(axis=0, dtype=np.int64)
        return normalise(count, feasible, reverse=True)

    def may_help(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """A node whose hard taints the pod tolerates."""
        taints = read_taints(event.node or {})
        return all(not taint.is_hard or taint.is_tolerated(pod.tolerations) for taint in taints)


def _reason(nodes: NodeColumns, number: int) -> str:
    taint = nodes.taints.taints.values[number]
    assert taint is not None
    return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
