"""NodeName: a pod that names its node goes nowhere else."""

from collections.abc import Iterable

import numpy as np

from controlplane.scheduler.cluster_events import ClusterChange, ClusterEvent
from controlplane.scheduler.columns import NodeColumns
from controlplane.scheduler.framework import Plugin, Rejection
from controlplane.scheduler.podinfo import PodInfo


class NodeName(Plugin):
    """`spec.nodeName` of the pod."""

    name = "NodeName"
    helped_by = ClusterChange.NODE_ADDED

    def filter(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        """Every row but the named one."""
        if not pod.node_name:
            return ()
        others = np.ones(nodes.size, np.bool_)
        row = nodes.row_of.get(pod.node_name)
        if row is not None:
            others[row] = False
        return (Rejection("node(s) didn't match the requested node name", others, resolvable=False),)

    def may_help(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """The named node."""
        return event.node is not None and event.node["metadata"]["name"] == pod.node_name
