"""ResourceQuota: `status.used` is what the namespace has, also after objects went.

Admission adds to the count before it lets an object in; this counts anew when pods, services or claims go, when a quota
changes, and every RESYNC_SECONDS for what is not watched. The count is written only over the revision it was begun on:
what admission added since then makes it begin again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.controllers._discovery import discover
from controlplane.machinery.actions import Plan, Update
from controlplane.machinery.client import ApiClient
from controlplane.machinery.controller import Caches, Kind, Related, Watch
from controlplane.objects import quotas
from controlplane.objects.kinds import (
    BUILT_IN,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    Resource,
)
from controlplane.objects.meta import get_in, key_of, namespace_of

Object = dict[str, Any]

SETTLE_SECONDS = 0.3  # what admission has counted already has time to be stored before it is looked for
RESYNC_SECONDS = 30.0
PAGE = 500  # objects a request
_KNOWN = {(each.group, each.plural): each for each in BUILT_IN}


@dataclass(frozen=True, slots=True)
class Observed:
    """A quota, and what it uses once that was counted."""

    quota: Object
    used: dict[str, str] | None = None


def _of_namespace(obj: Object, caches: Caches) -> Iterable[str]:
    return [key_of(each) for each in caches[RESOURCE_QUOTAS].in_namespace(namespace_of(obj))]


def _ends(old: Object, new: Object) -> bool:
    return quotas.counts(PODS, old) and not quotas.counts(PODS, new)


def _resized(old: Object, new: Object) -> bool:
    return bool(old.get("spec") != new.get("spec"))


class ResourceQuotas:
    """Keys are quotas."""

    NAME = "resourcequota-controller"
    WATCHES: tuple[Watch, ...] = (
        Kind(RESOURCE_QUOTAS, changed=_resized),
        Related(PODS, _of_namespace, changed=_ends),
        Related(SERVICES, _of_namespace, changed=_resized),
        Related(PERSISTENT_VOLUME_CLAIMS, _of_namespace, changed=_resized),
    )

    def observe(self, key: str, caches: Caches) -> Observed | None:
        """The quota, or None when it is gone."""
        quota = caches[RESOURCE_QUOTAS].get(key)
        return Observed(quota) if quota else None

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed:
        """Count what the quota bounds."""
        await asyncio.sleep(SETTLE_SECONDS)
        quota = observed.quota
        found: dict[Resource, list[Object]] = {}
        for group, plural in quotas.kinds_of(get_in(quota, "spec", "hard", default={})):
            resource = _KNOWN.get((group, plural)) or await _discovered(client, group, plural)
            if resource is not None:
                found[resource] = await _listed(client, resource, namespace_of(quota))
        return replace(observed, used=quotas.total(quota, found))

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """Write the count where it differs, and look again later."""
        quota, hard = observed.quota, get_in(observed.quota, "spec", "hard", default={})
        status = {**(quota.get("status") or {}), "hard": hard, "used": observed.used}
        if status == quota.get("status"):
            return Plan(again_after=RESYNC_SECONDS)
        return Plan(status=Update(RESOURCE_QUOTAS, {**quota, "status": status}, "status"), again_after=RESYNC_SECONDS)


async def _discovered(client: ApiClient, group: str, plural: str) -> Resource | None:
    for resource in (await discover(client)).verbs:
        if (resource.group, resource.plural) == (group, plural):
            return resource
    return None


async def _listed(client: ApiClient, resource: Resource, namespace: str) -> list[Object]:
    """All objects of a namespace; whole ones only where their content counts."""
    whole = resource in (PODS, SERVICES, PERSISTENT_VOLUME_CLAIMS)
    found: list[Object] = []
    token = ""
    while True:
        page = await client.list(resource, namespace, limit=PAGE, continue_token=token, metadata_only=not whole)
        found += page.get("items") or []
        token = get_in(page, "metadata", "continue", default="")
        if not token:
            return found
