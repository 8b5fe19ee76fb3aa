"""get and list of metrics.k8s.io: objects made of what is measured and of the metadata of what it is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.apiserver import negotiate, present
from controlplane.apiserver.context import Answer, Context, Result
from controlplane.apiserver.nodemetrics.definitions import GROUP, VERSION
from controlplane.apiserver.nodemetrics.samples import NODE, usage
from controlplane.apiserver.nodemetrics.source import Measurement
from controlplane.apiserver.storage import codec, layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status
from controlplane.objects.kinds import NODES, PODS, Resource
from controlplane.objects.selectors import FieldSelector, LabelSelector, SelectorError, parse_fields, parse_labels

_FIELDS: Final = ("metadata.name", "metadata.namespace")


async def handle(context: Context, resource: Resource) -> Result:
    """Either verb on either resource."""
    measured_on = NODES if resource.plural == NODES.plural else PODS
    found = [obj for obj in await _selected(context, measured_on) if _is_measurable(measured_on, obj)]
    measure = context.services.node_metrics.measure
    if measured_on is NODES:
        measurements = await measure(context.services, (obj["metadata"]["name"] for obj in found))
        items = [item for obj in found if (item := _node_metrics(obj, measurements)) is not None]
        if context.info.verb == "list" and not context.raw_query:
            context.services.node_metrics.forget_others(obj["metadata"]["name"] for obj in found)
    else:
        measurements = await measure(context.services, (obj["spec"]["nodeName"] for obj in found))
        items = [item for obj in found if (item := _pod_metrics(obj, measurements)) is not None]
    if context.info.verb == "list":
        return _many(context, resource, items)
    if not items:
        raise status.not_found(resource, context.info.path.name)
    return present.one(context, resource, codec.encode_json(items[0]), context.accepted())


async def _selected(context: Context, resource: Resource) -> list[Object]:
    """The nodes or pods that are asked for, as they are in the cache."""
    path = context.info.path
    cache = await context.services.caches.ready(resource)
    if context.info.verb == "get":
        entry = cache.get(layout.key(resource.group, resource.plural, path.namespace, path.name).encode())
        if entry is None:
            raise status.not_found(Resource(GROUP, VERSION, path.resource, path.resource, True), path.name)
        return [entry.object()]
    try:
        labels = parse_labels(context.query.get("labelSelector", ""))
        fields = parse_fields(context.query.get("fieldSelector", ""))
    except SelectorError as error:
        raise status.bad_request(str(error)) from error
    _check(fields)
    prefix = layout.scope_prefix(resource.group, resource.plural, path.namespace).encode()
    return [entry.object() for entry in cache.entries(prefix) if _matches(entry.object(), labels, fields)]


def _check(fields: FieldSelector) -> None:
    for requirement in fields.requirements:
        if requirement.field not in _FIELDS:
            raise status.bad_request(f"field label not supported: {requirement.field}")


def _matches(obj: Object, labels: LabelSelector, fields: FieldSelector) -> bool:
    metadata = obj["metadata"]
    values = {"metadata.name": metadata["name"], "metadata.namespace": metadata.get("namespace", "")}
    return labels.matches(metadata.get("labels") or {}) and fields.matches(lambda name: values[name])


def _is_measurable(resource: Resource, obj: Object) -> bool:
    """A running pod; a Ready node whose kubelet serves."""
    found: Object = obj.get("status") or {}
    if resource is PODS:
        return bool((obj.get("spec") or {}).get("nodeName")) and found.get("phase") == "Running"
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in found.get("conditions") or ())
    return ready and bool(found.get("daemonEndpoints"))


def _metrics(kind: str, obj: Object, measured: Measurement) -> dict[str, Any]:
    metadata = {"name": obj["metadata"]["name"], "creationTimestamp": measured.until.strftime("%Y-%m-%dT%H:%M:%SZ")}
    for name in ("namespace", "labels"):
        if obj["metadata"].get(name):
            metadata[name] = obj["metadata"][name]
    return {
        "kind": kind,
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": metadata,
        "timestamp": metadata["creationTimestamp"],
        "window": f"{measured.seconds:.3f}s",
    }


def _node_metrics(node: Object, measurements: dict[str, Measurement]) -> Object | None:
    measured = measurements.get(node["metadata"]["name"])
    used = measured.used.get(NODE) if measured is not None else None
    if measured is None or used is None:
        return None
    return {**_metrics("NodeMetrics", node, measured), "usage": usage(used.cores, used.memory_bytes)}


def _containers(pod: Object, measured: Measurement) -> Iterator[Object]:
    where = (pod["metadata"]["namespace"], pod["metadata"]["name"])
    for name, used in measured.used.items():
        if name[:2] == where:
            yield {"name": name[2], "usage": usage(used.cores, used.memory_bytes)}


def _pod_metrics(pod: Object, measurements: dict[str, Measurement]) -> Object | None:
    measured = measurements.get(pod["spec"]["nodeName"])
    containers = list(_containers(pod, measured)) if measured is not None else []
    if measured is None or not containers:
        return None
    return {**_metrics("PodMetrics", pod, measured), "containers": containers}


def _many(context: Context, resource: Resource, items: list[Object]) -> Answer:
    accepted = context.accepted()
    if accepted.transform == present.TABLE:
        document = present.table_of(context, resource, items, {}, accepted.version)
    elif accepted.transform:
        partial = [present.partial(item, accepted.version) for item in items]
        api_version = f"meta.k8s.io/{accepted.version}"
        kind = "PartialObjectMetadataList"
        document = {"kind": kind, "apiVersion": api_version, "metadata": {}, "items": partial}
    else:
        kind = f"{resource.kind}List"
        document = {"kind": kind, "apiVersion": resource.group_version, "metadata": {}, "items": items}
    return Answer(negotiate.render(document, accepted.media_type), media_type=accepted.media_type)
