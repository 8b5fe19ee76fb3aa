"""Fields and items taken out of a value, as a field set names them."""

from __future__ import annotations

from typing import Any

from controlplane.objects.apply import elements, sets, shape
from controlplane.objects.apply.sets import FieldSet
from controlplane.objects.apply.shape import EMPTIED
from controlplane.objects.schema import Schema


def remove(schema: Schema, value: Any, gone: FieldSet) -> Any:
    """The value less these members and all that is in them; the value itself when none is there; EMPTIED when nothing
    is left of it (such marks stay until `settled`).  Leaves (atomic lists and maps) go as a whole or not at all."""
    form = shape.form(schema, value)
    if form == "leaf" or not value or not gone:
        return value
    return _from_map(schema, value, gone) if form == "map" else _from_list(schema, value, gone)


def _from_map(schema: Schema, value: dict[str, Any], gone: FieldSet) -> Any:
    left = value
    for element, node in gone.items():
        if not element.startswith("f:"):
            continue
        name = element[2:]
        if name not in value:
            continue
        part = value[name]
        kept = None if sets.is_member(node) else remove(shape.child(schema, name), part, node)
        if kept is part and not sets.is_member(node):
            continue
        if left is value:
            left = dict(value)
        if sets.is_member(node):
            del left[name]
        else:
            left[name] = kept
    return left or EMPTIED


def _from_list(schema: Schema, value: list[Any], gone: FieldSet) -> Any:
    left = []
    for item in value:
        node = gone.get(shape.element(schema, item))
        if node is None:
            left.append(item)
        elif not sets.is_member(node):
            left.append(remove(schema.items, item, node))
    same = len(left) == len(value) and all(one is other for one, other in zip(left, value))
    return value if same else left or EMPTIED


def named_members(schema: Schema, found: FieldSet) -> FieldSet:
    """The set with every field that a schema names on the way to a member a member too."""
    if not found:
        return found
    widened: FieldSet = {}
    for element, node in found.items():
        if not node or element == elements.MEMBER:
            widened[element] = node
            continue
        below = named_members(_below(schema, element), node)
        is_named = element.startswith("f:") and shape.is_named(schema, element[2:])
        widened[element] = sets.with_member(below) if is_named else below
    return widened


def _below(schema: Schema, element: str) -> Schema:
    if element.startswith("f:"):
        return shape.child(schema, element[2:])
    return schema.items if schema.type == "array" else shape.ANY


def settled(value: Any) -> Any:
    """The value without the marks that `remove` leaves; the value itself when it has none."""
    if isinstance(value, dict):
        kept = {name: settled(part) for name, part in value.items() if part is not EMPTIED}
        same = len(kept) == len(value) and all(part is value[name] for name, part in kept.items())
        return value if same else kept
    if isinstance(value, list):
        items = [{} if part is EMPTIED else settled(part) for part in value]
        return value if all(one is other for one, other in zip(items, value)) else items
    return value
