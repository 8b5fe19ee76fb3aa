"""NodePorts: a port of the host can be claimed once per address and protocol."""

from collections.abc import Iterable

import numpy as np

from controlplane.scheduler.cluster_events import ClusterChange, ClusterEvent
from controlplane.scheduler.columns import NodeColumns
from controlplane.scheduler.framework import Plugin, Rejection
from controlplane.scheduler.podinfo import PodInfo


class NodePorts(Plugin):
    """`hostPort` of containers and sidecars."""

    name = "NodePorts"
    helped_by = ClusterChange.NODE_ADDED | ClusterChange.POD_REMOVED

    def filter(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        """Rows where another pod holds one of the ports."""
        if not pod.host_ports:
            return ()
        taken = nodes.host_ports.conflicts(pod.host_ports)
        if not taken:
            return ()
        rows = np.zeros(nodes.size, np.bool_)
        rows[list(taken)] = True
        return (Rejection("node(s) didn't have free ports for the requested pod ports", rows, resolvable=True),)

    def may_help(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """A new node, or the departure of a pod that held one of the ports."""
        if event.pod is None:
            return True
        wanted = {(port.protocol, port.port) for port in pod.host_ports}
        return any((port.protocol, port.port) in wanted for port in event.pod.host_ports)
