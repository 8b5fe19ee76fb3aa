"""PersistentVolumeClaim protection: a claim whose deletion was asked for goes when no pod uses it any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.actions import Plan, Update
from controlplane.machinery.controller import Caches, Kind, Related, Watch
from controlplane.objects.kinds import PERSISTENT_VOLUME_CLAIMS, PODS
from controlplane.objects.meta import finalizers_of, get_in, is_deleting, name_of, namespace_of

Object = dict[str, Any]

NAME = "persistentvolumeclaim-protection-controller"
FINALIZER = "kubernetes.io/pvc-protection"


@dataclass(frozen=True, slots=True)
class Observed:
    """A claim that is to go, and the pods that use it still."""

    claim: Object
    users: tuple[str, ...]


def claims_of(pod: Object) -> Iterable[str]:
    """Keys of the claims that a pod mounts; an ephemeral volume's claim is named after pod and volume."""
    for volume in get_in(pod, "spec", "volumes", default=[]):
        if volume.get("persistentVolumeClaim"):
            yield f"{namespace_of(pod)}/{volume['persistentVolumeClaim'].get('claimName', '')}"
        elif volume.get("ephemeral") is not None:
            yield f"{namespace_of(pod)}/{name_of(pod)}-{volume['name']}"


def _uses(pod: Object) -> bool:
    """Whether it runs, or may: what has ended uses nothing, and neither does what is to go and never was on a node."""
    if _pods.phase_of(pod) in ("Succeeded", "Failed"):
        return False
    return not is_deleting(pod) or bool(get_in(pod, "spec", "nodeName"))


WATCHES: tuple[Watch, ...] = (
    Kind(PERSISTENT_VOLUME_CLAIMS, changed=lambda old, new: is_deleting(new)),
    Related(PODS, lambda pod, caches: claims_of(pod), changed=lambda old, new: _uses(old) and not _uses(new)),
)


def observe(key: str, caches: Caches) -> Observed | None:
    """A claim that waits for nothing but us, or None."""
    claim = caches[PERSISTENT_VOLUME_CLAIMS].get(key)
    if claim is None or not is_deleting(claim) or FINALIZER not in finalizers_of(claim):
        return None
    pods = caches[PODS].by_index("claims", claims_of, key)
    return Observed(claim, tuple(sorted(name_of(pod) for pod in pods if _uses(pod))))


def plan(observed: Observed, now: datetime) -> Plan:
    """Take the finalizer away once nobody uses it; the news of a pod brings the key back."""
    return Plan() if observed.users else Plan((without(PERSISTENT_VOLUME_CLAIMS, observed.claim, FINALIZER),))


def without(resource: Any, obj: Object, finalizer: str) -> Update:
    """The object without one finalizer."""
    left = [name for name in finalizers_of(obj) if name != finalizer]
    return Update(resource, {**obj, "metadata": {**obj["metadata"], "finalizers": left}})
