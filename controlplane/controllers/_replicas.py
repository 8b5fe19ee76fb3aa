"""The core that ReplicaSet and ReplicationController share: keep `spec.replicas` active pods that match the selector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.actions import Action, Create, Delete, Plan, Update
from controlplane.machinery.controller import Caches
from controlplane.objects.kinds import PODS, Resource
from controlplane.objects.meta import (
    conditions_of,
    controller_of,
    get_in,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    with_condition,
)
from controlplane.objects.selectors import LabelSelector
from controlplane.objects.status import ApiError

Object = dict[str, Any]

BURST = 500  # pods one plan creates or deletes at most


@dataclass(frozen=True, slots=True)
class Observed:
    """The owner, the pods it controls, and those of its namespace that match and have no controller."""

    owner: Object
    pods: Sequence[Object]
    loose: Sequence[Object] = ()


def observe(owner: Object | None, selector: LabelSelector, caches: Caches) -> Observed | None:
    """What the caches hold about one owner."""
    if owner is None:
        return None
    pods = caches[PODS].controlled_by(owner)
    matching = [] if selector.is_everything else caches[PODS].select(namespace_of(owner), selector)
    loose = [pod for pod in matching if controller_of(pod) is None and _pods.is_active(pod)]
    return Observed(owner, pods, loose)


def owners_of_loose_pod(pod: Object, caches: Caches, resource: Resource, selector_of: Any) -> list[str]:
    """Keys of the owners that might adopt a pod that nobody controls."""
    if controller_of(pod) is not None:
        return []
    namespace = namespace_of(pod)
    owners = caches[resource].in_namespace(namespace)
    return [f"{namespace}/{name_of(owner)}" for owner in owners if selector_of(owner).matches(labels_of(pod))]


def plan(observed: Observed, now: datetime, resource: Resource, selector: LabelSelector) -> Plan:
    """Create what lacks, delete what is too much, else report what is."""
    owner = observed.owner
    patches, owned = _pods.adoptions(owner, resource, PODS, selector, observed.pods, observed.loose)
    active = [pod for pod in owned if _pods.is_active(pod)]
    actions: tuple[Action, ...] = patches
    if not is_deleting(owner) and not patches:
        actions = _difference(owner, resource, active, owned)
    minimum = int(get_in(owner, "spec", "minReadySeconds", default=0))
    waits = [wait for pod in active if (wait := _pods.available_in(pod, minimum, now))]

    def failed(error: ApiError) -> Update | None:
        return _status(owner, resource, active, now, error)

    return Plan(
        actions,
        # A status beside changes would be out of date at once: the changes bring the key back.
        status=None if actions else _status(owner, resource, active, now),
        again_after=min(waits, default=None),
        status_after_failure=failed,
    )


def _difference(owner: Object, resource: Resource, active: list[Object], owned: list[Object]) -> tuple[Action, ...]:
    wanted = int(get_in(owner, "spec", "replicas", default=1))
    missing = min(wanted - len(active), BURST)
    if missing > 0:
        template = owner["spec"]["template"]
        return tuple(
            Create(
                PODS,
                _pods.pod_from_template(owner, resource, template, name),
                on_success=_pods.created_note(owner, name),
                on_failure=_pods.create_failed_note(owner),
            )
            for name in _pods.pod_names(owner, owned, missing)
        )
    surplus = min(len(active) - wanted, BURST)
    return tuple(
        Delete(
            PODS,
            pod,
            on_success=_pods.deleted_note(owner, name_of(pod)),
            on_failure=_pods.delete_failed_note(owner),
        )
        for pod in _pods.in_order_of_deletion(active)[: max(0, surplus)]
    )


def _status(
    owner: Object, resource: Resource, active: list[Object], now: datetime, error: ApiError | None = None
) -> Update | None:
    minimum = int(get_in(owner, "spec", "minReadySeconds", default=0))
    template_labels = (get_in(owner, "spec", "template", "metadata", "labels", default={})).items()
    status: Object = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(template_labels <= labels_of(pod).items() for pod in active),
        "readyReplicas": sum(_pods.is_ready(pod) for pod in active),
        "availableReplicas": sum(_pods.is_available(pod, minimum, now) for pod in active),
        "observedGeneration": get_in(owner, "metadata", "generation", default=0),
    }
    # Zero is absent on the wire, but for `replicas`.
    status = {key: value for key, value in status.items() if value or key == "replicas"}
    conditions = [condition for condition in conditions_of(owner) if condition["type"] != "ReplicaFailure"]
    if error is not None:
        failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": str(error)}
        conditions = with_condition(conditions_of(owner), failure, now)
    if conditions:
        status["conditions"] = conditions
    old = {key: value for key, value in (owner.get("status") or {}).items() if value or key == "replicas"}
    if old == status:
        return None
    return Update(resource, {**owner, "status": status}, "status")
