"""/scale of a custom resource: replicas at the paths that its definition names."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.verbs import body, get, patch, update
from controlplane.objects import patch as patches
from controlplane.objects import status
from controlplane.objects.kinds import Resource
from controlplane.objects.meta import get_in, set_in
from controlplane.objects.status import FieldError
from controlplane.objects.structural.jsonpath import simple_steps

_KIND: Final = Resource("autoscaling", "v1", "scales", "Scale", namespaced=True)
_KEPT: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def _at(obj: Object, path: str) -> Any:
    return get_in(obj, *(simple_steps(path) or ()))


def scale_of(resource: CustomResource, obj: Object) -> Object:
    """The Scale of a custom object; raises 500 when it says no replicas, as Kubernetes does."""
    paths: Object = resource.of.scale or {}
    replicas = _at(obj, paths["specReplicasPath"])
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise status.internal_error(f'the spec replicas field "{paths["specReplicasPath"]}" does not exist')
    found: Object = {"replicas": int(_at(obj, paths["statusReplicasPath"]) or 0)}
    selector = _at(obj, paths["labelSelectorPath"]) if paths.get("labelSelectorPath") else ""
    if selector:
        found["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: obj["metadata"][name] for name in _KEPT if name in obj["metadata"]},
        "spec": {"replicas": replicas},
        "status": found,
    }


def _replicas(resource: CustomResource, scale: Object, name: str) -> int:
    value: Any = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(value, int) or isinstance(value, bool):
        raise status.bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas must be an integer')
    if value < 0:
        error = FieldError.invalid("spec.replicas", value, "should be a non-negative integer")
        raise status.invalid(resource, name, [error])
    return value


def _patched(scale: Object, media_type: str, change: Any) -> Object:
    try:
        if media_type == patch.JSON_PATCH:
            found: Object = patches.json_patch(scale, change)
        else:
            found = patches.merge_patch(scale, change)
    except patches.PatchError as error:
        raise status.unprocessable_patch(None, "", str(error)) from error
    return found


async def handle(context: Context, resource: Resource) -> Result:
    if not isinstance(resource, CustomResource) or resource.of.scale is None:
        raise status.unknown_resource()
    path = resource.of.scale["specReplicasPath"]
    verb, name = context.info.verb, context.info.path.name
    steps = simple_steps(path) or ()
    if verb == "get":
        entry = await get.entry_of(context, resource)
        return context.answer(scale_of(resource, entry.object()))
    if verb == "update":
        wanted = await body.read_object(context, _KIND)

        async def make(old: Object) -> Object:
            update.check_revision(_KIND, wanted, old)
            return set_in(old, steps, _replicas(resource, wanted, name))
    elif verb == "patch":
        media_type, change = await patch.read_patch(context)

        async def make(old: Object) -> Object:
            before = scale_of(resource, set_in(old, steps, _at(old, path) or 0))
            return set_in(old, steps, _replicas(resource, _patched(before, media_type, change), name))
    else:
        raise status.method_not_allowed()
    key = update.object_key(context, resource)
    entry = await update.change_at(context, resource, key, make, subresource="scale")
    return context.answer(scale_of(resource, entry.object()))
