"""What the controllers of pods share: what counts as active, ready and available; names; templates; whom to delete first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from controlplane.machinery.actions import Note, Patch
from controlplane.objects.kinds import Resource
from controlplane.objects.meta import (
    annotations_of,
    condition_of,
    get_in,
    is_deleting,
    is_true,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    owners_of,
    parse_time,
    resource_version_of,
    uid_of,
)
from controlplane.objects.selectors import LabelSelector

Object = dict[str, Any]

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes': no vowels, nothing that reads like something else
NAME_LIMIT = 63
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}
_canonical = msgspec.json.Encoder(order="deterministic").encode


def suffix(length: int, *parts: object) -> str:
    """A name's random-looking tail that depends on nothing but `parts`."""
    digest = int.from_bytes(hashlib.sha256(_canonical(parts)).digest(), "big")
    letters = []
    for _ in range(length):
        digest, index = divmod(digest, len(ALPHABET))
        letters.append(ALPHABET[index])
    return "".join(letters)


def pod_names(owner: Object, pods: Iterable[Object], count: int) -> list[str]:
    """Names for `count` more pods: the same as long as the owner and its pods look the same, others afterwards.

    That makes creation repeatable: planned again on a stale cache, it meets AlreadyExists instead of making a twin.
    """
    present = sorted(uid_of(pod) for pod in pods)
    base = name_of(owner)[: NAME_LIMIT - 6]
    state = (uid_of(owner), resource_version_of(owner), present)
    return [f"{base}-{suffix(5, *state, index)}" for index in range(count)]


def pod_from_template(owner: Object, resource: Resource, template: Object, name: str) -> Object:
    """The pod that a controller makes of its template."""
    source = template.get("metadata") or {}
    metadata: Object = {"name": name, "namespace": namespace_of(owner)}
    metadata |= {"generateName": f"{name_of(owner)}-", "ownerReferences": [owner_reference(owner, resource)]}
    metadata |= {field: source[field] for field in ("labels", "annotations", "finalizers") if source.get(field)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def phase_of(pod: Object) -> str:
    found: str = get_in(pod, "status", "phase", default="Pending")
    return found


def is_active(pod: Object) -> bool:
    """Neither finished nor on its way out."""
    return phase_of(pod) not in ("Succeeded", "Failed") and not is_deleting(pod)


def is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready")


def ready_since(pod: Object) -> datetime | None:
    """When the pod became ready, if it is."""
    condition = condition_of(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    return time_of(condition.get("lastTransitionTime")) or EPOCH


def time_of(text: str | None) -> datetime | None:
    """The moment, or None where there is none or nonsense."""
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def available_in(pod: Object, min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until a ready pod counts as available: 0 when it does, None when it is not ready."""
    since = ready_since(pod)
    if since is None:
        return None
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def is_available(pod: Object, min_ready_seconds: int, now: datetime) -> bool:
    return available_in(pod, min_ready_seconds, now) == 0.0


def restarts_of(pod: Object) -> int:
    """Restarts of all its containers together."""
    return sum(
        int(status.get("restartCount") or 0) for status in get_in(pod, "status", "containerStatuses", default=[])
    )


def in_order_of_deletion(pods: Sequence[Object]) -> list[Object]:
    """The pods, the one to lose first first: unassigned, pending, not ready, cheap, crowded, young, restarted."""
    crowd = Counter(get_in(pod, "spec", "nodeName", default="") for pod in pods)

    def rank(pod: Object) -> tuple[Any, ...]:
        node = get_in(pod, "spec", "nodeName", default="")
        since = ready_since(pod)
        created = time_of(get_in(pod, "metadata", "creationTimestamp")) or EPOCH
        return (
            bool(node),
            _PHASE_RANK.get(phase_of(pod), 2),
            since is not None,
            _deletion_cost(pod),
            -crowd[node],
            -(since or EPOCH).timestamp(),
            -restarts_of(pod),
            -created.timestamp(),
            name_of(pod),
        )

    return sorted(pods, key=rank)


def _deletion_cost(pod: Object) -> int:
    text = annotations_of(pod).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def adoptions(
    owner: Object,
    resource: Resource,
    child: Resource,
    selector: LabelSelector,
    owned: Iterable[Object],
    loose: Iterable[Object],
) -> tuple[tuple[Patch, ...], list[Object]]:
    """Take in what matches and belongs to nobody, let go what no longer matches: the patches, and who is (still) owned.

    What is taken in counts from the next plan on, when the cache shows it.
    """
    if is_deleting(owner):
        return (), list(owned)
    patches, kept = [], []
    for obj in owned:
        if selector.matches(labels_of(obj)) or is_deleting(obj):
            kept.append(obj)
        else:
            references = [reference for reference in owners_of(obj) if reference["uid"] != uid_of(owner)]
            patches.append(_owners_patch(child, obj, references))
    for obj in loose:
        if selector.matches(labels_of(obj)) and not is_deleting(obj):
            patches.append(_owners_patch(child, obj, [*owners_of(obj), owner_reference(owner, resource)]))
    return tuple(patches), kept


def _owners_patch(resource: Resource, obj: Object, references: list[Object]) -> Patch:
    metadata = {"uid": uid_of(obj), "resourceVersion": resource_version_of(obj), "ownerReferences": references or None}
    return Patch(resource, name_of(obj), namespace_of(obj), {"metadata": metadata}, missing_ok=True)


def created_note(owner: Object, name: str) -> Note:
    return Note(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")


def create_failed_note(owner: Object) -> Note:
    return Note(owner, "Warning", "FailedCreate", "Error creating: {error}")


def deleted_note(owner: Object, name: str) -> Note:
    return Note(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")


def delete_failed_note(owner: Object) -> Note:
    return Note(owner, "Warning", "FailedDelete", "Error deleting: {error}")
