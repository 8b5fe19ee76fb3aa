"""NodeAffinity: `nodeSelector` and required terms refuse, preferred terms score."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from controlplane.scheduler.cluster_events import ClusterChange
from controlplane.scheduler.columns import Integers, NodeColumns, Rows
from controlplane.scheduler.framework import Plugin, Rejection, normalise
from controlplane.scheduler.node_terms import matching_term, named_nodes
from controlplane.scheduler.podinfo import PodInfo


class NodeAffinity(Plugin):
    """Terms are evaluated over label columns (see node_terms)."""

    name = "NodeAffinity"
    weight = 2
    helped_by = ClusterChange.NODE_ADDED | ClusterChange.NODE_LABELS

    def preselect(self, pod: PodInfo, nodes: NodeColumns) -> Rejection | None:
        """When every required term names nodes (as a DaemonSet's pods do), all others are out at once."""
        names = named_nodes(pod.required_terms)
        if names is None:
            return None
        others = np.ones(nodes.size, np.bool_)
        others[[nodes.row_of[name] for name in names if name in nodes.row_of]] = False
        return Rejection(f"node(s) didn't satisfy plugin(s) [{self.name}]", others, resolvable=False)

    def filter(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        """The node selector and one of the required terms must match."""
        if not pod.node_selector and pod.required_terms is None:
            return ()
        matching = np.ones(nodes.size, np.bool_)
        for key, value in pod.node_selector.items():
            matching &= nodes.labels.having_value_in(key, (value,), nodes.size)
        if pod.required_terms is not None:
            matching &= _any_term(pod.required_terms, nodes)
        return (Rejection("node(s) didn't match Pod's node affinity/selector", ~matching, resolvable=False),)

    def score(self, pod: PodInfo, nodes: NodeColumns, feasible: Rows) -> Integers | None:
        """The sum of the weights of the preferred terms that match."""
        if not pod.preferred_terms:
            return None
        total = np.zeros(nodes.size, np.int64)
        for entry in pod.preferred_terms:
            total += matching_term(entry["preference"], nodes) * np.int64(entry["weight"])
        return normalise(total, feasible, reverse=False)


def _any_term(terms: Iterable[Mapping[str, Any]], nodes: NodeColumns) -> Rows:
    matching = np.zeros(nodes.size, np.bool_)
    for term in terms:
        matching |= matching_term(term, nodes)
    return matching
