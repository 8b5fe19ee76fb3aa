"""Taint eviction: pods leave a node whose NoExecute taints they do not (or no longer) tolerate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.actions import Delete, Note, Plan
from controlplane.machinery.controller import Caches, Kind, Related
from controlplane.objects.kinds import NODES, PODS
from controlplane.objects.meta import get_in, is_deleting, key_of, name_of
from controlplane.objects.taints import toleration_seconds

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """A pod and the NoExecute taints of its node."""

    pod: Object
    taints: Sequence[Object]


def _no_execute(node: Object | None) -> list[Object]:
    taints = get_in(node, "spec", "taints", default=[])
    return [taint for taint in taints if taint.get("effect") == "NoExecute"]


def _pods_of_node(node: Object, caches: Caches) -> Iterable[str]:
    return [key_of(pod) for pod in caches[PODS].by_node(name_of(node))] if _no_execute(node) else ()


def _placed(old: Object, new: Object) -> bool:
    fields = ("nodeName", "tolerations")
    return any(get_in(old, "spec", field) != get_in(new, "spec", field) for field in fields)


NAME = "taint-eviction-controller"
WATCHES = (
    Kind(PODS, changed=_placed),
    Related(NODES, _pods_of_node, changed=lambda old, new: _no_execute(old) != _no_execute(new)),
)


def observe(key: str, caches: Caches) -> Observed | None:
    """A living pod on a node that has NoExecute taints, or None."""
    pod = caches[PODS].get(key)
    if pod is None or is_deleting(pod):
        return None
    taints = _no_execute(caches[NODES].get(get_in(pod, "spec", "nodeName", default="")))
    return Observed(pod, taints) if taints else None


def plan(observed: Observed, now: datetime) -> Plan:
    """Delete the pod, or come back when its toleration runs out; that time counts from when the taint was added."""
    pod = observed.pod
    left: list[float] = []
    for taint in observed.taints:
        seconds = toleration_seconds([taint], get_in(pod, "spec", "tolerations", default=[]))
        if seconds is None:
            continue
        added = _pods.time_of(taint.get("timeAdded")) or now
        placed = _pods.time_of(get_in(pod, "status", "startTime")) or added  # it may have come after the taint
        left.append(seconds - (now - max(added, placed)).total_seconds())
    if not left:
        return Plan()
    if min(left) > 0:
        return Plan(again_after=min(left))
    note = Note(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key_of(pod)}")
    return Plan((Delete(PODS, pod, on_success=note),))
