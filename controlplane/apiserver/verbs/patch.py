"""PATCH: JSON patch, merge patch, strategic merge patch (and apply, see there); tried again on the newest object while
others are faster."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver import negotiate, present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.registry import pipeline
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.verbs import apply, body, update
from controlplane.objects import patch, status
from controlplane.objects.kinds import Resource

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
SERVED: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, apply.MEDIA_TYPE)


async def read_patch(context: Context) -> tuple[str, Any]:
    """(media type, patch); raises 400 or 415."""
    media_type = negotiate.media_type_of(context.header(b"content-type"))
    if media_type not in SERVED or media_type == apply.MEDIA_TYPE:
        raise status.unsupported_media_type(list(SERVED))
    apply.check_not_forced(context)
    text = await context.body()
    value = negotiate.parse_json(text) if text[:1] in b"{[" else negotiate.parse_yaml(text)
    if media_type == JSON_PATCH and not isinstance(value, list):
        raise status.bad_request("error decoding patch: a JSON patch must be an array of operations")
    if media_type != JSON_PATCH and not isinstance(value, dict):
        raise status.bad_request("error decoding patch: the patch must be an object")
    return media_type, value


def applied(context: Context, resource: Resource, media_type: str, wanted: Any, old: Object) -> Object:
    """The object after the patch, decoded again; raises 400, 409 or 422."""
    try:
        if media_type == JSON_PATCH:
            found = patch.json_patch(old, wanted)
        elif media_type == MERGE_PATCH:
            found = patch.merge_patch(old, wanted)
        elif isinstance(resource, CustomResource):
            raise status.unsupported_media_type([each for each in SERVED if each != STRATEGIC_PATCH])
        else:
            found = patch.strategic_merge(old, wanted, context.services.scheme.schema_of(resource))
    except patch.PatchError as error:
        if media_type == JSON_PATCH:
            raise status.unprocessable_patch(None, "", str(error)) from error
        raise status.bad_request(str(error)) from error
    checked = body.checked(found, resource)
    decoded = pipeline.decoded(context, resource, checked)
    update.check_revision(resource, decoded, old)
    return decoded


async def handle(context: Context, resource: Resource) -> Result:
    if apply.is_apply(context):
        return await apply.handle(context, resource)
    accepted = context.accepted()
    media_type, wanted = await read_patch(context)
    entry = await patched(context, resource, media_type, wanted)
    return present.one(context, resource, entry.raw, accepted)


async def patched(
    context: Context, resource: Resource, media_type: str, wanted: Any, *, of_status: bool = False
) -> Any:
    """The entry after the patch; conflicts are tried again unless the patch names a resourceVersion."""

    async def make(old: Object) -> Object:
        context.warnings.clear()
        new = applied(context, resource, media_type, wanted, old)
        new = update.checked_name(context, resource, pipeline.named(context, resource, new))
        return pipeline.defaulted(context, resource, new)

    return await update.change(context, resource, make, of_status=of_status)
