"""What a DELETE does to an object: goes at once, waits for its grace period, or waits for its finalizers.

Pure: options and object in, decision out. The words of preconditions are Kubernetes'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from controlplane.apiserver.storage.codec import Object
from controlplane.objects import meta, status
from controlplane.objects.kinds import Resource
from controlplane.objects.status import FieldError

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
_POLICIES: Final = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True, slots=True)
class Options:
    """DeleteOptions; None where the client said nothing."""

    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the object: `keep` is what to store (None: remove it now)."""

    keep: Object | None


def options_from(body: Object, query: dict[str, str]) -> Options:
    """DeleteOptions from the body and, for what it lacks, the query; raises 400 or 422."""
    preconditions: Any = body.get("preconditions") or {}
    grace: Any = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    policy: Any = body.get("propagationPolicy") or query.get("propagationPolicy") or None
    orphan: Any = body.get("orphanDependents", {"true": True, "false": False}.get(query.get("orphanDependents", "")))
    try:
        grace = None if grace is None else int(grace)
    except ValueError as error:
        raise status.bad_request(f"invalid gracePeriodSeconds: {grace}") from error
    if policy is None and orphan is not None:
        policy = "Orphan" if orphan else "Background"
    if policy is not None and policy not in _POLICIES:
        raise status.invalid(
            "DeleteOptions.meta.k8s.io", "", [FieldError.not_supported("propagationPolicy", policy, _POLICIES)]
        )
    dry_run = body.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    if any(value != "All" for value in dry_run):
        raise status.invalid("DeleteOptions.meta.k8s.io", "", [FieldError.not_supported("dryRun", dry_run, ("All",))])
    if grace is not None and grace < 0:
        grace = 1  # as Kubernetes reads a negative period
    return Options(grace, policy, preconditions.get("uid"), preconditions.get("resourceVersion"), bool(dry_run))


def check_preconditions(resource: Resource, obj: Object, options: Options) -> None:
    """Raise 409 when the object is not the one that was meant."""
    metadata = obj["metadata"]
    if options.uid is not None and options.uid != metadata.get("uid"):
        why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {metadata.get('uid')}"
        raise status.conflict(resource, metadata["name"], why)
    if options.resource_version is not None and options.resource_version != metadata.get("resourceVersion"):
        why = (
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {metadata.get('resourceVersion')}"
        )
        raise status.conflict(resource, metadata["name"], why)


def _finalizers(obj: Object, policy: str | None) -> list[str]:
    """The object's finalizers after the propagation policy had its say."""
    current = list(obj["metadata"].get("finalizers") or [])
    if policy is None:
        return current
    kept = [each for each in current if each not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        kept.append(ORPHAN)
    elif policy == "Foreground":
        kept.append(FOREGROUND)
    return kept


GraceOf = Callable[[Object, Options], int]


def no_grace(obj: Object, options: Options) -> int:
    """Most kinds have no grace period."""
    return 0


def decide(obj: Object, options: Options, now: datetime, grace_of: GraceOf = no_grace) -> Verdict:
    """The verdict on one object.  An object that is already waiting only ever gets less time."""
    metadata = obj["metadata"]
    grace = grace_of(obj, options)
    finalizers = _finalizers(obj, options.propagation_policy)
    deleting = metadata.get("deletionTimestamp") is not None
    if deleting:
        before = int(metadata.get("deletionGracePeriodSeconds") or 0)
        grace = min(grace, before) if options.grace_period_seconds is not None or before == 0 else before
        shorter = grace < before
    blocked = bool(finalizers) or bool((obj.get("spec") or {}).get("finalizers") if obj["kind"] == "Namespace" else ())
    if grace == 0 and not blocked:
        return Verdict(None)
    changed: dict[str, Any] = dict(metadata)
    if finalizers:
        changed["finalizers"] = finalizers
    else:
        changed.pop("finalizers", None)
    if not deleting or shorter:
        changed["deletionTimestamp"] = meta.format_time(now + timedelta(seconds=grace))
        changed["deletionGracePeriodSeconds"] = grace
        if not deleting and "generation" in changed:
            changed["generation"] = int(changed["generation"]) + 1
    return Verdict({**obj, "metadata": changed})


def is_finished(obj: Object) -> bool:
    """Whether an object whose deletion was asked for has nothing left to wait for."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp") is None or metadata.get("finalizers"):
        return False
    if obj["kind"] == "Namespace" and (obj.get("spec") or {}).get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")
