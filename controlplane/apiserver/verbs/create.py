"""POST to a collection: a new object, with a generated name when asked, tried again while the name is taken."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver import admission, present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import ownership, pipeline
from controlplane.apiserver.registry.table import strategy_of
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.store import CompanionTaken
from controlplane.apiserver.verbs import body
from controlplane.objects import status
from controlplane.objects.kinds import Resource

NAME_ATTEMPTS: Final = 8
ALLOCATION_ATTEMPTS: Final = 32


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    obj, raw = await body.read_raw(context, resource)
    obj = pipeline.decoded(context, resource, obj, raw)
    entry = await create(context, resource, obj)
    return present.one(context, resource, entry.raw, accepted, 201)


async def create(
    context: Context, resource: Resource, obj: Object, owners: ownership.Owners = ownership.tracked
) -> Entry:
    """The object, decoded, stored; raises ApiError."""
    obj = pipeline.named(context, resource, obj)
    obj = pipeline.defaulted(context, resource, obj)
    obj = owners(context, resource, None, obj, "")
    obj = await pipeline.admitted_create(context, resource, obj)
    generated = not obj["metadata"].get("name")
    prepared = pipeline.prepare_create(context, resource, obj)
    for _ in range(NAME_ATTEMPTS if generated else 1):
        entry = await _store(context, resource, prepared)
        if entry is not None:
            return entry
        prepared = pipeline.prepare_create(context, resource, obj)
    raise status.already_exists(resource, prepared["metadata"]["name"])


async def _store(context: Context, resource: Resource, prepared: Object) -> Entry | None:
    """One attempt; None when the name is taken."""
    services, strategy = context.services, strategy_of(resource)
    metadata = prepared["metadata"]
    key = layout.key(resource.group, resource.plural, metadata.get("namespace", ""), metadata["name"])
    for _ in range(ALLOCATION_ATTEMPTS):
        pipeline.validate_create(context, resource, prepared)
        obj, also = await strategy.allocate(services, prepared, None)
        await admission.validate(pipeline.attributes(context, resource, "CREATE", obj, {}))
        stored = pipeline.stored(resource, obj)
        if context.is_dry_run:
            return None if await services.store.get(key) is not None else Entry.unstored(key.encode(), stored)
        try:
            return await services.store.create(key, stored, also=also, lease=await strategy.lease(services))
        except CompanionTaken:
            continue
    raise status.internal_error(f"could not allocate what {resource.group_resource} {metadata['name']} needs")
