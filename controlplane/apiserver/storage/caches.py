"""The watch caches of one API server: opened on first use, one per resource, shared by everything that watches it."""

from __future__ import annotations

import asyncio
from typing import Final

from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.registry.fields import fields_of_resource
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.backend import Backend
from controlplane.apiserver.storage.cache import WatchCache
from controlplane.objects import status
from controlplane.objects.kinds import Resource

READY_SECONDS: Final = 10.0


class Caches:
    """`WatchCache` by resource."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._caches: dict[tuple[str, str], WatchCache] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def open(self, resource: Resource, from_revision: int = 0) -> WatchCache:
        """The cache of a resource, begun if need be; it may not be ready yet."""
        identity = layout.storage_identity(resource.group, resource.plural)
        cache = self._caches.get(identity)
        if cache is None:
            cache = WatchCache(self._backend, layout.prefix(*identity), fields_of_resource(resource))
            self._caches[identity] = cache
            cache.open(from_revision)
        return cache

    async def ready(self, resource: Resource, from_revision: int = 0) -> WatchCache:
        """The cache of a resource once it has listed; raises 503 when the store lets it wait too long."""
        cache = self.open(resource, from_revision)
        if not cache.is_ready:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    await cache.ready()
            except TimeoutError:
                why = f"the watch cache of {resource.group_resource} waits for the store"
                raise status.service_unavailable(why, 1) from None
        return cache

    def peek(self, resource: Resource) -> WatchCache | None:
        """The cache when it is there and ready; nothing is begun. Custom objects are never read from it unasked: there
        they are as they were stored."""
        if isinstance(resource, CustomResource):
            return None
        cache = self.find(resource)
        return cache if cache is not None and cache.is_ready else None

    def find(self, resource: Resource) -> WatchCache | None:
        """The cache when it has been opened; nothing is begun."""
        return self._caches.get(layout.storage_identity(resource.group, resource.plural))

    def drop(self, group: str, plural: str) -> None:
        """Forget the cache of a resource that is no longer served as it was; its watches end."""
        cache = self._caches.pop(layout.storage_identity(group, plural), None)
        if cache is not None:
            closing = asyncio.get_running_loop().create_task(cache.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def count(self, group: str, plural: str) -> int:
        """How many objects the cache of a resource has; 0 when it is not open."""
        cache = self._caches.get(layout.storage_identity(group, plural))
        return 0 if cache is None else len(cache)

    def object_counts(self) -> dict[str, int]:
        """Objects by group resource, of the caches that are open."""
        return {f"{plural}.{group}" if group else plural: len(cache) for (group, plural), cache in self._caches.items()}

    async def close(self) -> None:
        await asyncio.gather(*(cache.close() for cache in self._caches.values()), *self._closing)
