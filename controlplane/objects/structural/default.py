"""Defaulting: absent fields take their default, at writes and at reads; nulls where null is not allowed go."""

from __future__ import annotations

from typing import Any

from controlplane.objects.structural.node import Node
from controlplane.objects.structural.prune import TYPE_FIELDS


def default(node: Node, obj: Any) -> Any:
    """The object with defaults; the object itself when nothing was missing."""
    return _value(node, obj, is_object=True)


def _value(node: Node, value: Any, is_object: bool = False) -> Any:
    if isinstance(value, dict):
        return _object(node, value, is_object or node.embedded)
    if isinstance(value, list) and node.items is not None:
        items = node.items
        parts = [
            _value(items, items.default if part is None and not items.nullable and items.has_default else part)
            for part in value
        ]
        return parts if any(new is not old for new, old in zip(parts, value)) else value
    return value


def _object(node: Node, value: dict[str, Any], is_object: bool) -> Any:
    result: dict[str, Any] = {}
    changed = False
    for name, part in value.items():
        child = node.child(name)
        if child is None or (is_object and name in TYPE_FIELDS):
            result[name] = part
        elif part is None and not child.nullable:
            changed = True
            if child.has_default:
                result[name] = _value(child, child.default)
        else:
            result[name] = _value(child, part)
            changed = changed or result[name] is not part
    for name, child in node.properties.items():
        if child.has_default and name not in value and not (is_object and name in TYPE_FIELDS):
            result[name] = _value(child, child.default)
            changed = True
    return result if changed else value
