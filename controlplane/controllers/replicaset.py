"""ReplicaSet: keep `spec.replicas` living pods that match the selector."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from controlplane.controllers import _replicas
from controlplane.controllers._replicas import Observed
from controlplane.machinery.actions import Plan
from controlplane.machinery.controller import Caches, Kind, Owned, Related
from controlplane.objects.kinds import PODS, REPLICA_SETS
from controlplane.objects.selectors import LabelSelector, from_selector

Object = dict[str, Any]


def _selector(owner: Object) -> LabelSelector:
    return from_selector(owner["spec"].get("selector"))


def _adopters(pod: Object, caches: Caches) -> Iterable[str]:
    return _replicas.owners_of_loose_pod(pod, caches, REPLICA_SETS, _selector)


NAME = "replicaset-controller"
WATCHES = (Kind(REPLICA_SETS), Owned(PODS, by=REPLICA_SETS), Related(PODS, _adopters))


def observe(key: str, caches: Caches) -> Observed | None:
    """The set and its pods, or None when it is gone."""
    owner = caches[REPLICA_SETS].get(key)
    return _replicas.observe(owner, _selector(owner), caches) if owner else None


def plan(observed: Observed, now: datetime) -> Plan:
    """See `_replicas.plan`."""
    return _replicas.plan(observed, now, REPLICA_SETS, _selector(observed.owner))
