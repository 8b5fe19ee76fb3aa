"""/status: its writes change the status and leave the rest; also the pod's other partial views."""

from __future__ import annotations

from controlplane.apiserver import present
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import ownership, pipeline
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.verbs import apply, body, get, patch, update
from controlplane.objects import status
from controlplane.objects.kinds import Resource


async def handle(context: Context, resource: Resource) -> Result:
    if context.services.scheme.of(resource).subresource("status") is None:
        raise status.unknown_resource()
    verb = context.info.verb
    if verb == "get":
        return await get.handle(context, resource)
    if verb == "patch" and apply.is_apply(context):
        return await apply.handle_status(context, resource)
    if verb == "patch":
        accepted = context.accepted()
        media_type, wanted = await patch.read_patch(context)
        entry = await patch.patched(context, resource, media_type, wanted, of_status=True)
        return present.one(context, resource, entry.raw, accepted)
    if verb != "update":
        raise status.method_not_allowed()
    accepted = context.accepted()
    obj, raw = await body.read_raw(context, resource)
    new = pipeline.decoded(context, resource, obj, raw)
    new = update.checked_name(context, resource, pipeline.named(context, resource, new))

    async def make(old: Object) -> Object:
        update.check_revision(resource, new, old)
        return new

    entry = await update.change(context, resource, make, of_status=True)
    return present.one(context, resource, entry.raw, accepted)


async def _partial(context: Context, resource: Resource, part: str) -> Result:
    """GET, PUT and PATCH that may only change one part of a pod's spec."""
    if context.info.verb == "get":
        return await get.handle(context, resource)
    accepted = context.accepted()
    key = update.object_key(context, resource)

    def only(old: Object, new: Object) -> Object:
        spec = {**(old.get("spec") or {})}
        if part in (new.get("spec") or {}):
            spec[part] = new["spec"][part]
        return {**old, "spec": spec}

    owners = ownership.tracked
    if context.info.verb == "patch" and apply.is_apply(context):
        config, _ = await apply.read_configuration(context, resource)
        owners = ownership.as_applied

        async def make(old: Object) -> Object:
            new = await apply.change_of(context, resource, old, config, context.info.path.subresource)
            return {**only(old, new), "metadata": new["metadata"]}
    elif context.info.verb == "patch":
        media_type, wanted = await patch.read_patch(context)

        async def make(old: Object) -> Object:
            return only(old, patch.applied(context, resource, media_type, wanted, old))
    elif context.info.verb == "update":
        obj, raw = await body.read_raw(context, resource)
        new = pipeline.decoded(context, resource, obj, raw)

        async def make(old: Object) -> Object:
            update.check_revision(resource, new, old)
            return only(old, new)
    else:
        raise status.method_not_allowed()
    subresource = context.info.path.subresource
    entry = await update.change_at(context, resource, key, make, subresource=subresource, owners=owners)
    return present.one(context, resource, entry.raw, accepted)


async def handle_ephemeral_containers(context: Context, resource: Resource) -> Result:
    return await _partial(context, resource, "ephemeralContainers")


async def handle_resize(context: Context, resource: Resource) -> Result:
    return await _partial(context, resource, "containers")
