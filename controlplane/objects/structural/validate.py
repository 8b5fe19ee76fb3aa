"""Value validation in the words of Kubernetes' OpenAPI validator."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from controlplane.objects.status import FieldError
from controlplane.objects.structural import formats
from controlplane.objects.structural.node import Node

Errors = list[FieldError]

_NAMES: Final = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def type_name(value: Any) -> str:
    """The JSON type of a value, as the validator names it."""
    return _NAMES.get(type(value), "null")


_NOTHING: Final = object()  # there is no old value to compare with


def validate(node: Node, value: Any, path: str = "", old: Any = _NOTHING) -> Errors:
    """Everything wrong with a value; `path` is where it stands. What is as it was in `old` is not looked at."""
    found: Errors = []
    _value(node, value, path, found, old)
    return found


def _said(path: str, words: str) -> str:
    return f"{path} in body {words}"


def _value(node: Node, value: Any, path: str, found: Errors, old: Any = _NOTHING) -> None:
    if old is not _NOTHING and value == old:
        return
    if value is None:
        if not node.nullable and (node.type or node.int_or_string):
            found.append(_wrong_type(node, value, path))
        return
    if not _has_type(node, value):
        found.append(_wrong_type(node, value, path))
        return
    if node.enum is not None and not any(_same(value, each) for each in node.enum):
        supported = [each if isinstance(each, str) else json.dumps(each) for each in node.enum]
        found.append(FieldError.not_supported(path, value, supported))
    if isinstance(value, str):
        _string(node, value, path, found)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, (int, float)):
        _number(node, value, path, found)
    elif isinstance(value, list):
        _array(node, value, path, found, old)
    elif isinstance(value, dict):
        _object(node, value, path, found, old)
    _junctors(node, value, path, found)


def _has_type(node: Node, value: Any) -> bool:
    if node.int_or_string:
        return type(value) in (int, str)
    match node.type:
        case "":
            return True
        case "integer":
            return type(value) is int or (type(value) is float and value.is_integer())
        case "number":
            return type(value) in (int, float)
        case wanted:
            return type_name(value) == wanted


def _wrong_type(node: Node, value: Any, path: str) -> FieldError:
    wanted = "integer,string" if node.int_or_string else node.type
    name = type_name(value)
    return FieldError.type_invalid(path, name, _said(path, f'must be of type {wanted}: "{name}"'))


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _string(node: Node, value: str, path: str, found: Errors) -> None:
    if node.max_length is not None and len(value) > node.max_length:
        found.append(FieldError("TooLong", path, "", f"may not be more than {node.max_length} bytes"))
    if node.min_length is not None and len(value) < node.min_length:
        found.append(FieldError.invalid(path, value, _said(path, f"should be at least {node.min_length} chars long")))
    if node.pattern is not None and node.pattern.search(value) is None:
        found.append(FieldError.invalid(path, value, _said(path, f"should match '{node.pattern_text}'")))
    if node.format and not formats.is_valid(node.format, value):
        words = f"must be of type {node.format}: {json.dumps(value, ensure_ascii=False)}"
        found.append(FieldError.invalid(path, value, _said(path, words)))


def _bound(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _number(node: Node, value: float, path: str, found: Errors) -> None:
    if node.multiple_of:
        ratio = value / node.multiple_of
        if abs(ratio - round(ratio)) > 1e-9:
            words = f"should be a multiple of {_bound(node.multiple_of)}"
            found.append(FieldError.invalid(path, value, _said(path, words)))
    if node.maximum is not None and (value > node.maximum or (node.exclusive_maximum and value == node.maximum)):
        than = "less than" if node.exclusive_maximum else "less than or equal to"
        found.append(FieldError.invalid(path, value, _said(path, f"should be {than} {_bound(node.maximum)}")))
    if node.minimum is not None and (value < node.minimum or (node.exclusive_minimum and value == node.minimum)):
        than = "greater than" if node.exclusive_minimum else "greater than or equal to"
        found.append(FieldError.invalid(path, value, _said(path, f"should be {than} {_bound(node.minimum)}")))


def _array(node: Node, value: list[Any], path: str, found: Errors, old: Any) -> None:
    if node.min_items is not None and len(value) < node.min_items:
        found.append(FieldError.invalid(path, len(value), _said(path, f"should have at least {node.min_items} items")))
    if node.max_items is not None and len(value) > node.max_items:
        found.append(FieldError("TooMany", path, len(value), f"must have at most {node.max_items} items"))
    if node.unique_items and len({_key(each) for each in value}) < len(value):
        found.append(FieldError.invalid(path, "", _said(path, "shouldn't contain duplicates")))
    if node.items is not None:
        before = _by_keys(node, old)
        for at, part in enumerate(value):
            _value(
                node.items,
                part,
                f"{path}[{at}]",
                found,
                before.get(_map_key(node, part), _NOTHING) if before else _NOTHING,
            )
    _list_type(node, value, path, found)


def _map_key(node: Node, item: Any) -> str:
    """What identifies an item of a list that is a map."""
    return _key([item.get(name) for name in node.map_keys]) if isinstance(item, dict) else ""


def _by_keys(node: Node, old: Any) -> dict[str, Any]:
    """The old items of a list that is a map; items of other lists cannot be told to be the same."""
    if node.list_type != "map" or not isinstance(old, list):
        return {}
    return {_map_key(node, item): item for item in old}


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _list_type(node: Node, value: list[Any], path: str, found: Errors) -> None:
    """Sets hold nothing twice; lists that are maps hold no two items of the same keys."""
    if node.list_type not in ("set", "map"):
        return
    seen: set[str] = set()
    for at, part in enumerate(value):
        shown = part
        if node.list_type == "map":
            if not isinstance(part, dict):
                continue
            shown = {name: part[name] for name in node.map_keys if name in part}
        key = _key(shown)
        if key in seen:
            found.append(FieldError.duplicate(f"{path}[{at}]", shown))
        seen.add(key)


def _object(node: Node, value: dict[str, Any], path: str, found: Errors, old: Any) -> None:
    before = old if isinstance(old, dict) else {}
    prefix = f"{path}." if path else ""
    if node.max_properties is not None and len(value) > node.max_properties:
        found.append(FieldError("TooMany", path, len(value), f"must have at most {node.max_properties} items"))
    if node.min_properties is not None and len(value) < node.min_properties:
        words = f"should have at least {node.min_properties} properties"
        found.append(FieldError.invalid(path, len(value), _said(path, words)))
    for name in node.required:
        if name not in value:
            found.append(FieldError.required(prefix + name))
    for name, part in value.items():
        child = node.child(name)
        if child is not None:
            _value(child, part, prefix + name, found, before.get(name, _NOTHING))
    if node.embedded:
        for name in ("apiVersion", "kind"):
            if not value.get(name):
                found.append(FieldError.required(prefix + name, "must not be empty"))


def _closest(nodes: Iterable[Node], value: Any, path: str) -> tuple[int, Errors]:
    """(how many hold, the shortest list of errors of those that do not)."""
    held, best = 0, None
    for node in nodes:
        errors = validate(node, value, path)
        if not errors:
            held += 1
        elif best is None or len(errors) < len(best):
            best = errors
    return held, best or []


def _junctors(node: Node, value: Any, path: str, found: Errors) -> None:
    for part in node.all_of:
        errors = validate(part, value, path)
        if errors:
            found += errors
    if node.any_of:
        held, best = _closest(node.any_of, value, path)
        if not held:
            words = f'"{path}" must validate at least one schema (anyOf)'
            found += [FieldError.invalid(path or "<nil>", "", words), *best]
    if node.one_of:
        held, best = _closest(node.one_of, value, path)
        if held != 1:
            why = "Found none valid" if not held else f"Found {held} valid alternatives"
            words = f'"{path}" must validate one and only one schema (oneOf). {why}'
            found += [FieldError.invalid(path or "<nil>", "", words), *(best if not held else ())]
    if node.not_ is not None and not validate(node.not_, value, path):
        found.append(FieldError.invalid(path or "<nil>", "", f'"{path}" must not validate the schema (not)'))
