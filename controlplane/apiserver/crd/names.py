"""Whether a CRD's names are free, and the conditions that say so.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

Object = dict[str, Any]
Change = Callable[[Object], Object]

FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"
_FIELDS: Final = ("plural", "singular", "kind", "listKind")


def condition(crd: Object, kind: str) -> Object:
    """The condition of a kind, {} when there is none."""
    for found in (crd.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            return found  # type: ignore[no-any-return]
    return {}


def is_true(crd: Object, kind: str) -> bool:
    return condition(crd, kind).get("status") == "True"


def with_condition(crd: Object, kind: str, status: str, reason: str, message: str, now: str) -> Object:
    """The CRD with a condition; its transition time moves only with its status."""
    crd_status: Object = crd.get("status") or {}
    conditions = list(crd_status.get("conditions") or [])
    before = condition(crd, kind)
    since = before.get("lastTransitionTime", now) if before.get("status") == status else now
    new = {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
    places = [at for at, each in enumerate(conditions) if each.get("type") == kind]
    if places:
        conditions[places[0]] = new
    else:
        conditions.append(new)
    return {**crd, "status": {**crd_status, "conditions": conditions}}


def _taken(crd: Object, others: Iterable[Object]) -> tuple[set[str], set[str]]:
    """(resource names, kinds) that other CRDs of the group hold."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["spec"]["group"] != crd["spec"]["group"] or other["metadata"]["name"] == crd["metadata"]["name"]:
            continue
        accepted: Object = (other.get("status") or {}).get("acceptedNames") or {}
        resources |= {accepted.get("plural", ""), accepted.get("singular", ""), *(accepted.get("shortNames") or ())}
        kinds |= {accepted.get("kind", ""), accepted.get("listKind", "")}
    return resources - {""}, kinds - {""}


def _negotiated(crd: Object, others: Iterable[Object]) -> tuple[Object, str, str]:
    """(accepted names, reason, message) of the last conflict; reason is "" when all are free."""
    resources, kinds = _taken(crd, others)
    wanted: Object = crd["spec"]["names"]
    accepted: Object = dict((crd.get("status") or {}).get("acceptedNames") or {})
    reason = message = ""
    for name in _FIELDS:
        value = wanted.get(name)
        taken = kinds if name in ("kind", "listKind") else resources
        if value in taken:
            reason, message = f"{name[0].upper()}{name[1:]}Conflict", f'"{value}" is already in use'
        else:
            accepted[name] = value
    shorts = wanted.get("shortNames") or []
    conflicts = sorted(set(shorts) & resources)
    if conflicts:
        reason, message = "ShortNamesConflict", f'"{conflicts[0]}" is already in use'
    elif shorts:
        accepted["shortNames"] = shorts
    else:
        accepted.pop("shortNames", None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    else:
        accepted.pop("categories", None)
    return {name: value for name, value in accepted.items() if value}, reason, message


def with_names(crd: Object, others: Iterable[Object], now: str) -> Object:
    """The CRD with acceptedNames, NamesAccepted, Established and storedVersions as they should be now.  An established
    CRD stays so: new names in conflict leave the accepted ones in force."""
    accepted, reason, message = _negotiated(crd, others)
    status: Object = dict(crd.get("status") or {})
    if (status.get("acceptedNames") or {}) != accepted:
        status["acceptedNames"] = accepted
    storage = next(each["name"] for each in crd["spec"]["versions"] if each.get("storage"))
    stored = status.get("storedVersions") or []
    if storage not in stored:
        status["storedVersions"] = [*stored, storage]
    result: Object = {**crd, "status": status}
    if reason:
        result = with_condition(result, "NamesAccepted", "False", reason, message, now)
        if not is_true(result, "Established"):
            words = "not all names are accepted"
            result = with_condition(result, "Established", "False", "NotAccepted", words, now)
        return result
    result = with_condition(result, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
    words = "the initial names have been accepted"
    return with_condition(result, "Established", "True", "InitialNamesAccepted", words, now)


def terminating(crd: Object, now: str) -> Object:
    """A CRD whose deletion was asked for: its finalizer waits for its objects to go."""
    finalizers = list(crd["metadata"].get("finalizers") or [])
    if FINALIZER not in finalizers:
        crd = {**crd, "metadata": {**crd["metadata"], "finalizers": [*finalizers, FINALIZER]}}
    if is_true(crd, "Terminating"):
        return crd
    words = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    return with_condition(crd, "Terminating", "True", "InstanceDeletionPending", words, now)
