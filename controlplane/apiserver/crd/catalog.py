"""From CRDs to a scheme that also serves them: what discovery, OpenAPI, authorization and dispatch look at.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from controlplane.apiserver.crd.definition import CustomResource, Definition, Version
from controlplane.objects.scheme import ResourceInfo, Scheme, Subresource

Raw = dict[str, Any]

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_PARTIAL: Final = ("get", "patch", "update")
_TYPE_META: Final[Raw] = {"type": "string"}


def _definition_name(resource: CustomResource, kind: str) -> str:
    return ".".join([*reversed(resource.group.split(".")), resource.version, kind])


def _marks(resource: CustomResource, kind: str) -> list[Raw]:
    return [{"group": resource.group, "version": resource.version, "kind": kind}]


def schema_form(raw: Mapping[str, Any]) -> Raw:
    """A part of a structural schema as our definitions write it: special types are marked."""
    form: Raw = dict(raw)
    if raw.get("x-kubernetes-int-or-string"):
        form["x-pilothouse-type"] = "int-or-string"
    elif raw.get("x-kubernetes-preserve-unknown-fields") and not raw.get("properties"):
        form["x-pilothouse-type"] = "any"
    properties = dict(raw.get("properties") or {})
    if raw.get("x-kubernetes-embedded-resource"):
        properties |= {"apiVersion": _TYPE_META, "kind": _TYPE_META, "metadata": {"type": "object"}}
    if properties:
        form["properties"] = {name: schema_form(part) for name, part in properties.items()}
    for name in ("items", "additionalProperties"):
        if isinstance(raw.get(name), dict):
            form[name] = schema_form(raw[name])
    if raw.get("additionalProperties") is True:
        form["additionalProperties"] = {"x-pilothouse-type": "any"}
    return form


def _definitions(resource: CustomResource, version: Version, list_kind: str) -> Raw:
    """{name: definition} of the kind and of its list."""
    name, list_name = _definition_name(resource, resource.kind), _definition_name(resource, list_kind)
    root = schema_form(
        {key: part for key, part in version.schema.items() if key != "x-kubernetes-preserve-unknown-fields"}
    )
    if version.schema.get("x-kubernetes-preserve-unknown-fields"):
        root["x-kubernetes-preserve-unknown-fields"] = True
    metadata = {"$ref": f"{_META}ObjectMeta"}
    properties = {**(root.get("properties") or {}), "apiVersion": _TYPE_META, "kind": _TYPE_META, "metadata": metadata}
    kind = {
        **root, "type": "object", "properties": properties, "x-kubernetes-group-version-kind": _marks(resource, resource.kind)
    }  # fmt: skip
    items = {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": _TYPE_META,
            "kind": _TYPE_META,
            "metadata": {"$ref": f"{_META}ListMeta"},
            "items": {"type": "array", "items": {"$ref": name}},
        },
        "x-kubernetes-group-version-kind": _marks(resource, list_kind),
    }
    return {name: kind, list_name: items}


def _info(definition: Definition, version: Version) -> tuple[ResourceInfo, Raw]:
    resource, names = definition.resource(version), definition.names
    list_kind = names.get("listKind") or f"{resource.kind}List"
    subresources = []
    if version.has_status:
        subresources.append(Subresource("status", _PARTIAL, resource.group, resource.version, resource.kind))
    if version.scale is not None:
        subresources.append(Subresource("scale", _PARTIAL, "autoscaling", "v1", "Scale"))
    info = ResourceInfo(
        resource,
        _VERBS,
        tuple(names.get("shortNames") or ()),
        tuple(names.get("categories") or ()),
        tuple(sorted(subresources, key=lambda found: found.name)),
        _definition_name(resource, resource.kind),
        _definition_name(resource, list_kind),
    )
    return info, _definitions(resource, version, list_kind)


# What a definition adds to a scheme; the scheme is made anew at every change of any definition.
_KNOWN: Final[WeakKeyDictionary[Definition, list[tuple[ResourceInfo, Raw]]]] = WeakKeyDictionary()


def _served(definition: Definition) -> list[tuple[ResourceInfo, Raw]]:
    found = _KNOWN.get(definition)
    if found is None:
        found = [_info(definition, version) for version in definition.versions if version.served]
        _KNOWN[definition] = found
    return found


def scheme_with(base: Scheme, definitions: Iterable[Definition]) -> Scheme:
    """The built-in scheme and every served version of these definitions."""
    infos: list[ResourceInfo] = []
    schemas: Raw = {}
    for definition in definitions:
        for info, found in _served(definition):
            infos.append(info)
            schemas |= found
    return base.with_resources(infos, schemas) if infos else base
