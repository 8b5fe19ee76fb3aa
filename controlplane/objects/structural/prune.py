"""Pruning: what the schema does not describe is dropped, and named for those who want to know."""

from __future__ import annotations

from typing import Any, Final

from controlplane.objects.structural.node import Node

TYPE_FIELDS: Final = ("apiVersion", "kind", "metadata")  # of the object itself and of embedded objects: never pruned


def prune(node: Node, obj: Any) -> tuple[Any, list[str]]:
    """(the object without unknown fields, their paths); the object itself when there are none."""
    unknown: list[str] = []
    return _value(node, obj, "", unknown, is_object=True), unknown


def _value(node: Node, value: Any, path: str, unknown: list[str], is_object: bool = False) -> Any:
    if isinstance(value, dict):
        return _object(node, value, path, unknown, is_object or node.embedded)
    if isinstance(value, list) and node.items is not None:
        items = node.items
        parts = [_value(items, part, f"{path}[{at}]", unknown) for at, part in enumerate(value)]
        return parts if any(new is not old for new, old in zip(parts, value)) else value
    return value


def _object(node: Node, value: dict[str, Any], path: str, unknown: list[str], is_object: bool) -> Any:
    result: dict[str, Any] = {}
    changed = False
    prefix = f"{path}." if path else ""
    for name, part in value.items():
        if is_object and name in TYPE_FIELDS:
            result[name] = part
            continue
        child = node.child(name)
        if child is None:
            if node.preserve or node.is_open:
                result[name] = part
            else:
                unknown.append(prefix + name)
                changed = True
            continue
        pruned = _value(child, part, prefix + name, unknown)
        changed = changed or pruned is not part
        result[name] = pruned
    return result if changed else value
