"""The field set of a value: what an applied configuration claims, and what appears when a value does."""

from __future__ import annotations

from typing import Any

from controlplane.objects.apply import elements, sets, shape
from controlplane.objects.apply.elements import MEMBER
from controlplane.objects.apply.sets import EMPTY, LEAF, FieldSet
from controlplane.objects.apply.shape import EMPTIED
from controlplane.objects.schema import Schema


def field_set(schema: Schema, value: Any) -> FieldSet:
    """What an object as an applied configuration owns: leaves, items of lists, keys of maps, and maps that are empty.
    Raises shape.ElementError."""
    return _claimed(schema, value) or EMPTY


def _claimed(schema: Schema, value: Any) -> FieldSet | None:
    """The node of a value below the root; None when it claims nothing."""
    is_nothing = value is None or value is EMPTIED
    form = shape.empty_form(schema) if is_nothing else shape.form(schema, value)
    if form == "leaf":
        return LEAF
    if not value:
        return None
    if form == "list":
        return {element: sets.with_member(node) for element, node in _items(schema, value).items()}
    found: FieldSet = {}
    for name, part in value.items():
        node = _claimed(shape.child(schema, name), part)
        if part is None or part is EMPTIED or part == {} or not shape.is_named(schema, name):
            node = sets.with_member(node) if node else LEAF
        if node is not None:
            found[elements.field(name)] = node
    return found or None


def _items(schema: Schema, value: list[Any]) -> FieldSet:
    """The claims of the items of a list; an item that stands there twice is claimed without what is in it."""
    found: FieldSet = {}
    for item in value:
        element = shape.element(schema, item)
        found[element] = LEAF if element in found else _claimed(schema.items, item) or LEAF
    return found


def whole(schema: Schema, value: Any) -> FieldSet:
    """The node of a value that is there as a whole where nothing was: it and everything in it are members.
    Raises shape.ElementError."""
    form = shape.form(schema, value)
    if form == "leaf" or not value:
        return LEAF
    found: FieldSet = {MEMBER: LEAF}
    if form == "map":
        for name, part in value.items():
            is_tree = isinstance(part, dict | list)
            found[elements.field(name)] = whole(shape.child(schema, name), part) if is_tree else LEAF
        return found
    for item in value:
        element = shape.element(schema, item)
        found[element] = LEAF if element in found else whole(schema.items, item)
    return found
