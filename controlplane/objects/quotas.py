"""What objects count for in ResourceQuotas, and which quotas are about them: asked by admission and by the controller."""

from collections.abc import Mapping
from typing import Any, Final

from controlplane.objects import quantity
from controlplane.objects.kinds import PERSISTENT_VOLUME_CLAIMS, PODS, SERVICES, Resource
from controlplane.objects.quantity import Quantity

Object = dict[str, Any]

COMPUTE: Final = ("cpu", "memory", "ephemeral-storage")
COUNTED: Final = frozenset(
    {"pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas"}
)
CLASS: Final = ".storageclass.storage.k8s.io/"
_ONE: Final = quantity.from_units(1)
_OLDER: Final = "volume.beta.kubernetes.io/storage-class"

Usage = dict[str, Quantity]


def _pod_usage(obj: Object) -> Usage:
    usage: Usage = {"pods": _ONE, "count/pods": _ONE}
    spec = obj.get("spec") or {}
    for kind in ("requests", "limits"):
        sums: Usage = {}
        for container in spec.get("containers") or ():
            for name, amount in ((container.get("resources") or {}).get(kind) or {}).items():
                parsed = quantity.parse(amount)
                sums[name] = sums[name] + parsed if name in sums else parsed
        for container in spec.get("initContainers") or ():
            for name, amount in ((container.get("resources") or {}).get(kind) or {}).items():
                parsed = quantity.parse(amount)
                sums[name] = max(sums.get(name, parsed), parsed, key=lambda each: each.nanos)
        for name, total in sums.items():
            usage[f"{kind}.{name}"] = total
            if kind == "requests" and name in COMPUTE:
                usage[name] = total
    return usage


_OF_A_CLASS: Final = ("persistentvolumeclaims", "requests.storage")


def _class_of(claim: Object) -> str:
    annotations = claim["metadata"].get("annotations") or {}
    return str(annotations.get(_OLDER) or (claim.get("spec") or {}).get("storageClassName") or "")


def counts(resource: Resource, obj: Object) -> bool:
    """Whether it counts at all: a pod that has ended does not."""
    return resource != PODS or (obj.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def total(quota: Object, objects: Mapping[Resource, list[Object]]) -> dict[str, str]:
    """What all objects of a namespace use together of what the quota bounds."""
    sums: Usage = {name: quantity.from_units(0) for name in (quota.get("spec") or {}).get("hard") or {}}
    for resource, found in objects.items():
        for obj in found:
            if not counts(resource, obj) or not applies(quota, resource, obj):
                continue
            for name, amount in usage_of(resource, obj).items():
                if name in sums:
                    sums[name] = sums[name] + amount
    return {name: str(amount) for name, amount in sums.items()}


def kinds_of(hard: Mapping[str, str]) -> list[tuple[str, str]]:
    """The (group, plural) of the kinds whose objects a quota counts."""
    found: dict[tuple[str, str], None] = {}
    for name in hard:
        plural, _, group = name.removeprefix("count/").partition(".")
        if name.startswith("count/"):
            found[group, plural] = None
        elif CLASS in name:
            found["", "persistentvolumeclaims"] = None
        elif plural in COUNTED:
            found["", plural] = None
        elif plural in ("requests", "limits", *COMPUTE):
            is_of_claims = name.endswith("storage") and not name.endswith("ephemeral-storage")
            found["", "persistentvolumeclaims" if is_of_claims else "pods"] = None
    return list(found)


def usage_of(resource: Resource, obj: Object) -> Usage:
    """What one object counts for, by the names that quotas use."""
    if resource == PODS:
        return _pod_usage(obj)
    usage: Usage = {f"count/{resource.group_resource}": _ONE}
    if not resource.group and resource.plural in COUNTED:
        usage[resource.plural] = _ONE
    if resource == SERVICES:
        kind = (obj.get("spec") or {}).get("type")
        if kind in ("NodePort", "LoadBalancer"):
            ports = len((obj.get("spec") or {}).get("ports") or ())
            usage["services.nodeports"] = quantity.from_units(ports)
        if kind == "LoadBalancer":
            usage["services.loadbalancers"] = _ONE
    if resource == PERSISTENT_VOLUME_CLAIMS:
        requests = ((obj.get("spec") or {}).get("resources") or {}).get("requests") or {}
        if "storage" in requests:
            usage["requests.storage"] = quantity.parse(requests["storage"])
        name = _class_of(obj)
        if name:
            usage |= {f"{name}{CLASS}{key}": usage[key] for key in _OF_A_CLASS if key in usage}
    return usage


def _scope_matches(scope: str, obj: Object) -> bool:
    spec = obj.get("spec") or {}
    terminating = spec.get("activeDeadlineSeconds") is not None
    usage = _pod_usage(obj)
    best_effort = not any(name.startswith(("requests.", "limits.")) for name in usage)
    known = {
        "Terminating": terminating,
        "NotTerminating": not terminating,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
        "PriorityClass": bool(spec.get("priorityClassName")),
    }
    return known.get(scope, True)


def _priority_matches(selector: Object, obj: Object) -> bool:
    found, values = (obj.get("spec") or {}).get("priorityClassName", ""), selector.get("values") or []
    match selector.get("operator"):
        case "In":
            return found in values
        case "NotIn":
            return found not in values
        case "DoesNotExist":
            return not found
    return bool(found)


def applies(quota: Object, resource: Resource, obj: Object) -> bool:
    """Whether the quota's scopes are about this object; scopes only ever speak of pods."""
    spec = quota.get("spec") or {}
    scopes = spec.get("scopes") or []
    expressions = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not scopes and not expressions:
        return True
    if resource != PODS:
        return False
    return all(_scope_matches(scope, obj) for scope in scopes) and all(
        _priority_matches(each, obj)
        if each.get("scopeName") == "PriorityClass"
        else _scope_matches(each["scopeName"], obj)
        for each in expressions
    )
