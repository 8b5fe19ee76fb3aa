"""PATCH with `application/apply-patch+yaml`: server-side apply, which also makes what is not there yet."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver import negotiate, present
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import ownership, pipeline
from controlplane.apiserver.request import is_true
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.apiserver.verbs import body, create, update
from controlplane.objects import status
from controlplane.objects.kinds import Resource
from controlplane.objects.status import ApiError, FieldError

MEDIA_TYPE: Final = "application/apply-patch+yaml"
ATTEMPTS: Final = 5  # at an object that comes and goes while we look


def is_apply(context: Context) -> bool:
    return negotiate.media_type_of(context.header(b"content-type")) == MEDIA_TYPE


def check_not_forced(context: Context) -> None:
    """Raise 422 for `force` on any other patch."""
    if is_true(context.query.get("force")):
        error = FieldError.forbidden("force", "may not be specified for non-apply patch")
        raise ownership.invalid_options(context, error)


async def read_configuration(context: Context, resource: Resource) -> tuple[Object, bytes]:
    """The applied configuration, and its text; raises 400 and 422."""
    if not context.query.get("fieldManager"):
        error = FieldError.required("fieldManager", "is required for apply patch")
        raise ownership.invalid_options(context, error)
    text = await context.body()
    is_json = text[:1] == b"{"
    config: Any = negotiate.parse_json(text) if is_json else negotiate.parse_yaml(text)
    if not isinstance(config, dict):
        raise status.bad_request("error decoding YAML: the configuration must be an object")
    given = str(config.get("apiVersion") or "")
    if given != resource.group_version:
        why = f"Specified patch version: {given}, expected: {resource.group_version}"
        raise status.bad_request(f"Incorrect version specified in apply patch. {why}")
    if not config.get("kind"):
        raise status.bad_request(f"Object 'Kind' is missing in '{text[:200].decode(errors='replace')}'")
    found = body.checked(config, resource)
    if found["metadata"].get("managedFields") is not None:
        raise status.bad_request("metadata.managedFields must be nil")
    return found, text


async def handle(context: Context, resource: Resource) -> Result:
    accepted = context.accepted()
    config, text = await read_configuration(context, resource)
    for _ in range(ATTEMPTS):
        try:
            entry = await changed(context, resource, config, text)
            return present.one(context, resource, entry.raw, accepted)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
        try:
            entry = await _created(context, resource, config, text)
            return present.one(context, resource, entry.raw, accepted, 201)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
    raise status.conflict(resource, context.info.path.name)


async def handle_status(context: Context, resource: Resource) -> Result:
    """An apply through /status, of an object that is there."""
    accepted = context.accepted()
    config, text = await read_configuration(context, resource)
    entry = await changed(context, resource, config, text, of_status=True)
    return present.one(context, resource, entry.raw, accepted)


async def change_of(context: Context, resource: Resource, old: Object, config: Object, subresource: str) -> Object:
    """The object after a configuration that came through a subresource; raises 400 and 409."""
    return ownership.applied(context, resource, old, config, subresource, force=is_true(context.query.get("force")))


async def changed(
    context: Context, resource: Resource, config: Object, text: bytes, *, of_status: bool = False
) -> Entry:
    """The entry after the configuration; raises 404 for an object that is not there."""
    subresource = "status" if of_status else ""
    force = is_true(context.query.get("force"))

    async def make(old: Object) -> Object:
        context.warnings.clear()
        new = ownership.applied(context, resource, old, config, subresource, force=force)
        new = _decoded(context, resource, new, text)
        update.check_revision(resource, new, old)
        return new

    return await update.change(context, resource, make, of_status=of_status, owners=ownership.as_applied)


async def _created(context: Context, resource: Resource, config: Object, text: bytes) -> Entry:
    """The entry of a new object; raises 403 and 409."""
    path, name = context.info.path, context.info.path.name
    asked = Attributes("create", path.group, path.version, path.resource, "", name, path.namespace)
    await context.services.authorizer.require(context.user, asked)
    uid = config["metadata"].get("uid")
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise status.conflict(resource, name, why)
    context.warnings.clear()
    force = is_true(context.query.get("force"))
    new = ownership.applied(context, resource, None, config, "", force=force)
    new = _decoded(context, resource, new, text)
    return await create.create(context, resource, new, owners=ownership.as_applied)


def _decoded(context: Context, resource: Resource, new: Object, text: bytes) -> Object:
    """The merged object in canonical form, as the one that the path names, with defaults."""
    decoded = pipeline.decoded(context, resource, new, text)
    named = update.checked_name(context, resource, pipeline.named(context, resource, decoded))
    return pipeline.defaulted(context, resource, named)
