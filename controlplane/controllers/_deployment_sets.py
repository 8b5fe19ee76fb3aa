"""A Deployment's ReplicaSets: which one is new, what a new one looks like, what annotations they carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.controllers import _pods
from controlplane.controllers._rollout import Limits, Sizes
from controlplane.objects.kinds import DEPLOYMENTS
from controlplane.objects.meta import (
    annotations_of,
    get_in,
    is_deleting,
    name_of,
    namespace_of,
    owner_reference,
    with_annotations,
    without,
)

Object = dict[str, Any]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HISTORY_LIMIT = 2000  # characters of the revision history that are kept
NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED,
        MAXIMUM,
        "deprecated.deployment.rollback.to",
    }
)


def template_hash(deployment: Object) -> str:
    """The hash of the pod template (and of the count of collisions so far)."""
    collisions = int(get_in(deployment, "status", "collisionCount", default=0))
    return _pods.suffix(10, deployment["spec"]["template"], collisions)


def set_name(deployment: Object) -> str:
    """The name of the ReplicaSet of the current template."""
    return f"{name_of(deployment)}-{template_hash(deployment)}"


def find_new(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """The oldest set with the Deployment's current template, or None. The hash label does not count."""
    wanted = _bare(deployment["spec"]["template"])
    for found in sets:
        if _bare(found["spec"]["template"]) == wanted:
            return found
    # A server may add defaults to one kind that it does not add to the other: then the name we gave it decides.
    name = set_name(deployment)
    return next((found for found in sets if name_of(found) == name), None)


def _bare(template: Object) -> Object:
    bare = without(template, ("metadata", "labels", HASH_LABEL))
    metadata = {key: value for key, value in (bare.get("metadata") or {}).items() if value}
    return {**bare, "metadata": metadata}


def replicas_of(found: Object) -> int:
    return int(get_in(found, "spec", "replicas", default=1))


def revision_of(found: Object) -> int:
    text = annotations_of(found).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def sizes_of(found: Object) -> Sizes:
    """The set as numbers."""
    maximum = annotations_of(found).get(MAXIMUM, "0")
    available = int(get_in(found, "status", "availableReplicas", default=0))
    return Sizes(name_of(found), replicas_of(found), available, int(maximum) if maximum.isdigit() else 0)


def desired_memory(limits: Limits) -> dict[str, str]:
    """The annotations by which a set remembers the Deployment's size when it was last scaled."""
    return {DESIRED: str(limits.replicas), MAXIMUM: str(limits.maximum)}


def with_replicas(found: Object, replicas: int, limits: Limits) -> Object:
    """The set with another size."""
    remembering = with_annotations(found, desired_memory(limits))
    return {**remembering, "spec": {**found["spec"], "replicas": replicas}}


def copied_annotations(deployment: Object, found: Object) -> Object:
    """The set with the Deployment's annotations."""
    copied = {key: value for key, value in annotations_of(deployment).items() if key not in NOT_COPIED}
    return with_annotations(found, copied) if copied.items() - annotations_of(found).items() else found


def with_revision(found: Object, revision: int) -> Object:
    """The set with that revision; the one it had goes into its history."""
    annotations = annotations_of(found)
    old = annotations.get(REVISION)
    if old == str(revision):
        return found
    changes = {REVISION: str(revision)}
    if old is not None:
        history = [entry for entry in annotations.get(REVISION_HISTORY, "").split(",") if entry]
        text = ",".join([*history, old])
        changes[REVISION_HISTORY] = text if len(text) <= HISTORY_LIMIT else text[-HISTORY_LIMIT:].partition(",")[2]
    return with_annotations(found, changes)


def new_set(
    deployment: Object, name: str, replicas: int, limits: Limits, revision: int, old: Sequence[Object]
) -> Object:
    """The ReplicaSet of the current template."""
    spec = deployment["spec"]
    label = {HASH_LABEL: name.removeprefix(f"{name_of(deployment)}-")}
    template = spec["template"]
    template_metadata = template.get("metadata") or {}
    labels = {**(template_metadata.get("labels") or {}), **label}
    selector = spec["selector"]
    made: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": namespace_of(deployment),
            "labels": labels,
            "ownerReferences": [owner_reference(deployment, DEPLOYMENTS)],
            "annotations": {REVISION: str(revision), **desired_memory(limits)},
        },
        "spec": {
            "replicas": replicas,
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **label}},
            "template": {**template, "metadata": {**template_metadata, "labels": labels}},
        },
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return copied_annotations(deployment, made)


def expired_sets(old: Sequence[Object], limit: int) -> list[Object]:
    """The empty old sets beyond the newest `limit`, by revision."""
    empty = [
        found
        for found in old
        if replicas_of(found) == 0
        and not get_in(found, "status", "replicas", default=0)
        and get_in(found, "status", "observedGeneration", default=0)
        >= get_in(found, "metadata", "generation", default=0)
        and not is_deleting(found)
    ]
    empty.sort(key=revision_of)
    return empty[: max(0, len(empty) - limit)]
