"""The store as a request of one version of a custom resource sees it.

Objects lie in the store in the version that was the storage version when they were written. What was written since the
definition last changed, in the version that is asked for, is answered as its bytes are; anything else is converted,
pruned and defaulted on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from controlplane.apiserver.crd import conversion, instances
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.storage import codec, layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.store import NOTHING_ELSE, Also, Change, Changed, ObjectStore, Write
from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError

if TYPE_CHECKING:
    from controlplane.apiserver.context import Context
    from controlplane.apiserver.services import Services


def warn_deprecated(context: Context, resource: CustomResource) -> None:
    """Tell those who use a deprecated version so."""
    if resource.of.deprecated:
        text = resource.of.raw.get("deprecationWarning") or f"{resource.group_version} {resource.kind} is deprecated"
        context.warnings.append(text)


def _is_current(resource: CustomResource, entry: Entry) -> bool:
    head = b'{"apiVersion":"%b",' % resource.group_version.encode()
    return entry.revision > resource.definition.revision and entry.raw.startswith(head)


async def served(services: Services, resource: Resource, entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries in the version of the resource; the same entries where nothing has to be done."""
    if not isinstance(resource, CustomResource):
        return entries
    old = [at for at, entry in enumerate(entries) if not _is_current(resource, entry)]
    if not old:
        return entries
    objects = await from_stored(services, resource, [entries[at].object() for at in old])
    result = list(entries)
    for at, obj in zip(old, objects):
        entry = result[at]
        result[at] = Entry(entry.key, entry.revision, codec.splice(codec.encode(obj), entry.revision))
    return result


async def from_stored(services: Services, resource: CustomResource, objects: list[Object]) -> list[Object]:
    """Stored objects in the version of the resource, pruned and defaulted by its schema."""
    converted = await conversion.convert(services, resource.definition, objects, resource.group_version)
    return [instances.as_read(resource, obj) for obj in converted]


class VersionedStore(ObjectStore):
    """An ObjectStore whose objects of one custom resource are in one version; all others are as they are stored."""

    def __init__(self, services: Services, resource: CustomResource) -> None:
        super().__init__(services.backend)
        self._services = services
        self._resource = resource
        self._prefix = layout.prefix(resource.group, resource.plural)

    async def _entry(self, entry: Entry) -> Entry:
        return (await served(self._services, self._resource, [entry]))[0]

    async def _to_store(self, obj: Object) -> Object:
        definition = self._resource.definition
        stored = definition.resource(definition.storage)
        return (await conversion.convert(self._services, definition, [obj], stored.group_version))[0]

    async def get(self, key: str, known: Entry | None = None) -> Entry | None:
        entry = await super().get(key, known)
        return await self._entry(entry) if entry is not None and key.startswith(self._prefix) else entry

    async def create(self, key: str, obj: Object, *, also: Also = NOTHING_ELSE, lease: int = 0) -> Entry | None:
        if not key.startswith(self._prefix):
            return await super().create(key, obj, also=also, lease=lease)
        if self._resource.definition.is_terminating:
            raise instances.terminating()
        entry = await super().create(key, await self._to_store(obj), also=also, lease=lease)
        return await self._entry(entry) if entry is not None else None

    async def change(
        self, key: str, change: Change, missing: Callable[[], ApiError], suggestion: Entry | None = None
    ) -> Changed:
        if not key.startswith(self._prefix):
            return await super().change(key, change, missing, suggestion)

        async def decide(current: Object) -> Write:
            seen = (await from_stored(self._services, self._resource, [current]))[0]
            write = await change(seen)
            return write if write.object is None else replace(write, object=await self._to_store(write.object))

        changed = await super().change(key, decide, missing, suggestion)
        return replace(changed, entry=await self._entry(changed.entry))
