"""What field selectors see, per kind: one table, the same that every watcher of a resource is matched with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status
from controlplane.objects.kinds import Resource
from controlplane.objects.selectors import FieldSelector

FieldsOf = Callable[[Object], Mapping[str, str]]

_COMMON: Final = ("metadata.name", "metadata.namespace")
_INVOLVED: Final = tuple(
    f"involvedObject.{name}"
    for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
)
_EVENT: Final = (*_INVOLVED, "reason", "reportingComponent", "source", "type")

# Selectable fields, beyond name and namespace, by (group, plural) of storage.
_TABLE: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("", "pods"): (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    ("", "events"): _EVENT,
    ("", "secrets"): ("type",),
    ("", "namespaces"): ("status.phase",),
    ("", "replicationcontrollers"): ("status.replicas",),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("apps", "replicasets"): ("status.replicas",),
    ("batch", "jobs"): ("status.successful",),
    ("certificates.k8s.io", "certificatesigningrequests"): ("spec.signerName",),
}
_DEFAULTS: Final = {
    "status.replicas": "0",
    "status.successful": "0",
    "spec.unschedulable": "false",
    "spec.hostNetwork": "false",
}
_PATHS: Final = {"status.successful": ("status", "succeeded")}
# The fields of events.k8s.io are selected by their core names too.
_ALIASES: Final = {
    **{f"regarding.{name.split('.', 1)[1]}": name for name in _INVOLVED},
    "reportingController": "reportingComponent",
}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _value(obj: Object, name: str) -> str:
    if name == "source":
        return _text((obj.get("source") or {}).get("component") or obj.get("reportingComponent"))
    if name == "status.podIPs":
        return ",".join(each.get("ip", "") for each in (obj.get("status") or {}).get("podIPs") or [])
    value: Any = obj
    for step in _PATHS.get(name) or name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return _text(value) or _DEFAULTS.get(name, "")


def fields_of(group: str, plural: str) -> FieldsOf:
    """The function that gives an object's selectable fields as text; `group` and `plural` are those of storage."""
    names = (*_COMMON, *_TABLE.get((group, plural), ()))
    return lambda obj: {name: _value(obj, name) for name in names}


def fields_of_resource(resource: Resource) -> FieldsOf:
    """The same for a resource, which may be a custom one."""
    if isinstance(resource, CustomResource):
        names = (*_COMMON, *resource.definition.selectable)
        return lambda obj: {name: _value(obj, name) for name in names}
    return fields_of(*layout.storage_identity(resource.group, resource.plural))


def check(resource: Resource, selector: FieldSelector) -> FieldSelector:
    """The selector in the storage's names; raises 400 for a field that the kind does not offer."""
    group, plural = layout.storage_identity(resource.group, resource.plural)
    allowed = {*_COMMON, *_TABLE.get((group, plural), ())}
    if isinstance(resource, CustomResource):
        allowed = {*_COMMON, *(path.lstrip(".") for path in resource.of.selectable)}
    for name in selector.fields():
        if name not in allowed and (plural != "events" or name not in _ALIASES):
            raise status.bad_request(f"field label not supported: {name}")
    return selector


def canonical(name: str) -> str:
    """The name under which a field is kept."""
    return _ALIASES.get(name, name)
