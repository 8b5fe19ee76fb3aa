"""ResourceQuota: what a new object needs is taken from the namespace's quotas, or the object is refused.

The use is written into `status.used` with compare-and-swap before the object is stored, so that any number of API servers
share one count. What went since then is found by counting anew before anything is refused, and when a quota is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import codec, layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.store import Write
from controlplane.objects import quantity, status
from controlplane.objects.kinds import PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, SERVICES, Resource
from controlplane.objects.quotas import COMPUTE, Usage, applies, counts, kinds_of, total, usage_of

NAME: Final = "ResourceQuota"
SETTLE_SECONDS: Final = 0.3
RECOUNT_SECONDS: Final = 1.0


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


_MUST_SAY: Final = frozenset({*COMPUTE, *(f"{kind}.{name}" for kind in ("requests", "limits") for name in COMPUTE)})


async def _quotas(attributes: Attributes) -> list[Entry]:
    cache = await attributes.services.caches.ready(RESOURCE_QUOTAS)
    if not len(cache):
        return []
    prefix = layout.scope_prefix("", RESOURCE_QUOTAS.plural, attributes.namespace).encode()
    return list(cache.entries(prefix))


def _wanted(attributes: Attributes) -> Usage:
    """What the operation takes: all of a new object, what a changed one needs more than before."""
    resource = attributes.resource
    if attributes.operation == "CREATE" and not attributes.subresource:
        return usage_of(resource, attributes.object)
    grows = resource in (SERVICES, PERSISTENT_VOLUME_CLAIMS) and not attributes.subresource
    if attributes.operation != "UPDATE" or not (grows or (resource == PODS and attributes.subresource == "resize")):
        return {}
    if not counts(resource, attributes.object):
        return {}
    before = usage_of(resource, attributes.old)
    after = usage_of(resource, attributes.object)
    nothing = quantity.from_units(0)
    more = {name: amount - before.get(name, nothing) for name, amount in after.items()}
    return {name: amount for name, amount in more.items() if amount.nanos > 0}


async def validate(attributes: Attributes) -> None:
    if attributes.operation not in ("CREATE", "UPDATE") or not attributes.resource.namespaced:
        return
    quotas = await _quotas(attributes)
    usage = _wanted(attributes) if quotas else {}
    if not usage:
        return
    concerned = [
        entry
        for entry in quotas
        if applies(entry.object(), attributes.resource, attributes.object)
        and set(usage) & set((entry.object().get("spec") or {}).get("hard") or ())
    ]
    for entry in concerned:
        await _charge(attributes, entry, usage)


async def _recounted(attributes: Attributes, quota: Object) -> Object:
    """The quota with `status` counted from the objects that the store has now."""
    hard: dict[str, str] = (quota.get("spec") or {}).get("hard") or {}
    objects: dict[Resource, list[Object]] = {}
    for group, plural in kinds_of(hard):
        resource = _resource(attributes, group, plural)
        if resource is not None:
            prefix = layout.scope_prefix(group, plural, attributes.namespace).encode()
            page = await attributes.services.backend.page(prefix, layout.prefix_end(prefix))
            objects[resource] = [codec.decode(row.value) for row in page.rows]
    used = total(quota, objects)
    return {**quota, "status": {**(quota.get("status") or {}), "hard": hard, "used": used}}


def _resource(attributes: Attributes, group: str, plural: str) -> Resource | None:
    scheme = attributes.services.scheme
    versions = [each for each in scheme.groups() if each.name == group]
    info = scheme.find(group, versions[0].versions[0], plural) if versions else None
    return info.resource if info is not None else None


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
