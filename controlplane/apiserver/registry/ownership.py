"""Who owns which field: managedFields after every write, and server-side apply with the request's manager.

The rules are those of `controlplane.objects.apply`; here stands what they ask of a server: the name of the manager, the
versions of a kind, what a resource or subresource may not change, and which writes count.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from controlplane.apiserver.context import Context
from controlplane.apiserver.registry import versions
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import apply as apply_fields
from controlplane.objects import status
from controlplane.objects.apply import Request, View, sets
from controlplane.objects.kinds import Resource
from controlplane.objects.status import FieldError

LONGEST_MANAGER_BYTES: Final = 128
_UNTRACKED: Final = frozenset({"binding"})  # the server's own doing
_OPTIONS: Final = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
# what a write of the status leaves alone in metadata
_STATUS_KEEPS: Final = (
    "ownerReferences",
    "finalizers",
    "generateName",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


@lru_cache(maxsize=512)
def _from_user_agent(header: str) -> str:
    """The part of a User-Agent before the slash, printable characters only, no longer than a manager may be."""
    found = ""
    for character in header.split("/", 1)[0]:
        if not character.isprintable():
            continue
        if len((found + character).encode()) > LONGEST_MANAGER_BYTES:
            break
        found += character
    return found


def invalid_options(context: Context, error: FieldError) -> status.ApiError:
    """422 for a wrong query parameter of a write."""
    return status.invalid(f"{_OPTIONS.get(context.info.verb, 'PatchOptions')}.meta.k8s.io", "", [error])


def manager_of(context: Context) -> str:
    """The query's fieldManager, or who the client says it is; raises 422."""
    name = context.query.get("fieldManager") or ""
    if not name:
        return _from_user_agent(context.header(b"user-agent"))
    if len(name.encode()) > LONGEST_MANAGER_BYTES:
        error = FieldError("TooLong", "fieldManager", None, f"may not be more than {LONGEST_MANAGER_BYTES} bytes")
        raise invalid_options(context, error)
    if not name.isprintable():
        error = FieldError.invalid("fieldManager", name, "should only contain printable characters")
        raise invalid_options(context, error)
    return name


@lru_cache(maxsize=1024)
def _ignored(fields: tuple[str, ...], subresource: str, *, has_status: bool) -> sets.FieldSet:
    """What a write through this resource or subresource cannot change."""
    if subresource == "status":
        kept = [name for name in fields if name not in ("apiVersion", "kind", "metadata", "status")]
        metadata = [("f:metadata", "f:" + name) for name in _STATUS_KEEPS]
        return sets.of(*(("f:" + name,) for name in kept), *metadata)
    return sets.of(("f:status",)) if has_status and not subresource else sets.EMPTY


def _request(context: Context, resource: Resource, subresource: str) -> Request:
    services = context.services
    scheme = services.scheme
    schema = scheme.schema_of(resource)

    def other(api_version: str) -> View | None:
        group, _, version = api_version.rpartition("/")
        info = scheme.kind(group, version, resource.kind)
        if info is None:
            return None
        theirs = info.resource
        return View(
            api_version,
            scheme.schema_of(theirs),
            lambda obj: versions.from_stored(theirs, versions.to_stored(resource, obj)),
            lambda obj: versions.from_stored(resource, versions.to_stored(theirs, obj)),
        )

    return Request(
        View(resource.group_version, schema),
        other,
        manager_of(context),
        services.environment.timestamp(),
        subresource,
        _ignored(tuple(schema.fields), subresource, has_status=scheme.of(resource).subresource("status") is not None),
    )


Owners = Callable[[Context, Resource, Object | None, Object, str], Object]
"""From (context, resource, old or None, new, subresource) to the new object with its managedFields."""


def tracked(context: Context, resource: Resource, old: Object | None, new: Object, subresource: str = "") -> Object:
    """The object that a client wants, with managedFields as they are after its write; `old` is None for a new one."""
    if subresource in _UNTRACKED:
        return new
    return apply_fields.tracked(_request(context, resource, subresource), old, new)


def as_applied(context: Context, resource: Resource, old: Object | None, new: Object, subresource: str = "") -> Object:
    """What came from `applied` has its managedFields."""
    return new


def applied(
    context: Context, resource: Resource, live: Object | None, config: Object, subresource: str, *, force: bool
) -> Object:
    """The live object (None: there is none) after a configuration; raises 400 and 409."""
    try:
        return apply_fields.apply(_request(context, resource, subresource), live, config, force=force)
    except apply_fields.ConfigurationError as error:
        metadata = config["metadata"]
        namespace, name = metadata.get("namespace") or context.info.path.namespace, metadata.get("name") or ""
        named = f"{namespace}/{name}" if resource.namespaced else f"/{name}"
        what = f"{named}; {resource.group_version}, Kind={resource.kind}"
        raise status.bad_request(f"failed to create typed patch object ({what}): {error}") from None
    except apply_fields.ConflictError as error:
        raise status.apply_conflict(str(error), [conflict.cause for conflict in error.conflicts]) from None


def settled(new: Object, old: Object) -> Object:
    """The changed object; the very old one where nothing but times of owners or the order of fields would change, so that
    its bytes and its revision stay."""
    if any(part != old.get(name) for name, part in new.items() if name != "metadata"):  # as a rule: quickly told
        return new
    after, before = apply_fields.carried(new), apply_fields.carried(old)
    if not apply_fields.differ_in_time_only(after, before):
        return new
    like = new if after == before else apply_fields.with_entries(new, before)
    return old if like == old and apply_fields.same(like, old) else new
