"""PersistentVolume protection: a volume whose deletion was asked for goes when it is bound to no claim."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from controlplane.controllers.claim_protection import without
from controlplane.machinery.actions import Plan
from controlplane.machinery.controller import Caches, Kind, Watch
from controlplane.objects.kinds import PERSISTENT_VOLUMES
from controlplane.objects.meta import finalizers_of, get_in, is_deleting

Object = dict[str, Any]

NAME = "persistentvolume-protection-controller"
FINALIZER = "kubernetes.io/pv-protection"
WATCHES: tuple[Watch, ...] = (Kind(PERSISTENT_VOLUMES, changed=lambda old, new: is_deleting(new)),)


def observe(key: str, caches: Caches) -> Object | None:
    """A volume that waits for nothing but us, or None."""
    volume = caches[PERSISTENT_VOLUMES].get(key)
    if volume is None or not is_deleting(volume) or FINALIZER not in finalizers_of(volume):
        return None
    return volume


def plan(volume: Object, now: datetime) -> Plan:
    """Take the finalizer away unless a claim is bound to it."""
    if get_in(volume, "status", "phase") == "Bound":
        return Plan()
    return Plan((without(PERSISTENT_VOLUMES, volume, FINALIZER),))
