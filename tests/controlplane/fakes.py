"""Twins for tests: an API server that is a dict, a client of it, and an event loop whose time is virtual.

    api = FakeApi()
    client = api.client()                 same verbs as controlplane.machinery.client.ApiClient
    run_virtual(coroutine)                runs it on a loop where sleeping costs nothing

FakeApi keeps what controllers rely on: revisions, uid, generation, status as a subresource, preconditions, finalizers, graceful
deletion of bound pods, selectors, watches with a history. No defaulting, no validation, no RBAC, no garbage collection.
"""

from __future__ import annotations

import asyncio
import copy
import selectors as selectors_module
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

from controlplane.machinery.client import ApiClient, ConnectionLost, Response, WatchEvent
from controlplane.machinery.clock import FakeClock
from controlplane.objects import status as statuses
from controlplane.objects.kinds import PODS, Resource
from controlplane.objects.meta import finalizers_of, format_time, get_in
from controlplane.objects.patch import json_patch, merge_patch
from controlplane.objects.selectors import parse_fields, parse_labels

Object = dict[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class _Event:
    revision: int
    type: str
    resource: Resource
    old: Object | None
    new: Object


class FakeApi:
    """The server. `objects[resource][(namespace, name)]`; `log` is every request as (verb, resource, name)."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.revision = 100
        self.objects: dict[Resource, dict[tuple[str, str], Object]] = {}
        self.history: list[_Event] = []
        self.compacted = 0
        self.log: list[tuple[str, str, str]] = []
        self.raw_answers: dict[str, Response] = {}
        self.down = False
        self._faults: list[tuple[str, Resource | None, Exception]] = []
        self._news = asyncio.Event()
        self._watch_epoch = 0
        self._uids = 0

    def client(self) -> ApiClient:
        """A client; any number of them may share the server."""
        return cast(ApiClient, FakeClient(self))

    def fail_next(self, verb: str, error: Exception, resource: Resource | None = None) -> None:
        """Have the next request of that verb (of that resource) end in `error`, without effect."""
        self._faults.append((verb, resource, error))

    def disconnect_watches(self) -> None:
        """Break all watches off."""
        self._watch_epoch += 1
        self._wake()

    def compact(self) -> None:
        """Forget the history: watches from before now get 410."""
        self.compacted = self.revision
        self.history.clear()

    def all(self, resource: Resource) -> list[Object]:
        """All objects of a resource, by key."""
        return [obj for _, obj in sorted(self.objects.get(resource, {}).items())]

    def find(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """One object; ApiError 404."""
        found = self.objects.get(resource, {}).get((namespace, name))
        if found is None:
            raise statuses.not_found(resource, name)
        return found

    def put(self, resource: Resource, obj: Object) -> Object:
        """Set an object as it is, status and all (what another component would have done)."""
        key = (get_in(obj, "metadata", "namespace", default=""), obj["metadata"]["name"])
        old = self.objects.get(resource, {}).get(key)
        self._uids += 1
        metadata = {
            "uid": old["metadata"]["uid"] if old else f"uid-{self._uids}",
            "creationTimestamp": format_time(self.clock.now()),
            "generation": 1,
            **obj["metadata"],
        }
        new = {"apiVersion": resource.group_version, "kind": resource.kind, **copy.deepcopy(obj), "metadata": metadata}
        return self._store(resource, key, old, new)

    def change(self, resource: Resource, name: str, namespace: str, change: Callable[[Object], object]) -> Object:
        """Change a copy of an object in place and set it."""
        obj = copy.deepcopy(self.find(resource, name, namespace))
        change(obj)
        return self.put(resource, obj)

    def remove(self, resource: Resource, name: str, namespace: str = "") -> None:
        """Take an object out at once."""
        self._remove(resource, (namespace, name), self.find(resource, name, namespace))

    # --- the client's side
    def begin(self, verb: str, resource: Resource, name: str = "") -> None:
        self.log.append((verb, resource.plural, name))
        if self.down:
            raise ConnectionLost("connection refused", sent=False)
        for fault in self._faults:
            if fault[0] == verb and fault[1] in (None, resource):
                self._faults.remove(fault)
                raise fault[2]

    def create(self, resource: Resource, obj: Object, namespace: str) -> Object:
        metadata = dict(obj["metadata"])
        key = (namespace if resource.namespaced else "", metadata["name"])
        if key in self.objects.get(resource, {}):
            raise statuses.already_exists(resource, key[1])
        if resource.namespaced:
            metadata["namespace"] = namespace
        metadata.pop("resourceVersion", None)
        new = {key: value for key, value in obj.items() if key != "status"} | {"metadata": metadata}
        if resource is PODS:
            new["status"] = {"phase": "Pending"}
        self.put(resource, new)
        return self.find(resource, key[1], key[0])

    def update(self, resource: Resource, obj: Object, subresource: str) -> Object:
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        old = self.find(resource, key[1], key[0])
        wanted = metadata.get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            raise statuses.conflict(resource, key[1])
        if metadata.get("uid") and metadata["uid"] != old["metadata"]["uid"]:
            raise statuses.conflict(resource, key[1], "Precondition failed: UID in precondition")
        if subresource == "status":
            new = {**old, "status": obj.get("status", {})}
        else:
            frozen = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
            kept = {field: old["metadata"][field] for field in frozen if field in old["metadata"]}
            new = {**obj, "metadata": {**metadata, **kept}}
            if "status" in old:
                new["status"] = old["status"]
            if old.get("spec") != new.get("spec"):
                new["metadata"]["generation"] = kept.get("generation", 0) + 1
            if subresource == "finalize":
                new = {**old, "spec": obj.get("spec", {})}
        new = copy.deepcopy(new)
        if _is_over(resource, new):
            self._remove(resource, key, new)
            return new
        return self._store(resource, key, old, new)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        grace: int | None,
        uid: str | None,
        version: str | None,
        propagation: str,
    ) -> Object:
        old = self.find(resource, name, namespace)
        if uid and uid != old["metadata"]["uid"]:
            raise statuses.conflict(resource, name, "Precondition failed: UID in precondition")
        if version and version != old["metadata"]["resourceVersion"]:
            raise statuses.conflict(resource, name, "Precondition failed: ResourceVersion in precondition")
        new = copy.deepcopy(old)
        metadata = new["metadata"]
        finalizers = finalizers_of(new)
        extra = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if extra and extra not in finalizers:
            metadata["finalizers"] = [*finalizers, extra]
        if resource is PODS and grace is None:
            bound = bool(get_in(new, "spec", "nodeName"))
            grace = get_in(new, "spec", "terminationGracePeriodSeconds", default=30) if bound else 0
        is_namespace = resource.plural == "namespaces"
        if (
            metadata.get("finalizers")
            or (resource is PODS and grace)
            or (is_namespace and get_in(new, "spec", "finalizers"))
        ):
            if "deletionTimestamp" not in metadata:
                metadata["deletionTimestamp"] = format_time(self.clock.now() + timedelta(seconds=grace or 0))
                metadata["deletionGracePeriodSeconds"] = grace or 0
                metadata["generation"] = metadata.get("generation", 0) + 1
            if is_namespace:
                new["status"] = {**new.get("status", {}), "phase": "Terminating"}
            return self._store(resource, (namespace, name), old, new)
        self._remove(resource, (namespace, name), old)
        return statuses.success(resource, name, old["metadata"]["uid"])

    def select(self, resource: Resource, namespace: str | None, labels: str, fields: str) -> Iterator[Object]:
        for obj in self.all(resource):
            if _matches(obj, namespace, labels, fields):
                yield obj

    async def events(
        self, resource: Resource, namespace: str | None, since: int, labels: str, fields: str
    ) -> AsyncGenerator[WatchEvent, None]:
        epoch = self._watch_epoch
        while True:
            if since < self.compacted:
                raise statuses.expired(f"too old resource version: {since} ({self.compacted})")
            if self.down or epoch != self._watch_epoch:
                raise ConnectionLost("the watch broke off", sent=True)
            for event in [event for event in self.history if event.revision > since]:
                since = event.revision
                if event.resource != resource:
                    continue
                was = event.old is not None and _matches(event.old, namespace, labels, fields)
                now = event.type != "DELETED" and _matches(event.new, namespace, labels, fields)
                kind = ("MODIFIED" if was else "ADDED") if now else "DELETED"
                if was or now:
                    yield WatchEvent(kind, copy.deepcopy(event.new))
            if not self.history or self.history[-1].revision <= since:
                self._news.clear()
                await self._news.wait()

    # --- inside
    def _store(self, resource: Resource, key: tuple[str, str], old: Object | None, new: Object) -> Object:
        if old is not None and {**old, "metadata": {**old["metadata"], "resourceVersion": ""}} == {
            **new,
            "metadata": {**new["metadata"], "resourceVersion": ""},
        }:
            return old  # nothing changed: the revision does not move
        self.revision += 1
        new["metadata"]["resourceVersion"] = str(self.revision)
        self.objects.setdefault(resource, {})[key] = new
        self._tell("MODIFIED" if old else "ADDED", resource, old, new)
        return new

    def _remove(self, resource: Resource, key: tuple[str, str], last: Object) -> None:
        old = self.objects[resource].pop(key)
        self.revision += 1
        last = {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.revision)}}
        self._tell("DELETED", resource, old, last)

    def _tell(self, kind: str, resource: Resource, old: Object | None, new: Object) -> None:
        self.history.append(_Event(self.revision, kind, resource, old, new))
        self._wake()

    def _wake(self) -> None:
        self._news.set()


class FakeClient:
    """ApiClient's verbs on a FakeApi. Every answer is a copy; every call lets other tasks run first."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str = ""
    ) -> Object:
        await asyncio.sleep(0)
        self.api.begin("get", resource, name)
        found = self.api.find(resource, name, namespace or "")
        return _scale_of(found) if subresource == "scale" else copy.deepcopy(found)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Object:
        await asyncio.sleep(0)
        self.api.begin("list", resource)
        found = copy.deepcopy(list(self.api.select(resource, namespace, label_selector, field_selector)))
        start = int(continue_token or 0)
        page = found[start : start + limit] if limit else found[start:]
        metadata: Object = {"resourceVersion": str(self.api.revision)}
        if limit and start + limit < len(found):
            metadata["continue"] = str(start + limit)
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.group_version,
            "metadata": metadata,
            "items": page,
        }

    async def create(
        self, resource: Resource, obj: Object, namespace: str | None = None, *, subresource: str = "", name: str = ""
    ) -> Object:
        await asyncio.sleep(0)
        self.api.begin("create", resource, name or obj["metadata"].get("name", ""))
        namespace = namespace or obj["metadata"].get("namespace") or ""
        if subresource == "binding":
            return self.api.change(
                resource, name, namespace, lambda pod: pod["spec"].update(nodeName=obj["target"]["name"])
            )
        return copy.deepcopy(self.api.create(resource, copy.deepcopy(obj), namespace))

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        await asyncio.sleep(0)
        self.api.begin(f"update/{subresource}" if subresource else "update", resource, obj["metadata"]["name"])
        if subresource == "scale":
            found = self.api.find(resource, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
            sized = {**found, "spec": {**found["spec"], "replicas": obj["spec"].get("replicas", 0)}}
            sized["metadata"] = {**found["metadata"], "resourceVersion": obj["metadata"]["resourceVersion"]}
            return _scale_of(self.api.update(resource, copy.deepcopy(sized), ""))
        return copy.deepcopy(self.api.update(resource, copy.deepcopy(obj), subresource))

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: str = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        await asyncio.sleep(0)
        self.api.begin(f"patch/{subresource}" if subresource else "patch", resource, name)
        old = self.api.find(resource, name, namespace or "")
        new = json_patch(old, patch) if type == "json" else merge_patch(old, patch)
        if new["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            raise statuses.conflict(resource, name)
        return copy.deepcopy(self.api.update(resource, copy.deepcopy(new), subresource))

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "",
    ) -> Object:
        await asyncio.sleep(0)
        self.api.begin("delete", resource, name)
        return copy.deepcopy(
            self.api.delete(resource, name, namespace or "", grace_period_seconds, uid, resource_version, propagation)
        )

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_period_seconds: int | None = None,
        propagation: str = "",
    ) -> Object:
        await asyncio.sleep(0)
        self.api.begin("deletecollection", resource)
        for obj in list(self.api.select(resource, namespace, label_selector, field_selector)):
            metadata = obj["metadata"]
            self.api.delete(
                resource, metadata["name"], metadata.get("namespace", ""), grace_period_seconds, None, None, propagation
            )
        return statuses.success()

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
        bookmarks: bool = True,
        metadata_only: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        await asyncio.sleep(0)
        self.api.begin("watch", resource)
        since = int(resource_version or 0)
        if not since:
            since = self.api.revision
            for obj in list(self.api.select(resource, namespace, label_selector, field_selector)):
                yield WatchEvent("ADDED", copy.deepcopy(obj))
        async for event in self.api.events(resource, namespace, since, label_selector, field_selector):
            yield event

    async def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Any = None,
        query: Any = None,
        timeout_seconds: float | None = None,
    ) -> Response:
        await asyncio.sleep(0)
        if self.api.down:
            raise ConnectionLost("connection refused", sent=False)
        return self.api.raw_answers.get(path) or Response(404, {}, b"404 page not found")

    async def close(self) -> None:
        await asyncio.sleep(0)


def _scale_of(obj: Object) -> Object:
    labels = get_in(obj, "spec", "selector", "matchLabels", default={})
    metadata = {key: obj["metadata"].get(key) for key in ("name", "namespace", "uid", "resourceVersion")}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    replicas = get_in(obj, "status", "replicas", default=0)
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {"replicas": replicas, "selector": selector},
    }


def _is_over(resource: Resource, obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    if "deletionTimestamp" not in obj["metadata"] or finalizers_of(obj):
        return False
    if resource is PODS:
        return not obj["metadata"].get("deletionGracePeriodSeconds")
    return not (resource.plural == "namespaces" and get_in(obj, "spec", "finalizers"))


def _matches(obj: Object, namespace: str | None, labels: str, fields: str) -> bool:
    metadata = obj["metadata"]
    if namespace and metadata.get("namespace") != namespace:
        return False
    if labels and not parse_labels(labels).matches(metadata.get("labels")):
        return False
    return not fields or parse_fields(fields).matches(lambda field: str(get_in(obj, *field.split("."), default="")))


TURNS_LIMIT = 200_000  # turns of the loop in which time does not move


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer when nothing is ready; `clock` (if given) moves along."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        super().__init__(_InstantSelector(self))
        self._virtual_now = 0.0
        self._clock = clock

    def time(self) -> float:
        return self._virtual_now

    def jump(self, seconds: float) -> None:
        self._virtual_now += seconds
        if self._clock is not None:
            self._clock.advance(seconds)


class _InstantSelector(selectors_module.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._turns = 0
        self._seen_at = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if self._loop.time() - self._seen_at > 1e-6:
            self._seen_at, self._turns = self._loop.time(), 0
        self._turns += 1
        assert self._turns < TURNS_LIMIT, f"the loop spins at {self._seen_at} s: something waits for no time at all"
        if timeout is None:
            ready = super().select(0)
            assert ready, "deadlock: nothing is ready and no timer is set"
            return ready
        if timeout > 0:
            self._loop.jump(timeout)
        return super().select(0)


def run_virtual(main: Coroutine[Any, Any, T], clock: FakeClock | None = None, limit_seconds: float = 100_000.0) -> T:
    """Run to the end on virtual time; AssertionError on a deadlock, TimeoutError past the limit (virtual seconds)."""
    loop = VirtualLoop(clock)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(asyncio.wait_for(main, limit_seconds))
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


async def settle(turns: int = 50) -> None:
    """Let everything that is ready run."""
    for _ in range(turns):
        await asyncio.sleep(0)


__all__ = ["FakeApi", "FakeClient", "VirtualLoop", "run_virtual", "settle"]
