"""Informer: list, then watch, for ever: a Cache that follows the server, with handlers that hear of every change.

It survives broken connections (watches on from the last revision seen), 410 Expired (lists again and reports the
difference) and clean ends of watches. Bookmarks move the revision of quiet resources on. Handlers are plain functions that
run in the informer's task between two awaits: they see the cache and the change in step. An InformerFactory shares
informers between all that want the same resource.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from random import Random
from typing import Any

from controlplane.machinery.backoff import Backoff
from controlplane.machinery.cache import Cache, Change, revision_of
from controlplane.machinery.client import ApiClient, ApiError, ConnectionLost, WatchEvent
from controlplane.objects.kinds import Resource
from controlplane.objects.meta import key_of

__all__ = ["Handler", "Informer", "InformerFactory"]

log = logging.getLogger("controlplane.machinery")

Object = dict[str, Any]
Handler = Callable[[Change], None]

PAGE_SIZE = 500  # objects a list request asks for at a time
WATCH_SECONDS = 300  # a watch is renewed after this long to twice that, so that all do not come at once
KEPT_METADATA = (  # of a metadata-only informer: who it is, who owns it, whether it goes; no labels, no annotations
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "ownerReferences",
    "finalizers",
    "deletionTimestamp",
)
SHORT_WATCH_SECONDS = 1.0  # a watch that ended sooner counts as a failure


class Informer:
    """Follows one resource (or one selection of it). `run` is a coroutine for a task of its own; cancel it to stop."""

    def __init__(
        self,
        client: ApiClient,
        resource: Resource,
        *,
        random: Random,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> None:
        self.resource = resource
        self.cache = Cache(resource)
        self.revision = (
            0  # of the last event, bookmark or list: all of the resource's changes up to it are in the cache
        )
        self.metadata_only = metadata_only
        self._client = client
        self._random = random
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._handlers: list[Handler] = []
        self._resource_version = ""
        self._synced = asyncio.Event()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def has_synced(self) -> bool:
        """Whether the cache has been filled once."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return when the cache has been filled once."""
        await self._synced.wait()

    def add_handler(self, handler: Handler) -> None:
        """Have `handler` called with each change; at once with an ADDED for each object that is here already."""
        self._handlers.append(handler)
        for obj in list(self.cache):
            self._call(handler, Change("ADDED", None, obj))

    async def wait_for(self, predicate: Callable[[], bool], timeout_seconds: float) -> bool:
        """Wait until `predicate()` holds; it is asked after each change. False when it took too long."""
        if predicate():
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (predicate, future)
        self._waiters.append(entry)
        try:
            async with asyncio.timeout(timeout_seconds):
                await future
        except TimeoutError:
            return False
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)
        return True

    async def run(self) -> None:
        """Follow the resource until cancelled."""
        backoff = Backoff(self._random)
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                if not self._resource_version:
                    await self._list()
                await self._watch()
                if loop.time() - started >= SHORT_WATCH_SECONDS:
                    backoff.reset()
                    continue
            except ApiError as error:
                if error.code == 410:
                    log.debug("%s: %s: listing again", self.resource.plural, error)
                    self._resource_version = ""
                else:
                    log.warning("%s: %s", self.resource.plural, error)
            except ConnectionLost as error:
                log.debug("%s: %s", self.resource.plural, error)
            except Exception:  # a server that sends nonsense, or our bug: say so, and begin afresh
                log.exception("%s: the watch failed; listing again", self.resource.plural)
                self._resource_version = ""
            if loop.time() - started > SHORT_WATCH_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next_delay())

    async def _list(self) -> None:
        seen: set[str] = set()
        token, limit = "", PAGE_SIZE
        while True:
            try:
                page = await self._client.list(
                    self.resource,
                    self._namespace,
                    label_selector=self._label_selector,
                    field_selector=self._field_selector,
                    limit=limit,
                    continue_token=token,
                    metadata_only=self.metadata_only,
                )
            except ApiError as error:
                if error.code != 410 or not token:
                    raise
                seen.clear()  # the pages grew too old while we read them: take all at once
                token, limit = "", 0
                continue
            for obj in page.get("items") or ():
                seen.add(key_of(obj))
                self._put(obj)
            token = page["metadata"].get("continue") or ""
            if not token:
                break
        for key in sorted(set(self.cache.keys()) - seen):
            self._tell(self.cache.remove(key))
        self._resource_version = page["metadata"]["resourceVersion"]
        self.revision = max(self.revision, revision_of(page))
        self._synced.set()
        self._wake()

    async def _watch(self) -> None:
        events = self._client.watch(
            self.resource,
            self._namespace,
            resource_version=self._resource_version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=WATCH_SECONDS + int(self._random.random() * WATCH_SECONDS),
            metadata_only=self.metadata_only,
        )
        async with aclosing(events):
            async for event in events:
                self._on_event(event)

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        self._resource_version = obj["metadata"]["resourceVersion"]
        if event.type == "DELETED":
            self._tell(self.cache.remove(key_of(obj), self._trim(obj)))
        elif event.type != "BOOKMARK":
            self._put(obj)
        self.revision = max(self.revision, revision_of(obj))
        self._wake()

    def _put(self, obj: Object) -> None:
        self._tell(self.cache.put(self._trim(obj)))

    def _trim(self, obj: Object) -> Object:
        """What is kept of an object that is still ours alone: never managedFields, which nobody here reads."""
        obj["metadata"].pop("managedFields", None)
        # Items of a list come without their type in some servers' answers; those who hold an object rely on it.
        obj.setdefault("kind", self.resource.kind)
        obj.setdefault("apiVersion", self.resource.group_version)
        if self.metadata_only:
            metadata = obj["metadata"]
            return {
                "apiVersion": self.resource.group_version,
                "kind": self.resource.kind,
                "metadata": {field: metadata[field] for field in KEPT_METADATA if field in metadata},
            }
        return obj

    def _tell(self, change: Change | None) -> None:
        if change is not None:
            for handler in self._handlers:
                self._call(handler, change)

    def _call(self, handler: Handler, change: Change) -> None:
        try:
            handler(change)
        except Exception:  # a handler's bug must not stop the cache that all others share
            log.exception("%s: a handler failed on %s", self.resource.plural, key_of(change.new))

    def _wake(self) -> None:
        if not self._waiters:
            return
        waiting = []
        for predicate, future in self._waiters:
            if future.done():
                continue
            if predicate():
                future.set_result(None)
            else:
                waiting.append((predicate, future))
        self._waiters = waiting


class InformerFactory:
    """One informer per selection, shared; each runs in a task of the factory from `start` to `close`."""

    def __init__(self, client: ApiClient, *, random: Random) -> None:
        self._client = client
        self._random = random
        self._informers: dict[tuple[Resource, str | None, str, str], Informer] = {}
        self._tasks: dict[Informer, asyncio.Task[None]] = {}

    def informer(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> Informer:
        """The shared informer; one that exists with whole objects also serves those who want metadata only.

        Whoever needs whole objects must ask before the informer of metadata was made (AssertionError).
        """
        selection = (resource, namespace, label_selector, field_selector)
        found = self._informers.get(selection)
        if found is None:
            found = self._informers[selection] = Informer(
                self._client,
                resource,
                random=self._random,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                metadata_only=metadata_only,
            )
        assert metadata_only or not found.metadata_only, f"{resource.plural}: already followed as metadata only"
        return found

    def find(self, resource: Resource) -> Informer | None:
        """The informer of all objects of the resource, if somebody asked for one."""
        return self._informers.get((resource, None, "", ""))

    def start(self) -> None:
        """Run every informer that does not run yet. Call it again after asking for more."""
        for informer in self._informers.values():
            if informer not in self._tasks:
                task = asyncio.get_running_loop().create_task(
                    informer.run(), name=f"informer {informer.resource.plural}"
                )
                self._tasks[informer] = task

    def stop(self, informer: Informer) -> None:
        """Stop following; the informer is forgotten (its resource is no longer served)."""
        self._informers = {key: value for key, value in self._informers.items() if value is not informer}
        if task := self._tasks.pop(informer, None):
            task.cancel()

    async def wait_synced(self) -> None:
        """Return when every informer has filled its cache once."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()

    async def close(self) -> None:
        """Cancel all informers and wait for their tasks."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
