"""PUT: a whole object replaces the stored one, if it was made from the newest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from controlplane.apiserver import admission, present
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import deletion, ownership, pipeline, versions
from controlplane.apiserver.registry.table import is_made_by_update, strategy_of
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.storage.store import NOTHING_ELSE, Also, CompanionTaken, Write
from controlplane.apiserver.verbs import body, create
from controlplane.objects import status
from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError

ALLOCATION_ATTEMPTS: Final = 32

Make = Callable[[Object], Awaitable[Object]]
"""From the stored object (in the request's version) to the wanted one."""


class DryRun(Exception):
    """Carries what a dry run would have stored out of the change."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    obj, raw = await body.read_raw(context, resource)
    new = pipeline.decoded(context, resource, obj, raw)
    new = checked_name(context, resource, pipeline.named(context, resource, new))
    new = pipeline.defaulted(context, resource, new)

    async def make(old: Object) -> Object:
        check_revision(resource, new, old)
        return new

    try:
        entry = await change(context, resource, make)
    except ApiError as error:
        if error.reason != "NotFound" or not is_made_by_update(resource):
            raise
        entry = await _created(context, resource, new)
        return present.one(context, resource, entry.raw, accepted, 201)
    return present.one(context, resource, entry.raw, accepted)


async def _created(context: Context, resource: Resource, obj: Object) -> Entry:
    """The object, made because it was not there; raises 403 for who may not create."""
    path = context.info.path
    asked = Attributes("create", path.group, path.version, path.resource, "", path.name, path.namespace)
    await context.services.authorizer.require(context.user, asked)
    return await create.create(context, resource, obj)


def checked_name(context: Context, resource: Resource, obj: Object) -> Object:
    """The object, whose name is the path's; raises 400."""
    name, wanted = obj["metadata"].get("name") or "", context.info.path.name
    if name and name != wanted:
        why = f"the name of the object ({name}) does not match the name on the URL ({wanted})"
        raise status.bad_request(why)
    return obj if name else {**obj, "metadata": {**obj["metadata"], "name": wanted}}


def check_revision(resource: Resource, new: Object, old: Object) -> None:
    """Raise 409 when `new` was made from another revision than `old`."""
    wanted = new["metadata"].get("resourceVersion") or ""
    if wanted in ("", "0"):
        if strategy_of(resource).needs_revision:
            error = status.FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise status.invalid(resource, old["metadata"]["name"], [error])
    elif wanted != old["metadata"]["resourceVersion"]:
        raise status.conflict(resource, old["metadata"]["name"])


def object_key(context: Context, resource: Resource) -> str:
    """The key of the object that the path names."""
    path = context.info.path
    return layout.key(resource.group, resource.plural, path.namespace if resource.namespaced else "", path.name)


Prepare = Callable[[Context, Resource, Object, Object, str], Awaitable[tuple[Object, Also]]]
"""From (context, resource, wanted, old, subresource) to what is stored and what is written along."""


async def as_whole(
    context: Context, resource: Resource, wanted: Object, old: Object, subresource: str
) -> tuple[Object, Also]:
    """A change of everything but the status: admission, strategy, validation, allocation."""
    told = pipeline.attributes(context, resource, "UPDATE", wanted, old, subresource)
    new = pipeline.prepare_update(context, resource, await admission.mutate(told), old)
    pipeline.validate_update(context, resource, new, old, subresource)
    return await strategy_of(resource).allocate(context.services, new, old)


async def as_status(
    context: Context, resource: Resource, wanted: Object, old: Object, subresource: str
) -> tuple[Object, Also]:
    """A change of the status."""
    told = pipeline.attributes(context, resource, "UPDATE", wanted, old, subresource)
    wanted = await admission.mutate_by_all(told)
    new = pipeline.prepare_status(resource, wanted, old)
    pipeline.validate_update(context, resource, new, old, "status")
    return new, NOTHING_ELSE


async def as_given(
    context: Context, resource: Resource, wanted: Object, old: Object, subresource: str
) -> tuple[Object, Also]:
    """A change that the server itself made up (a binding): taken as it is."""
    return wanted, NOTHING_ELSE


async def change(
    context: Context,
    resource: Resource,
    make: Make,
    *,
    of_status: bool = False,
    owners: ownership.Owners = ownership.tracked,
) -> Entry:
    """Change the object that the path names, all of it or its status; answers the entry."""
    key = object_key(context, resource)
    if of_status:
        return await change_at(context, resource, key, make, as_status, "status", owners)
    return await change_at(context, resource, key, make, owners=owners)


async def change_at(
    context: Context,
    resource: Resource,
    key: str,
    make: Make,
    prepare: Prepare = as_whole,
    subresource: str = "",
    owners: ownership.Owners = ownership.tracked,
) -> Entry:
    """Change the object at any key; `owners` says who owns what then."""
    services, strategy = context.services, strategy_of(resource)
    lease = await strategy.lease(services)

    async def decide(current: Object) -> Write:
        old = versions.from_stored(resource, current)
        wanted = owners(context, resource, old, await make(old), subresource)
        new, also = await prepare(context, resource, wanted, old, subresource)
        new = ownership.settled(new, old)
        if subresource != "binding":  # it was admitted as a Binding
            await admission.validate(pipeline.attributes(context, resource, "UPDATE", new, old, subresource))
        stored = pipeline.stored(resource, new)
        if context.is_dry_run:
            raise DryRun(Entry.unstored(key.encode(), stored))
        if deletion.is_finished(new):
            return Write(None, strategy.release(current), last=stored)
        return Write(stored, also, lease)

    name = key.rsplit("/", 1)[1]
    cache = services.caches.peek(resource)
    suggestion = cache.get(key.encode()) if cache is not None else None
    for _ in range(ALLOCATION_ATTEMPTS):
        try:
            changed = await services.store.change(key, decide, lambda: status.not_found(resource, name), suggestion)
        except DryRun as dry:
            return dry.entry
        except CompanionTaken:
            suggestion = None
            continue
        return changed.entry
    raise status.internal_error(f"could not allocate what {resource.group_resource} {name} needs")
