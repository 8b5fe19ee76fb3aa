"""pods/binding and bindings: the scheduler's word on which node runs a pod."""

from __future__ import annotations

from typing import Any

from controlplane.apiserver import admission
from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.registry import pipeline
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.verbs import body, update
from controlplane.objects import meta, status
from controlplane.objects.kinds import BINDINGS, PODS, Resource
from controlplane.objects.status import FieldError


async def handle(context: Context, resource: Resource) -> Result:
    if context.info.verb != "create":
        raise status.method_not_allowed()
    binding = await body.read_object(context, BINDINGS)
    name = context.info.path.name or binding["metadata"].get("name") or ""
    given = binding["metadata"].get("name") or name
    if given != name:
        raise status.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")
    target: Any = binding.get("target") or {}
    node = target.get("name") or ""
    if target.get("kind") not in (None, "", "Node"):
        error = FieldError.not_supported("target.kind", target.get("kind"), ("Node", "<empty>"))
        raise status.invalid("Binding", name, [error])
    if not node:
        raise status.invalid("Binding", name, [FieldError.required("target.name")])
    below = context.info.path.subresource
    told = pipeline.attributes(context, PODS if below else BINDINGS, "CREATE", binding, {}, below)
    metadata = (await admission.consult(told))["metadata"]

    async def bind(old: Object) -> Object:
        return _bound(context, old, node, metadata)

    key = layout.key("", "pods", context.info.path.namespace, name)
    await update.change_at(context, PODS, key, bind, update.as_given, "binding")
    return context.answer(status.success(code=201), 201)


def _bound(context: Context, pod: Object, node: str, binding: Object) -> Object:
    name = pod["metadata"]["name"]
    uid = binding.get("uid")
    if uid and uid != pod["metadata"].get("uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {pod['metadata'].get('uid')}"
        raise status.conflict(PODS, name, why)
    if pod["metadata"].get("deletionTimestamp") is not None:
        raise status.conflict(PODS, name, f"pod {name} is being deleted, cannot be assigned to a host")
    current = (pod.get("spec") or {}).get("nodeName")
    if current:
        raise status.conflict(PODS, name, f'pod {name} is already assigned to node "{current}"')
    if (pod.get("spec") or {}).get("schedulingGates"):
        raise status.conflict(PODS, name, f"pod {name} has non-empty .spec.schedulingGates")
    condition = {"type": "PodScheduled", "status": "True"}
    found = dict(pod.get("status") or {})
    found["conditions"] = meta.with_condition(
        found.get("conditions") or [], condition, context.services.environment.now()
    )
    merged = {**pod["metadata"]}
    for part in ("annotations", "labels"):
        if binding.get(part):
            merged[part] = {**(merged.get(part) or {}), **binding[part]}
    return {**pod, "metadata": merged, "spec": {**pod["spec"], "nodeName": node}, "status": found}
