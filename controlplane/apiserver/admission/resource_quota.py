"""ResourceQuota: what a new object needs is taken from the namespace's quotas, or the object is refused.

The use is written into `status.used` with compare-and-swap before the object is stored, so that any number of API servers
share one count. What went since then is found by counting anew before anything is refused, and when a quota is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import codec, layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.store import Write
from controlplane.objects import quantity, status
from controlplane.objects.kinds import (
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICES,
    Resource,
)
from controlplane.objects.quantity import Quantity

NAME: Final = "ResourceQuota"
SETTLE_SECONDS: Final = 0.3
RECOUNT_SECONDS: Final = 1.0
_ONE: Final = quantity.from_units(1)
_COUNTED: Final = frozenset(
    {"pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas"}
)
_COMPUTE: Final = ("cpu", "memory", "ephemeral-storage")

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
            if kind == "requests" and name in _COMPUTE:
                usage[name] = total
    return usage


def usage_of(resource: Resource, obj: Object) -> Usage:
    """What one object counts for, by the names that quotas use."""
    if resource == PODS:
        return _pod_usage(obj)
    usage: Usage = {f"count/{resource.group_resource}": _ONE}
    if not resource.group and resource.plural in _COUNTED:
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


def _shown(values: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={values[name]}" for name in sorted(values))


def exceeded(quota: Object, usage: Usage) -> str:
    """Why the quota refuses, in Kubernetes' words; empty when it does not."""
    name = quota["metadata"]["name"]
    hard: dict[str, str] = (quota.get("spec") or {}).get("hard") or {}
    used: dict[str, str] = (quota.get("status") or {}).get("used") or {}
    missing = [each for each in sorted(hard) if each in _MUST_SAY and each not in usage and "pods" in usage]
    if missing:
        return f"failed quota: {name}: must specify {','.join(missing)}"
    over = {}
    for each, amount in usage.items():
        if each in hard and amount.nanos:
            total = quantity.parse(used.get(each, "0")) + amount
            if total.nanos > quantity.parse(hard[each]).nanos:
                over[each] = amount
    if not over:
        return ""
    return (
        f"exceeded quota: {name}, requested: {_shown(over)}, "
        f"used: {_shown({each: used.get(each, '0') for each in over})}, "
        f"limited: {_shown({each: hard[each] for each in over})}"
    )


_MUST_SAY: Final = frozenset({*_COMPUTE, *(f"{kind}.{name}" for kind in ("requests", "limits") for name in _COMPUTE)})


async def _quotas(attributes: Attributes) -> list[Entry]:
    cache = await attributes.services.caches.ready(RESOURCE_QUOTAS)
    if not len(cache):
        return []
    prefix = layout.scope_prefix("", RESOURCE_QUOTAS.plural, attributes.namespace).encode()
    return list(cache.entries(prefix))


async def validate(attributes: Attributes) -> None:
    if attributes.operation != "CREATE" or attributes.subresource or not attributes.resource.namespaced:
        return
    quotas = await _quotas(attributes)
    if not quotas:
        return
    usage = usage_of(attributes.resource, attributes.object)
    concerned = [
        entry
        for entry in quotas
        if applies(entry.object(), attributes.resource, attributes.object)
        and set(usage) & set((entry.object().get("spec") or {}).get("hard") or ())
    ]
    for entry in concerned:
        await _charge(attributes, entry, usage)


_COUNTED_KINDS: Final = (
    PODS,
    SERVICES,
    SECRETS,
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
)


def _kinds_of(attributes: Attributes, hard: Mapping[str, str]) -> Iterator[Resource]:
    """The kinds whose objects the quota counts."""
    for name in hard:
        if name.startswith("count/"):
            plural, _, group = name.removeprefix("count/").partition(".")
            versions = [each for each in attributes.services.scheme.groups() if each.name == group]
            info = attributes.services.scheme.find(group, versions[0].versions[0], plural) if versions else None
            if info is not None:
                yield info.resource
        else:
            plural = name.partition(".")[0]
            known = next((each for each in _COUNTED_KINDS if each.plural == plural), None)
            if known is not None:
                yield known
            elif plural in ("requests", "limits", *_COMPUTE):
                yield PERSISTENT_VOLUME_CLAIMS if name.endswith("storage") and name != "ephemeral-storage" else PODS


async def _recounted(attributes: Attributes, quota: Object) -> Object:
    """The quota with `status` counted from the objects that the store has now; finished pods count for nothing."""
    hard: dict[str, str] = (quota.get("spec") or {}).get("hard") or {}
    total: Usage = {name: quantity.from_units(0) for name in hard}
    for resource in dict.fromkeys(_kinds_of(attributes, hard)):
        prefix = layout.scope_prefix(resource.group, resource.plural, attributes.namespace).encode()
        page = await attributes.services.backend.page(prefix, layout.prefix_end(prefix))
        for row in page.rows:
            obj: Object = codec.decode(row.value)
            finished = resource == PODS and (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            if finished or not applies(quota, resource, obj):
                continue
            for name, amount in usage_of(resource, obj).items():
                if name in total:
                    total[name] = total[name] + amount
    used = {name: str(amount) for name, amount in total.items()}
    return {**quota, "status": {**(quota.get("status") or {}), "hard": hard, "used": used}}


def _may_recount(attributes: Attributes, key: str) -> bool:
    """Whether a quota that refuses is due to be counted anew: a namespace at its limit must not count at each request."""
    recounts, now = attributes.services.quota_recounts, asyncio.get_running_loop().time()
    if now - recounts.get(key, -RECOUNT_SECONDS) < RECOUNT_SECONDS:
        return False
    recounts[key] = now
    return True


async def _charge(attributes: Attributes, entry: Entry, usage: Usage) -> None:
    name, key = attributes.object["metadata"].get("name", ""), entry.key.decode()

    async def decide(quota: Object) -> Write:
        if (quota.get("status") or {}).get("hard") != (quota.get("spec") or {}).get("hard"):
            quota = await _recounted(attributes, quota)
        elif exceeded(quota, usage) and _may_recount(attributes, key):
            # What others charged to this very revision of the quota has time to be stored before it is counted.
            await asyncio.sleep(SETTLE_SECONDS)
            quota = await _recounted(attributes, quota)
        why = exceeded(quota, usage)
        if why:
            raise status.forbidden(attributes.resource, name, why)
        hard: dict[str, str] = (quota.get("spec") or {}).get("hard") or {}
        found: dict[str, Any] = dict(quota.get("status") or {})
        used = dict(found.get("used") or {})
        for each, amount in usage.items():
            if each in hard:
                used[each] = str(quantity.parse(used.get(each, "0")) + amount)
        found |= {"hard": hard, "used": used}
        return Write(quota if attributes.dry_run else {**quota, "status": found})

    missing = status.not_found(RESOURCE_QUOTAS, entry.key.rsplit(b"/", 1)[1].decode())
    await attributes.services.store.change(key, decide, lambda: missing)
