"""Mode Node: a node reads what its own pods need, writes what is its own, and nothing else.

A node is a user `system:node:NAME` in the group `system:nodes`. Secrets, configmaps, claims, volumes and tokens are decided by
a graph of the pods that are bound to it; leases, CSINodes, slices, nodes and pods by their names; all else by the rules of the
ClusterRole `system:node`, whether or not somebody changed that role. What a node may write into its own Node and pods is
the business of admission (`NodeRestriction`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from controlplane.apiserver.authn.user import User, node_name_of
from controlplane.apiserver.authz import bootstrap
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.authz.decision import NO_OPINION, Decision, Verdict
from controlplane.apiserver.authz.graph import Graph
from controlplane.apiserver.authz.rules import Rule
from controlplane.apiserver.storage.cache import Event, WatchCache
from controlplane.apiserver.storage.caches import Caches
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import ObjectStore
from controlplane.objects.kinds import PERSISTENT_VOLUMES, PODS, VOLUME_ATTACHMENTS, Resource

LEASE_NAMESPACE: Final = "kube-node-lease"
CATCH_UP_SECONDS: Final = 0.5
CATCH_UP_STEP_SECONDS: Final = 0.01

_FOLLOWED: Final = (PODS, PERSISTENT_VOLUMES, VOLUME_ATTACHMENTS)
_READ: Final = frozenset({"get", "list", "watch"})
_OWN: Final = frozenset({"get", "create", "update", "patch", "delete"})
_ALLOW: Final = Decision(Verdict.ALLOW)
_STORAGE: Final = "storage.k8s.io"
_RESOURCE: Final = "resource.k8s.io"


def _no(reason: str) -> Decision:
    return Decision(Verdict.NO_OPINION, reason)


def node_rules() -> tuple[Rule, ...]:
    """The rules that every node has: those of the bootstrap role."""
    role = next(obj for _, obj in bootstrap.policy() if obj["metadata"]["name"] == "system:node")
    return tuple(Rule.of(each) for each in role["rules"])


class NodeMode:
    """Decides for nodes; has no opinion of anybody else."""

    def __init__(self, caches: Caches, store: ObjectStore) -> None:
        self._caches = caches
        self._store = store
        self._graph = Graph()
        self._following: dict[Resource, WatchCache] = {}
        self._rules = node_rules()
        self._handlers: dict[tuple[str, str], Callable[[str, Attributes], Decision | None]] = {
            ("", "secrets"): _readable,
            ("", "configmaps"): _readable,
            ("", "persistentvolumeclaims"): _claim,
            ("", "persistentvolumes"): _only_get,
            (_RESOURCE, "resourceclaims"): _only_get,
            (_STORAGE, "volumeattachments"): _only_get,
            ("", "serviceaccounts"): _token,
            ("coordination.k8s.io", "leases"): _lease,
            (_STORAGE, "csinodes"): _csi_node,
            (_RESOURCE, "resourceslices"): _slice,
            ("", "nodes"): _node,
            ("", "pods"): _pod,
        }

    async def decide(self, user: User, asked: Attributes) -> Decision:
        """Whether the node may."""
        node = node_name_of(user)
        if node is None:
            return NO_OPINION
        if not node:
            return _no(f'unknown node for user "{user.name}"')
        handler = self._handlers.get((asked.group, asked.resource)) if not asked.path else None
        if handler is not None:
            found = handler(node, asked)
            return found if found is not None else await self._by_graph(node, asked)
        return _ALLOW if any(rule.allows(asked) for rule in self._rules) else NO_OPINION

    async def _by_graph(self, node: str, asked: Attributes) -> Decision:
        if not asked.name:
            return _no("No Object name found")
        vertex = (asked.resource, asked.namespace, asked.name)
        await self._ready()
        if self._graph.reaches(node, vertex):
            return _ALLOW
        await self._catch_up()
        if self._graph.reaches(node, vertex):
            return _ALLOW
        return _no(f"no relationship found between node '{node}' and this object")

    # The graph

    async def _ready(self) -> None:
        if len(self._following) == len(_FOLLOWED):
            return
        for resource in _FOLLOWED:
            self._caches.open(resource)
        for resource in _FOLLOWED:
            cache = await self._caches.ready(resource)
            if resource not in self._following:
                self._following[resource] = cache
                cache.listen(lambda event, resource=resource: self._on_event(resource, event))  # type: ignore[misc]
                self._reload(resource)

    def _reload(self, resource: Resource) -> None:
        for entry in self._following[resource].entries():
            self._set(resource, entry.object(), gone=False)

    def _on_event(self, resource: Resource, event: Event | None) -> None:
        if event is None:
            self._graph = Graph()
            for each in self._following:
                self._reload(each)
        else:
            self._set(resource, event.entry.object(), gone=event.deleted)

    def _set(self, resource: Resource, obj: Object, *, gone: bool) -> None:
        if resource == PODS:
            self._graph.set_pod(obj, gone=gone)
        elif resource == PERSISTENT_VOLUMES:
            self._graph.set_volume(obj, gone=gone)
        else:
            self._graph.set_attachment(obj, gone=gone)

    async def _catch_up(self) -> None:
        """Before a refusal: see what the store has now. A node may have heard of its pod from another server, earlier."""
        newest = await self._store.revision()
        loop = asyncio.get_running_loop()
        until = loop.time() + CATCH_UP_SECONDS
        while self._following[PODS].revision < newest and loop.time() < until:
            await self._following[PODS].ask_progress()
            await asyncio.sleep(CATCH_UP_STEP_SECONDS)


# One resource each: a decision, or None when the graph decides.


def _readable(node: str, asked: Attributes) -> Decision | None:
    if asked.verb not in _READ:
        return _no("can only read resources of this type")
    if asked.subresource:
        return _no("cannot read subresource")
    return None if asked.namespace else _no("can only read namespaced object of this type")


def _only_get(node: str, asked: Attributes) -> Decision | None:
    if asked.verb != "get":
        return _no("can only get individual resources of this type")
    return _no("cannot get subresource") if asked.subresource else None


def _claim(node: str, asked: Attributes) -> Decision | None:
    if asked.subresource != "status":
        return _only_get(node, asked)
    return None if asked.verb in ("get", "update", "patch") else _no("can only get/update/patch this type")


def _token(node: str, asked: Attributes) -> Decision | None:
    if asked.subresource == "token" and asked.verb == "create":
        return None
    if not asked.subresource and asked.verb == "get":
        return None
    return _no("can only get individual service accounts and create their tokens")


def _named(node: str, asked: Attributes, what: str) -> Decision:
    if asked.verb not in _OWN:
        return _no(f"can only get, create, update, patch, or delete a {what}")
    # At a creation the name stands in the body: admission looks at it.
    if asked.verb != "create" and asked.name != node:
        return _no(f"can only access {what} with the same name as the requesting node")
    return _ALLOW


def _lease(node: str, asked: Attributes) -> Decision | None:
    if asked.namespace != LEASE_NAMESPACE:
        return _no(f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    return _named(node, asked, "node lease")


def _csi_node(node: str, asked: Attributes) -> Decision | None:
    return _no("cannot authorize CSINode subresources") if asked.subresource else _named(node, asked, "CSINode")


def _slice(node: str, asked: Attributes) -> Decision | None:
    if asked.subresource:
        return _no("cannot authorize ResourceSlice subresources")
    if asked.verb in _OWN:
        return _ALLOW  # admission compares spec.nodeName
    if asked.verb in ("list", "watch", "deletecollection") and asked.field("spec.nodeName") == node:
        return _ALLOW
    return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")


def _node(node: str, asked: Attributes) -> Decision | None:
    if asked.subresource == "status":
        return _ALLOW if asked.verb in ("get", "update", "patch") else NO_OPINION
    if asked.subresource:
        return NO_OPINION
    if asked.verb in ("create", "update", "patch"):
        return _ALLOW  # admission compares the name
    if asked.verb not in _READ:
        return NO_OPINION
    if asked.name == node:
        return _ALLOW
    what = f"'{asked.name}'" if asked.name else "all nodes"
    return _no(f"node '{node}' cannot read {what}, only its own Node object")


def _pod(node: str, asked: Attributes) -> Decision | None:
    if asked.subresource:
        may = {"status": ("get", "update", "patch"), "eviction": ("create",)}.get(asked.subresource, ())
        return _ALLOW if asked.verb in may else NO_OPINION
    if asked.verb in ("create", "delete"):
        return _ALLOW  # admission compares spec.nodeName
    if asked.verb == "get":
        return None
    if asked.verb in ("list", "watch"):
        if asked.field("spec.nodeName") == node:
            return _ALLOW
        return None if asked.name else _no("can only list/watch pods with spec.nodeName field selector")
    return NO_OPINION
