"""ReplicationController: as ReplicaSet, with a selector that is a map and defaults to the template's labels."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from controlplane.controllers import _replicas
from controlplane.controllers._replicas import Observed
from controlplane.machinery.actions import Plan
from controlplane.machinery.controller import Caches, Kind, Owned, Related
from controlplane.objects.kinds import PODS, REPLICATION_CONTROLLERS
from controlplane.objects.meta import get_in
from controlplane.objects.selectors import LabelSelector, from_map

Object = dict[str, Any]


def _selector(owner: Object) -> LabelSelector:
    labels = get_in(owner, "spec", "selector") or get_in(owner, "spec", "template", "metadata", "labels")
    return from_map(labels)


def _adopters(pod: Object, caches: Caches) -> Iterable[str]:
    return _replicas.owners_of_loose_pod(pod, caches, REPLICATION_CONTROLLERS, _selector)


NAME = "replicationcontroller-controller"
WATCHES = (
    Kind(REPLICATION_CONTROLLERS),
    Owned(PODS, by=REPLICATION_CONTROLLERS),
    Related(PODS, _adopters),
)


def observe(key: str, caches: Caches) -> Observed | None:
    """The controller and its pods, or None when it is gone."""
    owner = caches[REPLICATION_CONTROLLERS].get(key)
    return _replicas.observe(owner, _selector(owner), caches) if owner else None


def plan(observed: Observed, now: datetime) -> Plan:
    """See `_replicas.plan`."""
    return _replicas.plan(observed, now, REPLICATION_CONTROLLERS, _selector(observed.owner))
