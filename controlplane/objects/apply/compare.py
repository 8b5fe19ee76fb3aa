"""What changed between two objects, as field sets: what is gone, what is different, what is new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from controlplane.objects.apply import elements, sets, shape
from controlplane.objects.apply.extract import whole
from controlplane.objects.apply.sets import LEAF, FieldSet, Path
from controlplane.objects.schema import Schema

_ABSENT: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class Comparison:
    """From one object to another."""

    removed: FieldSet
    modified: FieldSet
    added: FieldSet

    @property
    def is_same(self) -> bool:
        return not (self.removed or self.modified or self.added)

    @property
    def written(self) -> FieldSet:
        """What is different or new."""
        if not (self.modified and self.added):
            return self.modified or self.added
        return sets.union(self.modified, self.added)

    def without(self, ignored: FieldSet) -> Comparison:
        """Less these fields and what is below them."""
        if not ignored:
            return self
        return Comparison(
            sets.difference_below(self.removed, ignored),
            sets.difference_below(self.modified, ignored),
            sets.difference_below(self.added, ignored),
        )


def compare(schema: Schema, old: Any, new: Any) -> Comparison:
    """What changed from `old` to `new`, both whole objects.  Raises shape.ElementError."""
    walk = _Walk()
    walk.values(schema, old, new, ())  # objects: never leaves
    return Comparison(walk.removed, walk.modified, walk.added)


def same(one: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(part, other[name]) for name, part in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


class _Walk:
    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.removed: FieldSet = {}
        self.modified: FieldSet = {}
        self.added: FieldSet = {}

    def values(self, schema: Schema, old: Any, new: Any, path: Path) -> None:
        """Two values of one place, both of which are there (perhaps null)."""
        old_form, new_form = _form(schema, old, new), _form(schema, new, old)
        if old_form != new_form:
            self._replaced(schema, old, new, path)
        elif old_form == "leaf" or not (old or new):
            if path and not same(old, new):
                sets.insert(self.modified, path, LEAF)
        elif old_form == "map":
            self._maps(schema, old or {}, new or {}, path)
        else:
            self._lists(schema, old or [], new or [], path)

    def _replaced(self, schema: Schema, old: Any, new: Any, path: Path) -> None:
        """Something else stands there: what was in the old is gone, what is in the new is new."""
        sets.insert(self.modified, path, LEAF)
        for target, value in ((self.removed, old), (self.added, new)):
            for element, node in whole(schema, value).items():
                if element != elements.MEMBER:
                    sets.insert(target, (*path, element), node)

    def _maps(self, schema: Schema, old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
        always, typed = shape.always(schema), schema.type != "any"
        for name in {**old, **new}:
            before, after = old.get(name, _ABSENT), new.get(name, _ABSENT)
            if before is after or (typed and before == after):
                continue
            if name in always:
                before = always[name] if before is _ABSENT else before
                after = always[name] if after is _ABSENT else after
            self._pair(shape.child(schema, name), before, after, (*path, elements.field(name)))

    def _pair(self, schema: Schema, before: Any, after: Any, path: Path) -> None:
        if before is _ABSENT:
            sets.insert(self.added, path, whole(schema, after))
        elif after is _ABSENT:
            sets.insert(self.removed, path, whole(schema, before))
        else:
            self.values(schema, before, after, path)

    def _lists(self, schema: Schema, old: list[Any], new: list[Any], path: Path) -> None:
        before, after = grouped(schema, old), grouped(schema, new)
        for element in before | after:
            self._items(schema.items, before.get(element, []), after.get(element, []), (*path, element))

    def _items(self, schema: Schema, before: list[Any], after: list[Any], path: Path) -> None:
        """The items of one element: at most one each as a rule; several are like an atomic list."""
        if len(before) <= 1 and len(after) <= 1:
            self._pair(schema, before[0] if before else _ABSENT, after[0] if after else _ABSENT, path)
        elif len(before) > 1 and len(after) > 1:
            if not same(before, after):
                sets.insert(self.modified, path, LEAF)
        elif len(before) > 1:
            if after:
                sets.insert(self.added, path, whole(schema, after[0]))
            sets.insert(self.removed, path, LEAF)
        else:
            if before:
                sets.insert(self.removed, path, whole(schema, before[0]))
            sets.insert(self.added, path, LEAF)


def _form(schema: Schema, value: Any, other: Any) -> shape.Form:
    """Null takes the form of its counterpart."""
    if value is None:
        return shape.empty_form(schema) if other is None else shape.form(schema, other)
    return shape.form(schema, value)


def grouped(schema: Schema, items: list[Any]) -> dict[str, list[Any]]:
    """The items of a list by their elements.  Raises shape.ElementError."""
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(shape.element(schema, item), []).append(item)
    return found
