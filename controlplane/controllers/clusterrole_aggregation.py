"""A ClusterRole with an aggregation rule holds the rules of all ClusterRoles that the rule selects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.machinery.actions import Plan, Update
from controlplane.machinery.controller import Caches, Related
from controlplane.objects import selectors
from controlplane.objects.kinds import CLUSTER_ROLES
from controlplane.objects.meta import get_in, is_deleting, labels_of, name_of

Object = dict[str, Any]

NAME = "clusterrole-aggregation-controller"


def _aggregating(_: Object, caches: Caches) -> Iterable[str]:
    """Any role may be selected by any rule: all that have one are looked at."""
    for role in caches[CLUSTER_ROLES]:
        if role.get("aggregationRule"):
            yield name_of(role)


WATCHES = (Related(CLUSTER_ROLES, _aggregating),)


@dataclass(frozen=True, slots=True)
class Observed:
    """A role with an aggregation rule, and what it selects, by name."""

    role: Object
    selected: tuple[Object, ...]


def observe(key: str, caches: Caches) -> Observed | None:
    """The role and those that it aggregates, or None."""
    role = caches[CLUSTER_ROLES].get(key)
    if role is None or is_deleting(role) or not role.get("aggregationRule"):
        return None
    wanted = [selectors.from_selector(each) for each in get_in(role, "aggregationRule", "clusterRoleSelectors") or ()]
    found = (
        other
        for other in caches[CLUSTER_ROLES]
        if name_of(other) != key and any(selector.matches(labels_of(other)) for selector in wanted)
    )
    return Observed(role, tuple(sorted(found, key=name_of)))


def plan(observed: Observed, now: datetime) -> Plan:
    """Write the rules, each once, when they are others."""
    rules: list[Object] = []
    for role in observed.selected:
        rules += [rule for rule in role.get("rules") or () if rule not in rules]
    if rules == (observed.role.get("rules") or []):
        return Plan()
    return Plan((Update(CLUSTER_ROLES, {**observed.role, "rules": rules}),))
