"""Access, priorities, budgets, leases, certificates, flow control."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import (
    AGE,
    CREATED,
    NONE,
    UNSET,
    Column,
    Object,
    Printer,
    age,
    human_duration,
    number,
    text,
    wide,
)
from controlplane.objects.meta import conditions_of, get_in, is_true


def _subjects(obj: Object, kind: str) -> str:
    found = [subject for subject in obj.get("subjects") or () if subject.get("kind") == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{subject.get('namespace', '')}/{subject.get('name', '')}" for subject in found)
    return ", ".join(subject.get("name", "") for subject in found)


def _binding(obj: Object, now: datetime) -> list[Any]:
    reference: Object = obj.get("roleRef") or {}
    role = f"{reference.get('kind', '')}/{reference.get('name', '')}"
    return [role, age(obj, now), *(_subjects(obj, kind) for kind in ("User", "Group", "ServiceAccount"))]


def _budget(obj: Object, now: datetime) -> list[Any]:
    least, most = (text(obj, "spec", name, absent="N/A") for name in ("minAvailable", "maxUnavailable"))
    return [least, most, number(obj, "status", "disruptionsAllowed"), age(obj, now)]


def _priority_class(obj: Object, now: datetime) -> list[Any]:
    return [obj.get("value", 0), bool(obj.get("globalDefault")), age(obj, now), obj.get("preemptionPolicy", NONE)]


def _lease(obj: Object, now: datetime) -> list[Any]:
    return [text(obj, "spec", "holderIdentity", absent=""), age(obj, now)]


def _runtime_class(obj: Object, now: datetime) -> list[Any]:
    return [obj.get("handler", ""), age(obj, now)]


def _signing_status(obj: Object) -> str:
    for condition in ("Failed", "Denied", "Approved"):
        if is_true(obj, condition) or any(found.get("type") == condition for found in conditions_of(obj)):
            issued = condition == "Approved" and get_in(obj, "status", "certificate")
            return f"{condition},Issued" if issued else condition
    return "Pending"


def _signing_request(obj: Object, now: datetime) -> list[Any]:
    seconds = get_in(obj, "spec", "expirationSeconds")
    return [
        age(obj, now),
        text(obj, "spec", "signerName"),
        text(obj, "spec", "username", absent=""),
        NONE if seconds is None else human_duration(seconds),
        _signing_status(obj),
    ]


def _trust_bundle(obj: Object, now: datetime) -> list[Any]:
    return [text(obj, "spec", "signerName")]


def _flow_schema(obj: Object, now: datetime) -> list[Any]:
    dangling = next((found for found in conditions_of(obj) if found.get("type") == "Dangling"), {})
    return [
        text(obj, "spec", "priorityLevelConfiguration", "name"),
        number(obj, "spec", "matchingPrecedence"),
        text(obj, "spec", "distinguisherMethod", "type"),
        age(obj, now),
        dangling.get("status", "?"),
    ]


def _priority_level(obj: Object, now: datetime) -> list[Any]:
    limited: Object = get_in(obj, "spec", "limited", default={}) or get_in(obj, "spec", "exempt", default={})
    queuing: Object = get_in(limited, "limitResponse", "queuing", default={})
    queues = [queuing.get(name, NONE) for name in ("queues", "handSize", "queueLengthLimit")]
    return [text(obj, "spec", "type", absent=""), limited.get("nominalConcurrencyShares", NONE), *queues, age(obj, now)]


def _resource_claim(obj: Object, now: datetime) -> list[Any]:
    states = []
    if get_in(obj, "metadata", "deletionTimestamp"):
        states.append("deleted")
    if get_in(obj, "status", "allocation") is None:
        states.append("pending")
    else:
        states += ["allocated"] + (["reserved"] if get_in(obj, "status", "reservedFor") else [])
    return [",".join(states), age(obj, now)]


def _resource_slice(obj: Object, now: datetime) -> list[Any]:
    where = text(obj, "spec", "nodeName", absent="<all>" if get_in(obj, "spec", "allNodes") else UNSET)
    return [where, text(obj, "spec", "driver", absent=""), text(obj, "spec", "pool", "name", absent=""), age(obj, now)]


_RBAC, _FLOW, _RESOURCE = "rbac.authorization.k8s.io", "flowcontrol.apiserver.k8s.io", "resource.k8s.io"
_BINDING: Final = Printer((Column("Role"), AGE, *wide("Users", "Groups", "ServiceAccounts")), _binding)
PRINTERS: Final = {
    (_RBAC, "roles"): CREATED,
    (_RBAC, "clusterroles"): CREATED,
    (_RBAC, "rolebindings"): _BINDING,
    (_RBAC, "clusterrolebindings"): _BINDING,
    ("policy", "poddisruptionbudgets"): Printer(
        (Column("Min Available"), Column("Max Unavailable"), Column("Allowed Disruptions", "integer"), AGE), _budget
    ),
    ("scheduling.k8s.io", "priorityclasses"): Printer(
        (Column("Value", "integer"), Column("Global-Default", "boolean"), AGE, Column("PreemptionPolicy")),
        _priority_class,
    ),
    ("coordination.k8s.io", "leases"): Printer((Column("Holder"), AGE), _lease),
    ("node.k8s.io", "runtimeclasses"): Printer((Column("Handler"), AGE), _runtime_class),
    ("certificates.k8s.io", "certificatesigningrequests"): Printer(
        (AGE, *(Column(name) for name in ("SignerName", "Requestor", "RequestedDuration", "Condition"))),
        _signing_request,
    ),
    ("certificates.k8s.io", "clustertrustbundles"): Printer((Column("SignerName"),), _trust_bundle),
    (_FLOW, "flowschemas"): Printer(
        (
            *(Column(name) for name in ("PriorityLevel", "MatchingPrecedence", "DistinguisherMethod")),
            AGE,
            Column("MissingPL"),
        ),
        _flow_schema,
    ),
    (_FLOW, "prioritylevelconfigurations"): Printer(
        (
            *(Column(name) for name in ("Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit")),
            AGE,
        ),
        _priority_level,
    ),
    (_RESOURCE, "resourceclaims"): Printer((Column("State"), AGE), _resource_claim),
    (_RESOURCE, "resourceslices"): Printer((Column("Node"), Column("Driver"), Column("Pool"), AGE), _resource_slice),
}
