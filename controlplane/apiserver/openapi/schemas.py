"""Definitions in a dialect of OpenAPI: references, special types, prose.

Version 3 allows nothing beside a reference, so marks and prose go around it (`allOf`); version 2 has them beside it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controlplane.objects.rules.enums import ENUMS
from controlplane.objects.schema import Definitions

Document = dict[str, Any]
Descriptions = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """`prefix` of references, whether they may have siblings, and how special types are written."""

    prefix: str
    bare_references: bool
    special: Mapping[str, Document]
    without: frozenset[str] = frozenset()  # keywords that the dialect lacks


_TIME: Final[Document] = {"type": "string", "format": "date-time"}
V3: Final = Dialect(
    "#/components/schemas/",
    True,
    {
        "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
        "int-or-string": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
        "time": _TIME,
        "micro-time": _TIME,
    },
)
V2: Final = Dialect(
    "#/definitions/",
    False,
    {
        "quantity": {"type": "string"},
        "int-or-string": {"type": "string", "format": "int-or-string"},
        "time": _TIME,
        "micro-time": _TIME,
    },
    frozenset({"allOf", "anyOf", "oneOf", "not", "nullable"}),
)


def _reference(raw: Mapping[str, Any], dialect: Dialect) -> Document:
    reference = {"$ref": dialect.prefix + raw["$ref"]}
    beside = {key: value for key, value in raw.items() if key != "$ref"}
    if not beside:
        return reference
    return {**beside, "allOf": [reference]} if dialect.bare_references else {**beside, **reference}


def _convert(raw: Mapping[str, Any], dialect: Dialect) -> Document:
    """One schema; the descriptions of fields are merged by the caller."""
    if isinstance(raw.get("$ref"), str):
        return _reference(raw, dialect)
    special: str = raw.get("x-pilothouse-type", "")
    if special in dialect.special:
        return dict(dialect.special[special])
    converted: Document = {}
    for key, value in raw.items():
        if key in ("items", "additionalProperties"):
            converted[key] = _convert(value, dialect)
        elif key == "properties":
            converted[key] = {name: _convert(part, dialect) for name, part in value.items()}
        elif key in dialect.without:
            continue
        elif key != "x-pilothouse-type":
            converted[key] = value
    return converted


def _definition(definition: str, raw: Mapping[str, Any], texts: Mapping[str, str], dialect: Dialect) -> Document:
    converted = _convert({key: value for key, value in raw.items() if key != "properties"}, dialect)
    if texts.get(""):
        converted = {"description": texts[""], **converted}
    properties = {}
    owner = definition.rpartition(".")[2]
    for name, part in (raw.get("properties") or {}).items():
        described = {**part, "description": texts[name]} if texts.get(name) else part
        properties[name] = _enumerated(_convert(described, dialect), ENUMS.get((owner, name)))
    return {**converted, "properties": properties} if properties else converted


def _enumerated(schema: Document, values: tuple[str, ...] | None) -> Document:
    """With the values that the rules allow, which the schema packages do not know."""
    if values is None or "$ref" in schema:
        return schema
    if schema.get("type") == "array":
        return {**schema, "items": {**schema["items"], "enum": sorted(values)}}
    return {**schema, "enum": sorted(values)}


def reachable(definitions: Definitions, roots: Iterable[str]) -> list[str]:
    """The roots and all that they refer to, sorted."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = definitions.get(name)
        nodes = list(node.fields.values())
        while nodes:
            node = nodes.pop()
            while node.type in ("array", "map"):
                node = node.items if node.type == "array" else node.values
            if node.name:
                waiting.append(node.name)
            else:
                nodes += node.fields.values()
    return sorted(seen)


def render(definitions: Definitions, names: Iterable[str], texts: Descriptions, dialect: Dialect) -> Document:
    """{name: schema} in a dialect."""
    return {name: _definition(name, definitions.raw[name], texts.get(name, {}), dialect) for name in names}
