"""/scale: replicas of Deployments, ReplicaSets, StatefulSets and ReplicationControllers as autoscaling/v1 Scale."""

from __future__ import annotations

from typing import Any

from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import ownership, versions
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.verbs import apply, body, get, patch, update
from controlplane.objects import patch as patches
from controlplane.objects import selectors, status
from controlplane.objects.kinds import Resource
from controlplane.objects.status import FieldError

_KIND = Resource("autoscaling", "v1", "scales", "Scale", namespaced=True)
_KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def _selector(obj: Object) -> str:
    found: Any = (obj.get("spec") or {}).get("selector")
    if found is None:
        return ""
    is_map = not any(name in found for name in ("matchLabels", "matchExpressions"))
    return str(
        selectors.from_map(found)
        if is_map and obj["kind"] == "ReplicationController"
        else selectors.from_selector(found)
    )


def scale_of(obj: Object) -> Object:
    """The Scale of a workload."""
    metadata = {name: obj["metadata"][name] for name in _KEPT if name in obj["metadata"]}
    replicas = int((obj.get("spec") or {}).get("replicas", 1))
    found: Object = {"replicas": int((obj.get("status") or {}).get("replicas") or 0)}
    text = _selector(obj)
    if text:
        found["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas},
        "status": found,
    }


def _replicas(scale: Object, name: str) -> int:
    value: Any = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(value, int) or isinstance(value, bool):
        raise status.bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas must be an integer')
    if value < 0:
        error = FieldError.invalid("spec.replicas", value, "must be greater than or equal to 0")
        raise status.invalid("Scale.autoscaling", name, [error])
    return value


async def handle(context: Context, resource: Resource) -> Result:
    if context.services.scheme.of(resource).subresource("scale") is None:
        raise status.unknown_resource()
    verb, name = context.info.verb, context.info.path.name
    if verb == "get":
        entry = await get.entry_of(context, resource)
        return context.answer(scale_of(versions.from_stored(resource, entry.object())))
    if verb == "update":
        wanted = await body.read_object(context, _KIND)

        async def make(old: Object) -> Object:
            update.check_revision(resource, wanted, old)
            return {**old, "spec": {**(old.get("spec") or {}), "replicas": _replicas(wanted, name)}}
    elif verb == "patch" and apply.is_apply(context):
        return await _applied(context, resource)
    elif verb == "patch":
        media_type, change = await patch.read_patch(context)

        async def make(old: Object) -> Object:
            scale = _patched(scale_of(old), media_type, change)
            return {**old, "spec": {**(old.get("spec") or {}), "replicas": _replicas(scale, name)}}
    else:
        raise status.method_not_allowed()
    key = update.object_key(context, resource)
    entry = await update.change_at(context, resource, key, make, subresource="scale")
    return context.answer(scale_of(versions.from_stored(resource, entry.object())))


async def _applied(context: Context, resource: Resource) -> Result:
    """Server-side apply of a Scale: its replicas are the workload's, and owned there."""
    config, _ = await apply.read_configuration(context, _KIND)
    name = context.info.path.name
    given = config["metadata"].get("name") or name
    if given != name:
        raise status.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")
    spec: Object = {"replicas": _replicas(config, name)} if "replicas" in (config.get("spec") or {}) else {}
    wanted = {
        "apiVersion": resource.group_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": context.info.path.namespace},
        "spec": spec,
    }

    async def make(old: Object) -> Object:
        return await apply.change_of(context, resource, old, wanted, "scale")

    key = update.object_key(context, resource)
    entry = await update.change_at(context, resource, key, make, subresource="scale", owners=ownership.as_applied)
    return context.answer(scale_of(versions.from_stored(resource, entry.object())))


def _patched(scale: Object, media_type: str, change: Any) -> Object:
    try:
        if media_type == patch.JSON_PATCH:
            found: Object = patches.json_patch(scale, change)
        else:
            found = patches.merge_patch(scale, change)
    except patches.PatchError as error:
        raise status.unprocessable_patch(None, "", str(error)) from error
    return found
