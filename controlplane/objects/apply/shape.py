"""What server-side apply asks of a schema: what is owned as a whole, what part by part, and which item of a list is which.

Source: the rules that upstream derives from x-kubernetes-list-type, -list-map-keys and -map-type.  What no schema describes
is taken apart by what it is: maps key by key, lists as a whole.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from controlplane.objects.apply import elements
from controlplane.objects.schema import Definitions, Schema

Form = Literal["leaf", "map", "list"]

ANY: Final = Definitions({}).resolve({})


class _Emptied:
    """Falsy, and equal to nothing else."""

    def __bool__(self) -> bool:
        return False


EMPTIED: Final[Any] = _Emptied()  # stands for what a removal left nothing of; claims its place like a null


class ElementError(ValueError):
    """An item of a list that cannot be told from the others; the message says why."""


def form(schema: Schema, value: Any) -> Form:
    """How a value is owned: a leaf (scalars, atomic lists and maps), a map (also objects) by its keys, a list by items."""
    if isinstance(value, dict):
        is_map = schema.type in ("object", "map", "any") and schema.map_type != "atomic"
        return "map" if is_map else "leaf"
    if isinstance(value, list):
        return "list" if schema.list_type in ("set", "map") and schema.type == "array" else "leaf"
    return "leaf"


def empty_form(schema: Schema) -> Form:
    """How a value that is null would be owned."""
    if schema.type in ("object", "map"):
        return "leaf" if schema.map_type == "atomic" else "map"
    return "list" if schema.type == "array" and schema.list_type in ("set", "map") else "leaf"


def child(schema: Schema, name: str) -> Schema:
    """The schema of a field or of a key's value."""
    if schema.type == "object":
        return schema.fields.get(name) or ANY
    return schema.values if schema.type == "map" else ANY


def is_named(schema: Schema, name: str) -> bool:
    """Whether the schema itself names this field (a key of a map is not named)."""
    return schema.type == "object" and name in schema.fields


def element(schema: Schema, item: Any) -> str:
    """The path element of an item of a list of type set or map.  Raises ElementError."""
    if schema.list_type == "set":
        if isinstance(item, dict | list) or item is None:
            what = (
                "a map type" if isinstance(item, dict) else "a list" if isinstance(item, list) else "an explicit null"
            )
            raise ElementError(f"associative list without keys has an element that's {what}")
        return elements.value(item)
    if not isinstance(item, dict):
        raise ElementError("associative list with keys may not have non-map elements")
    pairs = {}
    for name in schema.list_map_keys:
        value = item.get(name)
        if value is None:
            described = schema.items.fields.get(name)
            value = described.default if described is not None else None
        if value is not None:
            pairs[name] = value
    if not pairs:
        names = " ".join(f'"{name}"' for name in schema.list_map_keys)
        raise ElementError(
            f"associative list with keys has an element that omits all key fields [{names}]"
            " (and doesn't have default values for any key fields)"
        )
    return elements.key(pairs)


# Fields that Go always has, because they are neither pointers nor left out when empty: an object that lacks one is like
# one that has it empty, so that whoever fills it does not own it as a whole.
_ALWAYS: Final = frozenset({
    ("DeploymentSpec", "strategy"), ("StatefulSetSpec", "updateStrategy"), ("DaemonSetSpec", "updateStrategy"),
    ("DeploymentSpec", "template"), ("StatefulSetSpec", "template"), ("DaemonSetSpec", "template"),
    ("ReplicaSetSpec", "template"), ("JobSpec", "template"), ("CronJobSpec", "jobTemplate"), ("PodTemplate", "template"),
    ("PodTemplateSpec", "spec"), ("JobTemplateSpec", "spec"), ("PodSpec", "containers"), ("Container", "resources"),
    ("EphemeralContainer", "resources"), ("PersistentVolumeClaimSpec", "resources"), ("ContainerStatus", "state"),
    ("ContainerStatus", "lastState"), ("ServiceStatus", "loadBalancer"), ("IngressStatus", "loadBalancer"),
    ("NodeStatus", "nodeInfo"), ("NodeStatus", "daemonEndpoints"), ("NodeDaemonEndpoints", "kubeletEndpoint"),
    ("Event", "involvedObject"), ("Event", "source"), ("Event", "regarding"), ("Event", "deprecatedSource"),
    ("RoleBinding", "roleRef"), ("ClusterRoleBinding", "roleRef"), ("HorizontalPodAutoscalerSpec", "scaleTargetRef"),
    ("NetworkPolicySpec", "podSelector"), ("CustomResourceDefinitionSpec", "names"),
    ("CustomResourceDefinitionStatus", "acceptedNames"), ("VolumeAttachmentSpec", "source"),
    ("IngressServiceBackend", "port"),
})  # fmt: skip
_BUILT_IN: Final = ("io.k8s.api.", "io.k8s.apimachinery.", "io.k8s.apiextensions-apiserver.", "io.k8s.kube-aggregator.")
_FOUND: Final[dict[str, dict[str, Any]]] = {}  # by definition: those of built-in kinds are the same in every scheme
_NONE: Final[dict[str, Any]] = {}


def always(schema: Schema) -> dict[str, Any]:
    """The fields that an object of this schema always has, each with its empty value."""
    if schema.type != "object" or not schema.name.startswith(_BUILT_IN):
        return _NONE
    found = _FOUND.get(schema.name)
    if found is None:
        is_root = "metadata" in schema.fields and "kind" in schema.fields
        found = _FOUND[schema.name] = {
            name: [] if part.type == "array" else {}
            for name, part in schema.fields.items()
            if (schema.short_name, name) in _ALWAYS
            or part.short_name == "ObjectMeta"
            or (is_root and name in ("spec", "status"))
        }
    return found
