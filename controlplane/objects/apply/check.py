"""Whether an applied configuration fits its schema, in upstream's words (those of its typed values)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.objects.apply import elements, shape
from controlplane.objects.apply.sets import Path
from controlplane.objects.schema import Schema

_STRINGS: Final = frozenset({"string", "bytes", "time", "micro-time"})
_NUMBERS: Final = frozenset({"integer", "number"})


def complaints(schema: Schema, config: Any) -> list[str]:
    """What is wrong, each as `.spec.replicas: expected numeric (int or float), got string`; empty when all is well."""
    return [f"{elements.shown_path(path)}: {why}" for path, why in _values(schema, config, ())]


def _values(schema: Schema, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if value is None or schema.type == "any":
        return
    if schema.type in ("object", "map"):
        yield from _maps(schema, value, path)
    elif schema.type == "array":
        yield from _lists(schema, value, path)
    elif schema.type in _STRINGS and not isinstance(value, str):
        yield path, f"expected string, got {_shown(value)}"
    elif schema.type in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield path, f"expected numeric (int or float), got {_word(value)}"
    elif schema.type == "boolean" and not isinstance(value, bool):
        yield path, f"expected boolean, got {_word(value)}"
    elif isinstance(value, dict | list):
        yield path, f"expected scalar, got {_word(value)}"


def _maps(schema: Schema, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, dict):
        yield path, f"expected map, got {_shown(value)}"
        return
    is_closed = schema.type == "object" and bool(schema.fields) and not schema.preserves_unknown
    for name, part in value.items():
        below = (*path, elements.field(str(name)))
        if is_closed and name not in schema.fields:
            yield below, "field not declared in schema"
        else:
            yield from _values(shape.child(schema, name), part, below)


def _lists(schema: Schema, value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, list):
        yield path, f"expected list, got {_shown(value)}"
        return
    seen: set[str] = set()
    for position, item in enumerate(value):
        element = f"i:{position}"
        if schema.list_type in ("set", "map"):
            try:
                element = shape.element(schema, item)
            except shape.ElementError as error:
                yield path, f"element {position}: {error}"
                continue
            if element in seen:
                yield path, f"duplicate entries for key {elements.shown(element)}"
            seen.add(element)
        yield from _values(schema.items, item, (*path, element))


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "numeric"
    return "map" if isinstance(value, dict) else "list"


def _shown(value: Any) -> str:
    return f"&value.valueUnstructured{{Value:{_go(value)}}}"


def _go(value: Any) -> str:
    if isinstance(value, str):
        return elements.quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[string]interface {}{" + ", ".join(f"{elements.quoted(k)}:{_go(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(_go, value)) + "}"
    return "interface {}(nil)" if value is None else str(value)
