"""DaemonSet: one pod on every node that fits, bound by node affinity and left to the scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.controllers._rollout import resolve_limits
from controlplane.machinery.actions import Action, Create, Delete, Plan, Update
from controlplane.machinery.controller import Caches, Kind, Owned, Related
from controlplane.objects.kinds import DAEMON_SETS, NODES, PODS
from controlplane.objects.meta import (
    conditions_of,
    get_in,
    is_deleting,
    labels_of,
    name_of,
    uid_of,
)
from controlplane.objects.taints import first_untolerated, pod_fits_node

Object = dict[str, Any]

HASH_LABEL = "controller-revision-hash"
# What every daemon's pod tolerates: it belongs to the node and does not leave it.
TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
NO_EXECUTE = frozenset({"NoExecute"})


@dataclass(frozen=True, slots=True)
class Observed:
    """The set, the pods it controls, and all nodes."""

    owner: Object
    pods: Sequence[Object]
    nodes: Sequence[Object]


def _all_sets(_: Object, caches: Caches) -> Iterable[str]:
    return list(caches[DAEMON_SETS].keys())


def _node_changed(old: Object, new: Object) -> bool:
    fields = ("taints", "unschedulable")
    return labels_of(old) != labels_of(new) or any(
        get_in(old, "spec", field) != get_in(new, "spec", field) for field in fields
    )


NAME = "daemonset-controller"
WATCHES = (Kind(DAEMON_SETS), Owned(PODS, by=DAEMON_SETS), Related(NODES, _all_sets, changed=_node_changed))


def observe(key: str, caches: Caches) -> Observed | None:
    """The set with its pods and the nodes, or None when it is gone."""
    owner = caches[DAEMON_SETS].get(key)
    if owner is None:
        return None
    pods = caches[PODS].controlled_by(owner)
    return Observed(owner, pods, sorted(caches[NODES], key=name_of))


def plan(observed: Observed, now: datetime) -> Plan:
    """One pod for each node that should have one, none elsewhere; then old templates are replaced."""
    owner = observed.owner
    template = _template(owner)
    revision = _pods.suffix(10, owner["spec"]["template"])
    by_node: dict[str, list[Object]] = {}
    for pod in observed.pods:
        by_node.setdefault(node_of(pod), []).append(pod)
    wanted = {name_of(node) for node in observed.nodes if _should_run(template, node)}
    may_stay = {name_of(node) for node in observed.nodes if _may_stay(template, node)}
    status = _status(observed, by_node, wanted, revision, now)
    if is_deleting(owner):
        return Plan(status=status)
    actions: list[Action] = []
    for node, pods in sorted(by_node.items()):
        living = sorted((pod for pod in pods if not is_deleting(pod)), key=_age)
        ended = [pod for pod in living if _pods.phase_of(pod) in ("Succeeded", "Failed")]
        running = [pod for pod in living if pod not in ended]
        surplus = running[1:] if node in may_stay else running
        actions += [_delete(owner, pod) for pod in (*ended, *surplus)]
    for node in sorted(wanted):
        if not by_node.get(node):
            actions.append(_create(owner, template, node, revision, observed.pods))
    if not actions:
        actions = _roll(owner, by_node, wanted, revision, now)
    return Plan(tuple(actions), None if actions else status, again_after=_until_available(owner, observed.pods, now))


def node_of(pod: Object) -> str:
    """The node the pod runs on or is meant for."""
    if node := get_in(pod, "spec", "nodeName"):
        return str(node)
    affinity = get_in(
        pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", default={}
    )
    for term in affinity.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""


def _template(owner: Object) -> Object:
    """The pod template with the tolerations of a daemon."""
    template = owner["spec"]["template"]
    spec = template.get("spec") or {}
    more = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in TOLERATED]
    if spec.get("hostNetwork"):
        more.append({"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"})
    present = list(spec.get("tolerations") or ())
    return {**template, "spec": {**spec, "tolerations": present + [each for each in more if each not in present]}}


def _should_run(template: Object, node: Object) -> bool:
    untolerated = first_untolerated(get_in(node, "spec", "taints", default=[]), template["spec"]["tolerations"])
    return untolerated is None and pod_fits_node(template, node)


def _may_stay(template: Object, node: Object) -> bool:
    taints = get_in(node, "spec", "taints", default=[])
    return first_untolerated(taints, template["spec"]["tolerations"], NO_EXECUTE) is None and pod_fits_node(
        template, node
    )


def _age(pod: Object) -> tuple[bool, str, str]:
    created = get_in(pod, "metadata", "creationTimestamp", default="")
    return (not _pods.is_ready(pod), created, name_of(pod))


def _delete(owner: Object, pod: Object) -> Delete:
    done, failed = _pods.deleted_note(owner, name_of(pod)), _pods.delete_failed_note(owner)
    return Delete(PODS, pod, on_success=done, on_failure=failed)


def _create(owner: Object, template: Object, node: str, revision: str, pods: Sequence[Object]) -> Create:
    earlier = sorted(uid_of(pod) for pod in pods if node_of(pod) == node)
    tail = _pods.suffix(5, uid_of(owner), node, earlier, owner["metadata"].get("resourceVersion"))
    pod = _pods.pod_from_template(owner, DAEMON_SETS, template, f"{name_of(owner)[:57]}-{tail}")
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = dict(pod["spec"].get("affinity") or {})
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [term]}
    affinity["nodeAffinity"] = node_affinity
    labels = {**(pod["metadata"].get("labels") or {}), HASH_LABEL: revision}
    made = {
        **pod,
        "metadata": {**pod["metadata"], "labels": labels},
        "spec": {**pod["spec"], "affinity": affinity},
    }
    done, failed = _pods.created_note(owner, name_of(made)), _pods.create_failed_note(owner)
    return Create(PODS, made, on_success=done, on_failure=failed)


def _is_old(pod: Object, revision: str) -> bool:
    return labels_of(pod).get(HASH_LABEL) != revision


def _roll(
    owner: Object, by_node: dict[str, list[Object]], wanted: set[str], revision: str, now: datetime
) -> list[Action]:
    """Delete pods of an old template as far as maxUnavailable allows; those that are not available anyway first."""
    if get_in(owner, "spec", "updateStrategy", "type", default="RollingUpdate") != "RollingUpdate":
        return []
    rolling = get_in(owner, "spec", "updateStrategy", "rollingUpdate", default={})
    budget = resolve_limits(len(wanted), 0, rolling.get("maxUnavailable", 1), rolling=True).unavailable
    minimum = int(get_in(owner, "spec", "minReadySeconds", default=0))
    available, useless = [], []
    for node in sorted(wanted):
        living = [pod for pod in by_node.get(node, ()) if not is_deleting(pod)]
        if not living or not _pods.is_available(living[0], minimum, now):
            budget -= 1
            useless += [pod for pod in living if _is_old(pod, revision)]
        elif _is_old(living[0], revision):
            available.append(living[0])
    return [_delete(owner, pod) for pod in (*useless, *available[: max(0, budget)])]


def _until_available(owner: Object, pods: Sequence[Object], now: datetime) -> float | None:
    minimum = int(get_in(owner, "spec", "minReadySeconds", default=0))
    waits = [wait for pod in pods if (wait := _pods.available_in(pod, minimum, now))]
    return min(waits, default=None)


def _status(
    observed: Observed, by_node: dict[str, list[Object]], wanted: set[str], revision: str, now: datetime
) -> Update | None:
    owner = observed.owner
    minimum = int(get_in(owner, "spec", "minReadySeconds", default=0))
    living = {node: [pod for pod in pods if not is_deleting(pod)] for node, pods in by_node.items()}
    placed = [living[node][0] for node in sorted(wanted) if living.get(node)]
    available = sum(_pods.is_available(pod, minimum, now) for pod in placed)
    status: Object = {
        "currentNumberScheduled": len(placed),
        "desiredNumberScheduled": len(wanted),
        "numberMisscheduled": sum(bool(pods) for node, pods in living.items() if node not in wanted),
        "numberReady": sum(_pods.is_ready(pod) for pod in placed),
        "updatedNumberScheduled": sum(not _is_old(pod, revision) for pod in placed),
        "numberAvailable": available,
        "numberUnavailable": len(wanted) - available,
        "observedGeneration": get_in(owner, "metadata", "generation", default=0),
        "conditions": conditions_of(owner),
    }
    always = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
    status = {key: value for key, value in status.items() if value or key in always}
    return None if status == owner.get("status") else Update(DAEMON_SETS, {**owner, "status": status}, "status")
