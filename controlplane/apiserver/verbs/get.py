"""GET of one object: a quorum read, or the watch cache when `resourceVersion=0` allows something older."""

from __future__ import annotations

from controlplane.apiserver import present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.entry import Entry
from controlplane.objects import status
from controlplane.objects.kinds import Resource


async def entry_of(context: Context, resource: Resource) -> Entry:
    """The entry that the path names; raises 404."""
    path = context.info.path
    return await find(context, resource, path.namespace, path.name)


async def find(context: Context, resource: Resource, namespace: str, name: str) -> Entry:
    """One object of any resource; raises 404."""
    key = layout.key(resource.group, resource.plural, namespace if resource.namespaced else "", name)
    cache = context.services.caches.peek(resource)
    entry: Entry | None = cache.get(key.encode()) if cache is not None else None
    if entry is None or context.query.get("resourceVersion") != "0":
        entry = await context.services.store.get(key, entry)
    if entry is None:
        raise status.not_found(resource, name)
    return entry


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    entry = await entry_of(context, resource)
    return present.one(context, resource, entry.raw, accepted)
