"""One server's custom resources: follows the CRDs, serves what is established, writes conditions, clears up.

Every server does this for itself. What they write (names, conditions, finalizer) is the same whoever writes it, by
compare-and-swap, so that no leader is needed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from controlplane.apiserver.crd import catalog, marker, names
from controlplane.apiserver.crd.definition import Definition
from controlplane.apiserver.registry import deletion
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.cache import Event, WatchCache
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import Write
from controlplane.objects import status
from controlplane.objects.kinds import CUSTOM_RESOURCE_DEFINITIONS as CRDS
from controlplane.objects.kinds import Resource
from controlplane.objects.meta import without_finalizer
from controlplane.objects.scheme import Scheme
from controlplane.objects.status import ApiError

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

CATCH_UP_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


class CustomResources:
    """The definitions that this server knows, by name; `open` begins to follow them."""

    def __init__(self) -> None:
        self._definitions: dict[str, Definition] = {}
        self._base: Scheme | None = None
        self._cache: WatchCache | None = None
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._heard = asyncio.Event()

    def definitions(self) -> list[Definition]:
        return list(self._definitions.values())

    def open(self, services: Services) -> None:
        """Begin to follow; idempotent."""
        if self._cache is None:
            self._base = services.scheme
            self._cache = services.caches.open(CRDS)
            self._cache.listen(lambda event: self._on_event(services, event))

    # What is served

    def _on_event(self, services: Services, event: Event | None) -> None:
        if event is None:
            assert self._cache is not None
            found = [Definition(entry.object()) for entry in self._cache.entries()]
            gone = [each for name, each in self._definitions.items() if name not in {new.name for new in found}]
            for definition in gone:
                self._forget(services, definition)
            changed = found
        elif event.deleted:
            old = self._definitions.get(event.entry.object()["metadata"]["name"])
            if old is not None:
                self._forget(services, old)
            changed = []
        else:
            changed = [Definition(event.entry.object())]
        for definition in changed:
            before = self._definitions.get(definition.name)
            self._definitions[definition.name] = definition
            if before is not None and _shows_otherwise(before, definition):
                services.caches.drop(definition.group, before.plural)
            self._dirty.add(definition.name)
        if event is not None and event.deleted:  # names may be free now
            self._dirty |= set(self._definitions)
        self._publish(services)
        self._wake.set()
        self._heard.set()

    def _forget(self, services: Services, definition: Definition) -> None:
        self._definitions.pop(definition.name, None)
        services.caches.drop(definition.group, definition.plural)

    def _publish(self, services: Services) -> None:
        assert self._base is not None
        established = (each for each in self._definitions.values() if names.is_true(each.crd, "Established"))
        services.scheme = catalog.scheme_with(self._base, sorted(established, key=lambda each: each.name))
        services.documents = None
        services.aggregation.wake()

    async def caught_up(self, services: Services) -> None:
        """Return when this server knows of every definition that any server has answered before this call."""
        self.open(services)
        cache = await services.caches.ready(CRDS)
        newest = await marker.revision(services)
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                while cache.revision < newest:
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            logger.debug("the definitions known here are older than the store's")

    # What is written

    async def run(self, services: Services) -> None:
        """Bring conditions and deletions on, for ever."""
        self.open(services)
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._dirty = self._dirty, set()
            for name in sorted(waiting):
                try:
                    await self._reconcile(services, name)
                except (ApiError, TimeoutError, ConnectionError) as error:
                    logger.info("custom resource definition %s: %s", name, error)
                    self._again(name)

    def _again(self, name: str, seconds: float = RETRY_SECONDS) -> None:
        def mark() -> None:
            self._dirty.add(name)
            self._wake.set()

        asyncio.get_running_loop().call_later(seconds, mark)

    async def _reconcile(self, services: Services, name: str) -> None:
        definition = self._definitions.get(name)
        if definition is None:
            return
        if definition.is_terminating:
            await self._clear(services, definition)
            return
        others = [each.crd for each in self.definitions()]
        now = services.environment.timestamp()
        if names.with_names(definition.crd, others, now) != definition.crd:
            await _change(services, name, lambda crd: names.with_names(crd, others, now))

    async def _clear(self, services: Services, definition: Definition) -> None:
        """Delete the objects, then let the definition go."""
        if names.FINALIZER not in (definition.crd["metadata"].get("finalizers") or ()):
            return
        prefix = layout.prefix(definition.group, definition.plural).encode()
        page = await services.backend.page(prefix, layout.prefix_end(prefix))
        resource = definition.resource(definition.storage)
        for row in page.rows:
            await _delete(services, resource, row.key.decode())
        if page.rows:
            self._again(definition.name, 0.0 if len(page.rows) < 2 else 0.05)
            return
        now = services.environment.timestamp()

        def finished(crd: Object) -> Object:
            words = "removed all instances"
            done = names.with_condition(crd, "Terminating", "False", "InstanceDeletionCompleted", words, now)
            return without_finalizer(done, names.FINALIZER)

        await _change(services, definition.name, finished)


def _shows_otherwise(before: Definition, after: Definition) -> bool:
    """Whether open watches would show what is no longer true: they end, and clients begin anew."""

    def shape(definition: Definition) -> object:
        return [definition.selectable, definition.conversion, [each.raw for each in definition.versions]]

    return shape(before) != shape(after)


async def _change(services: Services, name: str, make: names.Change) -> None:
    async def decide(current: Object) -> Write:
        changed = make(current)
        if deletion.is_finished(changed):
            return Write(None, marker.CHANGED)
        return Write(changed, marker.written_along(changed, current))

    key = layout.key(CRDS.group, CRDS.plural, "", name)
    try:
        await services.store.change(key, decide, lambda: status.not_found(CRDS, name))
    except ApiError as error:
        if error.code != 404:
            raise


async def _delete(services: Services, resource: Resource, key: str) -> None:
    """Delete one object as a client would: its finalizers are waited for."""
    name = key.rsplit("/", 1)[1]

    async def decide(current: Object) -> Write:
        verdict = deletion.decide(current, deletion.Options(), services.environment.now())
        return Write(verdict.keep)

    try:
        await services.store.change(key, decide, lambda: status.not_found(resource, name))
    except ApiError as error:
        if error.code != 404:
            raise
