"""The cluster as the scheduler believes it to be: nodes as columns, and every placed pod counted on its node.

A pod is placed because the API says so (`place`) or because the scheduler has just decided so (`assume`); the API's word
replaces the assumption, `forget` takes it back. Pods of a node that is not (yet, or no more) known wait until it appears.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.scheduler.columns import NodeColumns
from controlplane.scheduler.podinfo import PodInfo


@dataclass(frozen=True, slots=True)
class _Placement:
    pod: PodInfo
    node_name: str
    assumed: bool


class ClusterState:
    """Nodes and placed pods. All methods are O(1) in the number of nodes and pods, `set_node` of a new node in its pods."""

    def __init__(self) -> None:
        self.nodes = NodeColumns()
        self._placements: dict[str, _Placement] = {}
        self._pods_on: dict[str, dict[str, PodInfo]] = {}

    def set_node(self, node: Mapping[str, Any]) -> None:
        """Add or replace a node."""
        name = node["metadata"]["name"]
        is_new = name not in self.nodes.row_of
        row = self.nodes.set_node(node)
        if is_new:
            for pod in self._pods_on.get(name, {}).values():
                self._count(row, pod, 1)

    def remove_node(self, name: str) -> None:
        """The node is gone; its pods stay known until the API removes them."""
        self.nodes.remove_node(name)

    def placed_on(self, key: str) -> str:
        """The node of a placed or assumed pod, "" when it is neither."""
        placement = self._placements.get(key)
        return placement.node_name if placement else ""

    def is_assumed(self, key: str) -> bool:
        """True between `assume` and the API's word (or `forget`)."""
        placement = self._placements.get(key)
        return placement is not None and placement.assumed

    def placed(self, key: str) -> PodInfo | None:
        """The pod as it is counted now."""
        placement = self._placements.get(key)
        return placement.pod if placement else None

    def assume(self, pod: PodInfo, node_name: str) -> None:
        """Count the pod on the node before the API has heard of it."""
        assert pod.key not in self._placements, f"{pod.key} is placed already"
        self._put(pod, node_name, assumed=True)

    def forget(self, key: str) -> None:
        """Take an assumption back; what the API has confirmed since then stays."""
        if self.is_assumed(key):
            self.remove(key)

    def place(self, pod: PodInfo) -> None:
        """The API says that the pod is on `pod.node_name`."""
        self.remove(pod.key)
        self._put(pod, pod.node_name, assumed=False)

    def remove(self, key: str) -> None:
        """The pod is gone or finished; unknown keys are no fault."""
        placement = self._placements.pop(key, None)
        if placement is None:
            return
        pods = self._pods_on[placement.node_name]
        del pods[key]
        if not pods:
            del self._pods_on[placement.node_name]
        row = self.nodes.row_of.get(placement.node_name)
        if row is not None:
            self._count(row, placement.pod, -1)

    def _put(self, pod: PodInfo, node_name: str, assumed: bool) -> None:
        self._placements[pod.key] = _Placement(pod, node_name, assumed)
        self._pods_on.setdefault(node_name, {})[pod.key] = pod
        row = self.nodes.row_of.get(node_name)
        if row is not None:
            self._count(row, pod, 1)

    def _count(self, row: int, pod: PodInfo, sign: int) -> None:
        scoring = (pod.scoring_cpu_millicores, pod.scoring_memory_bytes)
        self.nodes.add_requests(row, pod.requests, scoring, sign)
        if pod.host_ports and sign > 0:
            self.nodes.host_ports.claim(row, pod.host_ports)
        elif pod.host_ports:
            self.nodes.host_ports.release(row, pod.host_ports)
