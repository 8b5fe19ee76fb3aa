"""NodeMetrics and PodMetrics as resources of the scheme."""

from __future__ import annotations

from typing import Any, Final

from controlplane.objects.kinds import Resource
from controlplane.objects.scheme import ResourceInfo, Scheme

GROUP: Final = "metrics.k8s.io"
VERSION: Final = "v1beta1"
NODE_METRICS: Final = Resource(GROUP, VERSION, "nodes", "NodeMetrics", False)
POD_METRICS: Final = Resource(GROUP, VERSION, "pods", "PodMetrics", True)

_PACKAGE: Final = "io.k8s.metrics.pkg.apis.metrics.v1beta1"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_STRING: Final = {"type": "string"}
_USAGE: Final = {
    "additionalProperties": {"$ref": "io.k8s.apimachinery.pkg.api.resource.Quantity"},
    "description": "cpu in cores over the window, memory in bytes at its end",
    "type": "object",
}


def _common() -> dict[str, Any]:
    return {
        "apiVersion": _STRING,
        "kind": _STRING,
        "metadata": {"$ref": f"{_META}.ObjectMeta"},
        "timestamp": {"$ref": f"{_META}.Time", "description": "the end of the window"},
        "window": {"description": "how long was measured", "type": "string"},
    }


def _kind(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    mark = {"group": GROUP, "kind": name, "version": VERSION}
    return {"properties": properties, "type": "object", "x-kubernetes-group-version-kind": [mark]}


def _list(name: str) -> dict[str, Any]:
    items = {"items": {"$ref": f"{_PACKAGE}.{name}"}, "type": "array"}
    properties = {"apiVersion": _STRING, "items": items, "kind": _STRING, "metadata": {"$ref": f"{_META}.ListMeta"}}
    return {**_kind(f"{name}List", properties), "required": ["items"]}


def _definitions() -> dict[str, Any]:
    container = {"properties": {"name": _STRING, "usage": _USAGE}, "required": ["name", "usage"], "type": "object"}
    containers = {"items": {"$ref": f"{_PACKAGE}.ContainerMetrics"}, "type": "array"}
    return {
        f"{_PACKAGE}.ContainerMetrics": container,
        f"{_PACKAGE}.NodeMetrics": _kind("NodeMetrics", {**_common(), "usage": _USAGE}),
        f"{_PACKAGE}.NodeMetricsList": _list("NodeMetrics"),
        f"{_PACKAGE}.PodMetrics": _kind("PodMetrics", {**_common(), "containers": containers}),
        f"{_PACKAGE}.PodMetricsList": _list("PodMetrics"),
    }


def _info(resource: Resource) -> ResourceInfo:
    name = f"{_PACKAGE}.{resource.kind}"
    return ResourceInfo(resource, ("get", "list"), (), (), (), name, f"{name}List")


def with_metrics(scheme: Scheme) -> Scheme:
    """A scheme that also serves metrics.k8s.io."""
    return scheme.with_resources((_info(NODE_METRICS), _info(POD_METRICS)), _definitions())
