"""Whether an openAPIV3Schema is structural: every node typed, no keyword that a server could not prune or default by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controlplane.objects.status import FieldError
from controlplane.objects.structural.default import default
from controlplane.objects.structural.node import Node
from controlplane.objects.structural.patterns import PatternError, compile_pattern
from controlplane.objects.structural.prune import prune
from controlplane.objects.structural.validate import validate

Raw = Mapping[str, Any]
Errors = list[FieldError]

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_NOT_SUPPORTED: Final = (
    "$ref",
    "definitions",
    "dependencies",
    "deprecated",
    "discriminator",
    "id",
    "patternProperties",
)
_LIST_TYPES: Final = ("atomic", "map", "set")
_MAP_TYPES: Final = ("atomic", "granular")
# in allOf, anyOf, oneOf and not there may be nothing of these
_STRUCTURE_ONLY: Final = {
    "type": "must be empty to be structural",
    "description": "must be empty to be structural",
    "title": "must be empty to be structural",
    "default": "must be undefined to be structural",
    "additionalProperties": "must be undefined to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be undefined to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_INT_OR_STRING_FORMS: Final = ({"type": "integer"}, {"type": "string"})


def check(schema: Raw, path: str) -> Errors:
    """Everything that keeps the schema from being structural; `path` is that of openAPIV3Schema."""
    found: Errors = []
    if not schema.get("type"):
        found.append(FieldError.required(f"{path}.type", "must not be empty at the root"))
    elif schema["type"] != "object":
        found.append(FieldError.invalid(f"{path}.type", schema["type"], "must be object at the root"))
    if schema.get("nullable"):
        found.append(FieldError.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    _node(schema, path, found, "root")
    if not found:
        _defaults(schema, path, found)
    return found


def _node(raw: Raw, path: str, found: Errors, place: str) -> None:
    _keywords(raw, path, found)
    _type(raw, path, found, place)
    _extensions(raw, path, found)
    _metadata(raw, path, found, place == "root" or bool(raw.get("x-kubernetes-embedded-resource")))
    for name, part in (raw.get("properties") or {}).items():
        _node(part, f"{path}.properties[{name}]", found, "object fields")
    if isinstance(raw.get("items"), dict):
        _node(raw["items"], f"{path}.items", found, "array items")
    if isinstance(raw.get("additionalProperties"), dict):
        _node(raw["additionalProperties"], f"{path}.additionalProperties", found, "object fields")
    _junctors(raw, raw, path, found)


def _keywords(raw: Raw, path: str, found: Errors) -> None:
    for name in _NOT_SUPPORTED:
        if raw.get(name):
            found.append(FieldError.forbidden(f"{path}.{name}", f"{name} is not supported"))
    if raw.get("uniqueItems"):
        words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.append(FieldError.forbidden(f"{path}.uniqueItems", words))
    if raw.get("additionalItems") is not None:
        found.append(FieldError.forbidden(f"{path}.additionalItems", "additionalItems is not supported"))
    if raw.get("properties") and raw.get("additionalProperties") is not None:
        words = "additionalProperties and properties are mutual exclusive"
        found.append(FieldError.forbidden(f"{path}.additionalProperties", words))
    elif raw.get("additionalProperties") is False:
        found.append(
            FieldError.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
        )
    if isinstance(raw.get("items"), list):
        words = "items must be a schema object and not an array"
        found.append(FieldError.forbidden(f"{path}.items", words))
    if raw.get("pattern"):
        try:
            compile_pattern(raw["pattern"])
        except PatternError:
            found.append(
                FieldError.invalid(f"{path}.pattern", raw["pattern"], "must be a valid regular expression, but isn't")
            )


def _type(raw: Raw, path: str, found: Errors, place: str) -> None:
    kind = raw.get("type")
    if not kind:
        exempt = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
        if place != "root" and not exempt:
            found.append(FieldError.required(f"{path}.type", f"must not be empty for specified {place}"))
    elif kind not in _TYPES:
        found.append(FieldError.not_supported(f"{path}.type", kind, _TYPES))
    elif kind == "array" and raw.get("items") is None:
        found.append(FieldError.required(f"{path}.items", "must be specified"))


def _extensions(raw: Raw, path: str, found: Errors) -> None:
    kind = raw.get("type")
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        words = "must be true or undefined"
        found.append(FieldError.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, words))
    if raw.get("x-kubernetes-int-or-string") and kind:
        words = "must be empty if x-kubernetes-int-or-string is true"
        found.append(FieldError.invalid(f"{path}.type", kind, words))
    if raw.get("x-kubernetes-embedded-resource"):
        if kind and kind != "object":
            words = "must be object if x-kubernetes-embedded-resource is true"
            found.append(FieldError.invalid(f"{path}.type", kind, words))
        if not raw.get("properties") and not raw.get("x-kubernetes-preserve-unknown-fields"):
            words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
            found.append(FieldError.required(f"{path}.properties", words))
    _list_type(raw, path, found)
    map_type = raw.get("x-kubernetes-map-type")
    if map_type is not None and map_type not in _MAP_TYPES:
        found.append(FieldError.not_supported(f"{path}.x-kubernetes-map-type", map_type, _MAP_TYPES))
    elif map_type is not None and kind != "object":
        found.append(
            FieldError.invalid(f"{path}.type", kind or "", "must be object if x-kubernetes-map-type is specified")
        )


def _list_type(raw: Raw, path: str, found: Errors) -> None:
    list_type, keys = raw.get("x-kubernetes-list-type"), raw.get("x-kubernetes-list-map-keys") or []
    if list_type is None:
        if keys:
            words = "must be map if x-kubernetes-list-map-keys is non-empty"
            found.append(FieldError.required(f"{path}.x-kubernetes-list-type", words))
        return
    if list_type not in _LIST_TYPES:
        found.append(FieldError.not_supported(f"{path}.x-kubernetes-list-type", list_type, _LIST_TYPES))
        return
    if raw.get("type") != "array":
        words = "must be array if x-kubernetes-list-type is specified"
        found.append(FieldError.invalid(f"{path}.type", raw.get("type") or "", words))
        return
    items = raw.get("items") if isinstance(raw.get("items"), dict) else {}
    if list_type != "map":
        if keys:
            words = "must be map if x-kubernetes-list-map-keys is non-empty"
            found.append(FieldError.invalid(f"{path}.x-kubernetes-list-type", list_type, words))
        return
    _map_keys(items or {}, keys, path, found)


def _map_keys(items: Raw, keys: list[str], path: str, found: Errors) -> None:
    if items.get("type") != "object":
        words = "must be object if parent array's x-kubernetes-list-type is map"
        found.append(FieldError.invalid(f"{path}.items.type", items.get("type") or "", words))
    if not keys:
        words = "must not be empty if x-kubernetes-list-type is map"
        found.append(FieldError.required(f"{path}.x-kubernetes-list-map-keys", words))
    for at, key in enumerate(keys):
        part = (items.get("properties") or {}).get(key)
        where = f"{path}.x-kubernetes-list-map-keys[{at}]"
        if part is None:
            found.append(FieldError.invalid(where, key, "entries must all be names of item properties"))
        elif part.get("type") not in ("string", "integer", "number", "boolean"):
            words = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            found.append(FieldError.invalid(f"{path}.items.properties[{key}].type", part.get("type") or "", words))
        elif key not in (items.get("required") or ()) and "default" not in part:
            words = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            found.append(FieldError.required(f"{path}.items.properties[{key}].default", words))
        if key in keys[:at]:
            found.append(FieldError.duplicate(where, key))


def _metadata(raw: Raw, path: str, found: Errors, is_object: bool) -> None:
    if not is_object:
        return
    metadata = (raw.get("properties") or {}).get("metadata")
    if metadata is None:
        return
    allowed = {"name", "generateName"}
    if metadata.get("type", "object") != "object":
        found.append(FieldError.invalid(f"{path}.properties[metadata].type", metadata["type"], "must be object"))
    beyond = set(metadata.get("properties") or {}) - allowed
    if beyond or set(metadata) - {"type", "description", "properties"}:
        words = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        found.append(FieldError.forbidden(f"{path}.properties[metadata]", words))


def _junctors(owner: Raw, raw: Raw, path: str, found: Errors) -> None:
    """What stands in allOf, anyOf, oneOf and not only restricts what the structure outside says."""
    allows_forms = bool(owner.get("x-kubernetes-int-or-string"))
    for word in ("allOf", "anyOf", "oneOf"):
        parts = raw.get(word) or ()
        if allows_forms and word == "anyOf" and [dict(part) for part in parts] == list(_INT_OR_STRING_FORMS):
            continue
        for at, part in enumerate(parts):
            if allows_forms and dict(part) == {"anyOf": list(_INT_OR_STRING_FORMS)}:
                continue
            _restriction(owner, part, f"{path}.{word}[{at}]", found)
    if isinstance(raw.get("not"), dict):
        _restriction(owner, raw["not"], f"{path}.not", found)


def _restriction(owner: Raw, raw: Raw, path: str, found: Errors) -> None:
    for name, words in _STRUCTURE_ONLY.items():
        if name in raw and (raw[name] not in (None, "", [], False) or name == "default"):
            found.append(FieldError.forbidden(f"{path}.{name}", words))
    _keywords(raw, path, found)
    known = owner.get("properties") or {}
    for name, part in (raw.get("properties") or {}).items():
        outside = known.get(name)
        if outside is None and not isinstance(owner.get("additionalProperties"), dict):
            where = path.rpartition(".")[0]
            words = f"because it is defined in {path}.properties[{name}]"
            found.append(FieldError.required(f"{where}.properties[{name}]", words))
        _restriction(outside or owner.get("additionalProperties") or {}, part, f"{path}.properties[{name}]", found)
    if isinstance(raw.get("items"), dict):
        _restriction(owner.get("items") or {}, raw["items"], f"{path}.items", found)
    _junctors(owner, raw, path, found)


def _defaults(raw: Raw, path: str, found: Errors) -> None:
    """A default is a value of its own schema, and nothing of it would be pruned."""
    if "default" in raw:
        node = Node.compile(raw)
        value = raw["default"]
        pruned, _ = prune(node, value) if isinstance(value, (dict, list)) else (value, [])
        if pruned != value and not node.embedded:
            found.append(FieldError.invalid(f"{path}.default", value, "must not have unknown fields"))
        for error in validate(node, default(node, value), f"{path}.default"):
            found.append(error)
    for name, part in (raw.get("properties") or {}).items():
        _defaults(part, f"{path}.properties[{name}]", found)
    for name in ("items", "additionalProperties"):
        if isinstance(raw.get(name), dict):
            _defaults(raw[name], f"{path}.{name}", found)
