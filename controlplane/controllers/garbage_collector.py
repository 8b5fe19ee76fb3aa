"""Garbage collector: what is owned goes when all its owners are gone; foreground and orphan deletion.

Every resource that can be listed, watched and deleted is followed (metadata only where nobody else follows it whole). Keys
are uids. Before anything is deleted for want of an owner, the API itself is asked for that owner, because a cache of
another resource may lag behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from controlplane.controllers._discovery import discover
from controlplane.controllers._graph import Graph, Node
from controlplane.machinery.actions import Action, Delete, Note, Patch, Plan
from controlplane.machinery.cache import Change
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.machinery.controller import Caches, Watch
from controlplane.machinery.informer import Informer, InformerFactory
from controlplane.machinery.workqueue import WorkQueue
from controlplane.objects.kinds import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, Resource
from controlplane.objects.meta import (
    FOREGROUND_FINALIZER,
    ORPHAN_FINALIZER,
    finalizers_of,
    has_finalizer,
    is_deleting,
    name_of,
    namespace_of,
    owners_of,
    resource_version_of,
    uid_of,
)

log = logging.getLogger("controlplane.controllers")

Object = dict[str, Any]

START_DELAY_SECONDS = 1.0  # those that users wait for fill their caches first
RESYNC = "discovery"  # the key that means: look what resources are served
RESYNC_DELAY_SECONDS = 2.0  # a new definition needs a moment until it is served
ABSENT_LIMIT = 500  # uids remembered as gone
UNKNOWN_KIND_SECONDS = 30.0
IGNORED = {("", "events"), ("events.k8s.io", "events")}


@dataclass(frozen=True, slots=True)
class Observed:
    """One object, what it owns, and its owners as found: `solid` exist, `waiting` go after it, `dangling` are gone."""

    node: Node
    dependents: Sequence[Node]
    solid: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    dangling: tuple[str, ...] = ()
    doubtful: tuple[Object, ...] = field(default=())  # references to owners that only the API can tell about
    unknown: tuple[str, ...] = ()  # of kinds that are not served


class GarbageCollector:
    """A reconciler that follows everything."""

    NAME = "garbage-collector-controller"
    WATCHES: tuple[Watch, ...] = ()

    def __init__(self) -> None:
        self.graph = Graph()
        self._queue: WorkQueue[str] | None = None
        self._factory: InformerFactory | None = None
        self._client: ApiClient | None = None
        self._followed: dict[Resource, Informer] = {}
        self._own: set[Resource] = set()  # informers that exist for us alone
        self._kinds: dict[tuple[str, str], Resource] = {}  # (apiVersion, kind)
        self._absent: OrderedDict[str, None] = OrderedDict()

    async def setup(self, queue: WorkQueue[str], factory: InformerFactory, client: ApiClient) -> None:
        """Follow all that is served now; what comes later is noticed by the definitions of custom resources."""
        self._queue, self._factory, self._client = queue, factory, client
        await asyncio.sleep(START_DELAY_SECONDS)
        await self._resync()

    # --- following
    async def _resync(self) -> None:
        assert self._factory is not None and self._client is not None and self._queue is not None
        discovered = await discover(self._client)
        wanted = {
            resource
            for resource, verbs in discovered.verbs.items()
            if verbs >= {"list", "watch", "delete"} and (resource.group, resource.plural) not in IGNORED
        }
        self._kinds = {(resource.group_version, resource.kind): resource for resource in discovered.verbs}
        for resource in sorted(wanted - self._followed.keys(), key=lambda found: (found.group, found.plural)):
            if self._factory.find(resource) is None:
                self._own.add(resource)
            informer = self._followed[resource] = self._factory.informer(resource, metadata_only=True)
            informer.add_handler(self._handler(resource))
        if not discovered.error:
            for resource in sorted(self._followed.keys() - wanted, key=lambda found: found.group_resource):
                self._forget(resource)
        self._factory.start()
        if discovered.error:
            log.warning("garbage collector: discovery is incomplete: %s", discovered.error)
            self._queue.add_after(RESYNC, UNKNOWN_KIND_SECONDS)

    def _forget(self, resource: Resource) -> None:
        assert self._factory is not None
        informer = self._followed.pop(resource)
        if resource in self._own:
            self._own.discard(resource)
            self._factory.stop(informer)
        for obj in informer.cache:
            for _ in self.graph.removed(obj):
                pass  # a kind that is no longer served says nothing about owners

    def _handler(self, resource: Resource) -> Any:
        queue = self._queue
        assert queue is not None
        defines = resource in (CUSTOM_RESOURCE_DEFINITIONS, API_SERVICES)

        def handle(change: Change) -> None:
            if change.type == "DELETED":
                uids = self.graph.removed(change.new)
                self._remember_absent(uid_of(change.new))
            else:
                uids = self.graph.changed(resource, change.new)
            for uid in list(uids):
                queue.add(uid)
            if defines:
                queue.add_after(RESYNC, RESYNC_DELAY_SECONDS)

        return handle

    def _remember_absent(self, uid: str) -> None:
        self._absent[uid] = None
        while len(self._absent) > ABSENT_LIMIT:
            self._absent.popitem(last=False)

    def _is_synced(self) -> bool:
        return all(informer.has_synced for informer in self._followed.values())

    # --- the reconciler
    def observe(self, key: str, caches: Caches) -> Observed | None:
        """What the graph knows about one uid, or None when it is gone."""
        if key == RESYNC:
            return Observed(Node(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {}}), ())
        node = self.graph.get(key)
        return classify(node, self.graph, self._absent) if node is not None else None

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed | None:
        """Ask the API for the owners that no cache shows."""
        if not uid_of(observed.node.obj):
            await self._resync()
            return None
        if not observed.doubtful:
            return observed
        solid, dangling, unknown = list(observed.solid), list(observed.dangling), list(observed.unknown)
        waiting = list(observed.waiting)
        for reference in observed.doubtful:
            found = await self._ask(observed.node, reference, client)
            if found is None:
                unknown.append(reference["uid"])
            elif not found:
                dangling.append(reference["uid"])
                self._remember_absent(reference["uid"])
            elif Node(observed.node.resource, found).awaits_dependents:
                waiting.append(reference["uid"])
            else:
                solid.append(reference["uid"])
        return replace(
            observed,
            solid=tuple(solid),
            waiting=tuple(waiting),
            dangling=tuple(dangling),
            unknown=tuple(unknown),
            doubtful=(),
        )

    async def _ask(self, node: Node, reference: Object, client: ApiClient) -> Object | None:
        """The owner; {} when it does not exist; None when its kind is not served."""
        resource = self._kinds.get((reference["apiVersion"], reference["kind"]))
        if resource is None:
            return None
        namespace = namespace_of(node.obj)
        if resource.namespaced and not namespace:
            return None  # an object of the cluster cannot be owned by one of a namespace: nothing can be said
        try:
            found = await client.get(resource, reference["name"], namespace if resource.namespaced else None)
        except ApiError as error:
            if error.code != 404:
                raise
            return {}
        return found if uid_of(found) == reference["uid"] else {}

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """See the module's functions. Who waits for dependents waits until all caches are full: some might be unseen."""
        if (observed.node.frees_dependents or observed.node.awaits_dependents) and not self._is_synced():
            return Plan(again_after=0.5)
        return plan(observed)


def classify(node: Node, graph: Graph, absent: Mapping[str, Any]) -> Observed:
    """The owners of an object as the graph knows them."""
    solid: list[str] = []
    waiting: list[str] = []
    dangling: list[str] = []
    doubtful: list[Object] = []
    for reference in owners_of(node.obj):
        owner = graph.get(reference["uid"])
        if owner is not None and namespace_of(owner.obj) in ("", namespace_of(node.obj)):
            (waiting if owner.awaits_dependents else solid).append(reference["uid"])
        elif owner is not None or reference["uid"] in absent:
            dangling.append(reference["uid"])  # an owner in another namespace is no owner
        else:
            doubtful.append(reference)
    dependents = graph.dependents(uid_of(node.obj))
    return Observed(node, dependents, tuple(solid), tuple(waiting), tuple(dangling), tuple(doubtful))


def plan(observed: Observed) -> Plan:
    """What to do about one object whose owners are all known."""
    node = observed.node
    if node.frees_dependents:
        return _free(observed)
    if node.awaits_dependents:
        return _finish_foreground(observed)
    if is_deleting(node.obj) or not owners_of(node.obj):
        return Plan()
    if observed.unknown:
        return Plan(again_after=UNKNOWN_KIND_SECONDS)
    gone = {*observed.dangling, *observed.waiting}
    if observed.solid:
        if not gone:
            return Plan()
        # Somebody still owns it: the others only lose it.
        return Plan((_owners_patch(node, gone),))
    if observed.waiting and observed.dependents and _blocks(node, observed.waiting):
        return Plan((_delete(node, "Foreground"),))
    return Plan((_delete(node, _propagation(node)),))


def _free(observed: Observed) -> Plan:
    """Take the owner out of what it owns; when the caches show that, let the owner go."""
    uid = uid_of(observed.node.obj)
    owned: tuple[Action, ...] = tuple(_owners_patch(dependent, {uid}) for dependent in observed.dependents)
    return Plan(owned) if owned else Plan((_finalizers_patch(observed.node, ORPHAN_FINALIZER),))


def _finish_foreground(observed: Observed) -> Plan:
    """Let the owner go when nothing that blocks it is left; the dependents are worked on as keys of their own."""
    uid = uid_of(observed.node.obj)
    # The first that blocks is enough: every change of a dependent asks again, and an owner may have thousands.
    if any(_blocks(dependent, (uid,)) for dependent in observed.dependents):
        return Plan()
    return Plan((_finalizers_patch(observed.node, FOREGROUND_FINALIZER),))


def _blocks(dependent: Node, owners: Sequence[str]) -> bool:
    return any(
        reference.get("blockOwnerDeletion") for reference in owners_of(dependent.obj) if reference["uid"] in owners
    )


def _propagation(node: Node) -> str:
    """As the object's own finalizers ask for; they were set by somebody who deleted it before."""
    if has_finalizer(node.obj, ORPHAN_FINALIZER):
        return "Orphan"
    return "Foreground" if has_finalizer(node.obj, FOREGROUND_FINALIZER) else "Background"


def _delete(node: Node, propagation: str) -> Delete:
    note = Note(node.obj, "Warning", "FailedGarbageCollection", "Error deleting: {error}")
    return Delete(node.resource, node.obj, propagation=propagation, at_version=True, on_failure=note)


def _owners_patch(node: Node, gone: set[str]) -> Patch:
    left = [reference for reference in owners_of(node.obj) if reference["uid"] not in gone]
    return _metadata_patch(node, {"ownerReferences": left or None})


def _finalizers_patch(node: Node, finalizer: str) -> Patch:
    left = [name for name in finalizers_of(node.obj) if name != finalizer]
    return _metadata_patch(node, {"finalizers": left or None})


def _metadata_patch(node: Node, changes: Object) -> Patch:
    preconditions = {"uid": uid_of(node.obj), "resourceVersion": resource_version_of(node.obj)}
    patch = {"metadata": {**preconditions, **changes}}
    return Patch(node.resource, name_of(node.obj), namespace_of(node.obj), patch, missing_ok=True)
