"""NodeUnschedulable: cordoned nodes take only pods that tolerate `node.kubernetes.io/unschedulable:NoSchedule`."""

from collections.abc import Iterable

from controlplane.objects.taints import UNSCHEDULABLE
from controlplane.scheduler.cluster_events import ClusterChange, ClusterEvent
from controlplane.scheduler.columns import NodeColumns, Taint
from controlplane.scheduler.framework import Plugin, Rejection
from controlplane.scheduler.podinfo import PodInfo

UNSCHEDULABLE_TAINT = Taint(UNSCHEDULABLE, "", "NoSchedule")


class NodeUnschedulable(Plugin):
    """`spec.unschedulable` of the node."""

    name = "NodeUnschedulable"
    helped_by = ClusterChange.NODE_ADDED | ClusterChange.NODE_UNSCHEDULABLE

    def filter(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        """All cordoned rows, or none when the pod tolerates that."""
        if nodes.unschedulable_count == 0 or UNSCHEDULABLE_TAINT.is_tolerated(pod.tolerations):
            return ()
        return (Rejection("node(s) were unschedulable", nodes.unschedulable[: nodes.size].copy(), resolvable=False),)

    def may_help(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """A node that is not cordoned."""
        return not ((event.node or {}).get("spec") or {}).get("unschedulable")
