"""Filters, scores and the decision they make together.

A plugin is one small file in `plugins/`; it sees one pod and all nodes at once. `Framework.decide` asks every plugin in
the order of the registry and returns a `Decision`: a value with the chosen node, or with the reason of each node.
Scores are 0..100 per plugin, times its weight, as in Kubernetes' scheduling framework.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import numpy as np

from controlplane.scheduler.cluster_events import ClusterChange, ClusterEvent
from controlplane.scheduler.columns import Integers, NodeColumns, Rows
from controlplane.scheduler.podinfo import PodInfo

MAX_SCORE = 100


@dataclass(frozen=True, slots=True, eq=False)
class Rejection:
    """`rows` are refused for `reason`; `resolvable` says whether the removal of other pods could change that."""

    reason: str
    rows: Rows
    resolvable: bool


class Plugin:
    """One rule. Override what the rule needs; every default lets the pod through and has no opinion."""

    name: ClassVar[str]
    weight: ClassVar[int] = 0
    helped_by: ClassVar[ClusterChange] = ClusterChange(0)

    def holds_back(self, pod: PodInfo) -> str:
        """Why the pod may not enter the queue yet, or ""."""
        return ""

    def preselect(self, pod: PodInfo, nodes: NodeColumns) -> Rejection | None:
        """Rows that need no look from any filter, because the pod names the nodes it can go to."""
        return None

    def filter(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        """The rows that the pod cannot go to; each array has `nodes.size` entries and belongs to the caller."""
        return ()

    def score(self, pod: PodInfo, nodes: NodeColumns, feasible: Rows) -> Integers | None:
        """0..100 for each row (anything where not feasible), or None for no opinion."""
        return None

    def may_help(self, pod: PodInfo, event: ClusterEvent) -> bool:
        """Asked of a plugin that has rejected the pod, for the kinds of change in `helped_by`."""
        return True


@dataclass(frozen=True, slots=True, eq=False)
class PluginRejection:
    """A rejection together with the plugin that made it, on the rows that no earlier plugin had rejected."""

    plugin: str
    rejection: Rejection


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Where a pod goes, and why not elsewhere. `node` is "" when no node fits. Never changed after it is made.

    `names` gives the node of each row; `alive` the rows that were nodes; `scores` per plugin weighted columns, valid where
    `feasible`, and empty when there was nothing to choose between.
    """

    pod: str
    node: str
    names: tuple[str, ...]
    alive: Rows
    feasible: Rows
    rejections: tuple[PluginRejection, ...]
    scores: Mapping[str, Integers]

    @property
    def node_count(self) -> int:
        """How many nodes were considered."""
        return int(np.count_nonzero(self.alive))

    def rejecting_plugins(self) -> frozenset[str]:
        """The plugins whose change of mind could let the pod in."""
        return frozenset(entry.plugin for entry in self.rejections)

    def reasons(self) -> dict[str, tuple[str, ...]]:
        """node -> why it was refused, for every node that was."""
        reasons: dict[str, tuple[str, ...]] = {}
        for entry in self.rejections:
            for row in np.flatnonzero(entry.rejection.rows):
                name = self.names[row]
                reasons[name] = (*reasons.get(name, ()), entry.rejection.reason)
        return reasons

    def score_of(self, node: str) -> dict[str, int]:
        """plugin -> weighted score of a feasible node; empty when nothing was scored."""
        row = self.names.index(node)
        return {plugin: int(column[row]) for plugin, column in self.scores.items()}


class Framework:
    """The plugins of one profile, in order."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._by_name = {plugin.name: plugin for plugin in plugins}
        self._preselectors = [p for p in plugins if type(p).preselect is not Plugin.preselect]
        self._filters = [p for p in plugins if type(p).filter is not Plugin.filter]
        self._scorers = [p for p in plugins if type(p).score is not Plugin.score]
        self._gates = [p for p in plugins if type(p).holds_back is not Plugin.holds_back]

    def holds_back(self, pod: PodInfo) -> str:
        """The first reason why the pod may not enter the queue, or ""."""
        return next((reason for plugin in self._gates if (reason := plugin.holds_back(pod))), "")

    def may_help(self, plugin_names: Iterable[str], pod: PodInfo, event: ClusterEvent) -> bool:
        """Could the event turn the answer of one of the plugins that rejected the pod?"""
        for name in plugin_names:
            plugin = self._by_name[name]
            if plugin.helped_by & event.change and plugin.may_help(pod, event):
                return True
        return False

    def decide(self, pod: PodInfo, nodes: NodeColumns, random: Random) -> Decision:
        """Filter, score, choose; among equals `random` chooses."""
        alive = nodes.alive[: nodes.size].copy()
        feasible, rejections = self._filter(pod, nodes, alive)
        count = int(np.count_nonzero(feasible))
        scores: dict[str, Integers] = {}
        node = ""
        if count == 1:
            node = nodes.names()[int(np.argmax(feasible))]
        elif count:
            scores = self._score(pod, nodes, feasible)
            node = nodes.names()[_best(scores, feasible, random)]
        return Decision(pod.key, node, nodes.names(), alive, feasible, rejections, scores)

    def _filter(self, pod: PodInfo, nodes: NodeColumns, alive: Rows) -> tuple[Rows, tuple[PluginRejection, ...]]:
        feasible = alive.copy()
        rejections: list[PluginRejection] = []

        def reject(plugin: Plugin, found: Iterable[Rejection]) -> None:
            before = feasible.copy()
            for rejection in found:
                rows = rejection.rows & before
                if rows.any():
                    rejections.append(
                        PluginRejection(plugin.name, Rejection(rejection.reason, rows, rejection.resolvable))
                    )
                    np.logical_and(feasible, ~rows, out=feasible)

        for plugin in self._preselectors:
            preselected = plugin.preselect(pod, nodes)
            if preselected is not None:
                reject(plugin, (preselected,))
        for plugin in self._filters:
            found = tuple(plugin.filter(pod, nodes))
            if found:
                reject(plugin, found)
        return feasible, tuple(rejections)

    def _score(self, pod: PodInfo, nodes: NodeColumns, feasible: Rows) -> dict[str, Integers]:
        scores: dict[str, Integers] = {}
        for plugin in self._scorers:
            column = plugin.score(pod, nodes, feasible)
            if column is not None:
                scores[plugin.name] = column if plugin.weight == 1 else column * plugin.weight
        return scores


def _best(scores: Mapping[str, Integers], feasible: Rows, random: Random) -> int:
    total = np.zeros(len(feasible), np.int64)
    for column in scores.values():
        total += column
    total[~feasible] = -1
    best = np.flatnonzero(total == total.max())
    return int(best[0] if len(best) == 1 else best[random.randrange(len(best))])


def normalise(raw: Integers, feasible: Rows, reverse: bool) -> Integers:
    """Stretch to 0..100 by the highest feasible value; reversed, the highest gets 0. All zero: 100 reversed, else 0."""
    highest = int(np.max(raw, where=feasible, initial=0))
    if highest == 0:
        return np.full(len(raw), MAX_SCORE if reverse else 0, np.int64)
    scaled = raw * MAX_SCORE // highest
    return MAX_SCORE - scaled if reverse else scaled
