"""Namespace: delete the content of a namespace that is going, pods first, then let it go.

Nothing is cached about the content: discovery says which resources there are, the API which objects (metadata only).
What is left is told in the namespace's conditions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.controllers._discovery import discover
from controlplane.machinery.actions import Plan, Update
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.machinery.controller import Caches, Kind, Related, Watch
from controlplane.objects.kinds import NAMESPACES, PODS, Resource
from controlplane.objects.meta import (
    conditions_of,
    finalizers_of,
    get_in,
    is_deleting,
    name_of,
    namespace_of,
    with_condition,
)

Object = dict[str, Any]
Verbs = frozenset[str]

FINALIZER = "kubernetes"
PARALLEL = 8  # resources looked at side by side
LOOK_AGAIN_SECONDS = 1.0  # first wait for what is still going; twice as long each time
LOOK_AGAIN_LIMIT_SECONDS = 15.0

REASONS = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


@dataclass(frozen=True, slots=True)
class Observed:
    """The namespace and, once it was asked for, what is left in it: per resource how many, and per finalizer how many."""

    namespace: Object
    remaining: tuple[tuple[str, int], ...] = ()
    finalizers: tuple[tuple[str, int], ...] = ()
    discovery_error: str = ""
    content_errors: tuple[str, ...] = ()


def _emptied(pod: Object, caches: Caches) -> Iterable[str]:
    """The last pod of a namespace that is going has gone."""
    name = namespace_of(pod)
    namespace = caches[NAMESPACES].get(name)
    return (name,) if namespace and is_deleting(namespace) and not caches[PODS].in_namespace(name) else ()


class NamespaceController:
    """Keys are namespaces; those that live are of no interest."""

    NAME = "namespace-controller"
    WATCHES: tuple[Watch, ...] = (
        Kind(NAMESPACES, changed=lambda old, new: is_deleting(new)),
        Related(PODS, _emptied, changed=lambda old, new: False),
    )

    def __init__(self) -> None:
        self._looks: dict[str, int] = {}  # uid -> how often content was still there

    def observe(self, key: str, caches: Caches) -> Observed | None:
        """A namespace that is going and that still has our finalizer, or None."""
        namespace = caches[NAMESPACES].get(key)
        if namespace is None or not is_deleting(namespace):
            return None
        return Observed(namespace) if FINALIZER in get_in(namespace, "spec", "finalizers", default=[]) else None

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed:
        """Delete what can be deleted now, and count what is left."""
        # Pods go first: what they use (secrets, volumes) must not vanish under them.
        observed = await _delete(observed, client, {PODS: frozenset({"list", "delete", "deletecollection"})})
        if not observed.remaining:
            discovered = await discover(client)
            rest = {found: verbs for found, verbs in discovered.verbs.items() if found.namespaced and found != PODS}
            observed = await _delete(replace(observed, discovery_error=discovered.error), client, rest)
        uid = observed.namespace["metadata"]["uid"]
        self._looks[uid] = self._looks.get(uid, 0) + 1
        return observed

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """Report what is left, or take our finalizer away."""
        namespace = observed.namespace
        conditions = _conditions(observed, now)
        if observed.remaining or observed.content_errors or observed.discovery_error:
            looks = self._looks.get(namespace["metadata"]["uid"], 1)
            again = min(LOOK_AGAIN_LIMIT_SECONDS, LOOK_AGAIN_SECONDS * 2 ** min(looks - 1, 5))
            return Plan(status=_status(namespace, conditions), again_after=again)
        self._looks.pop(namespace["metadata"]["uid"], None)
        left = [name for name in namespace["spec"]["finalizers"] if name != FINALIZER]
        finalized = {**namespace, "spec": {**namespace["spec"], "finalizers": left}}
        return Plan((Update(NAMESPACES, finalized, "finalize"),))


async def _delete(observed: Observed, client: ApiClient, resources: Mapping[Resource, Verbs]) -> Observed:
    """Delete all objects of these resources and add what stays to the counts."""
    namespace = name_of(observed.namespace)
    slots = asyncio.Semaphore(PARALLEL)

    async def one(resource: Resource) -> tuple[Resource, list[Object], str]:
        async with slots:
            try:
                return resource, await _empty(client, resource, namespace, resources[resource]), ""
            except ApiError as error:
                # 404: the resource has gone meanwhile. 405: it cannot be listed or deleted.
                return resource, [], "" if error.code in (404, 405) else str(error)

    remaining, finalizers = dict(observed.remaining), dict(observed.finalizers)
    errors = list(observed.content_errors)
    for resource, left, error in await asyncio.gather(*(one(resource) for resource in resources)):
        if error:
            errors.append(error)
        if left:
            remaining[resource.group_resource] = len(left)
        for obj in left:
            for finalizer in finalizers_of(obj):
                finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
    return replace(
        observed,
        remaining=tuple(sorted(remaining.items())),
        finalizers=tuple(sorted(finalizers.items())),
        content_errors=tuple(errors),
    )


async def _empty(client: ApiClient, resource: Resource, namespace: str, verbs: Verbs) -> list[Object]:
    """Delete the objects of one resource; those that still exist afterwards."""
    if "list" not in verbs:
        return []
    found = (await client.list(resource, namespace, metadata_only=True)).get("items") or []
    if not found:
        return []
    if not all(is_deleting(obj) for obj in found):
        if "deletecollection" in verbs:
            await client.delete_collection(resource, namespace, propagation="Background")
        elif "delete" in verbs:
            for obj in found:
                await client.delete(resource, name_of(obj), namespace, propagation="Background")
        found = (await client.list(resource, namespace, metadata_only=True)).get("items") or []
    return found


def _conditions(observed: Observed, now: datetime) -> list[Object]:
    problems: dict[str, tuple[str, str]] = {}
    if observed.discovery_error:
        text = f"Discovery failed for some groups, {observed.discovery_error}"
        problems["NamespaceDeletionDiscoveryFailure"] = ("DiscoveryFailed", text)
    if observed.content_errors:
        text = f"Failed to delete all resource types, {len(observed.content_errors)} remaining: "
        text += ", ".join(sorted(observed.content_errors))
        problems["NamespaceDeletionContentFailure"] = ("ContentDeletionFailed", text)
    if observed.remaining:
        parts = [f"{resource}. has {count} resource instances" for resource, count in observed.remaining]
        text = f"Some resources are remaining: {', '.join(parts)}"
        problems["NamespaceContentRemaining"] = ("SomeResourcesRemain", text)
    if observed.finalizers:
        parts = [f"{finalizer} in {count} resource instances" for finalizer, count in observed.finalizers]
        text = f"Some content in the namespace has finalizers remaining: {', '.join(parts)}"
        problems["NamespaceFinalizersRemaining"] = ("SomeFinalizersRemain", text)
    conditions = conditions_of(observed.namespace)
    for kind, healthy in REASONS.items():
        reason, message = problems.get(kind, healthy)
        status = "True" if kind in problems else "False"
        condition = {"type": kind, "status": status, "reason": reason, "message": message}
        conditions = with_condition(conditions, condition, now)
    return conditions


def _status(namespace: Object, conditions: list[Object]) -> Update | None:
    status = {**(namespace.get("status") or {}), "conditions": conditions}
    return None if status == namespace.get("status") else Update(NAMESPACES, {**namespace, "status": status}, "status")
