"""Field sets, in the very form in which objects carry them (FieldsV1), and their algebra.

A set is a tree of dicts: {"f:data": {".": {}, "f:color": {}}} holds `.data` and `.data.color`.  Below the root, `{}` is a
member without children, "." marks a member with children, and a node without "." only leads to its children.  The root
is never a member: `{}` is the empty set.  Sets are values: operations share what they do not change, and answer their first
argument itself when the result equals it, so that `is` tells whether something changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.objects.apply import elements
from controlplane.objects.apply.elements import MEMBER

FieldSet = dict[str, Any]

EMPTY: Final[FieldSet] = {}
LEAF: Final[FieldSet] = {}
Path = tuple[str, ...]


def is_member(found: FieldSet) -> bool:
    """Whether a node below the root is itself in the set."""
    return not found or MEMBER in found


def with_member(found: FieldSet) -> FieldSet:
    """A node that is in the set."""
    return found if is_member(found) else {MEMBER: LEAF, **found}


def node(member: bool, children: FieldSet) -> FieldSet | None:
    """The node of a membership and children (which hold no mark); None when both are nothing."""
    if not children:
        return LEAF if member else None
    return {MEMBER: LEAF, **children} if member else children


def _children(found: FieldSet) -> FieldSet:
    if MEMBER not in found:
        return found
    return {element: below for element, below in found.items() if element != MEMBER}


def of(*paths: Path) -> FieldSet:
    """The set of these paths."""
    found: FieldSet = {}
    for path in paths:
        insert(found, path, LEAF)
    return found


def insert(target: FieldSet, path: Path, found: FieldSet) -> None:
    """Put a node into a set that is still being built (its dicts belong to the caller)."""
    *way, last = path
    at = target
    for element in way:
        below = at.get(element)
        if below is None:
            below = at[element] = {}
        elif not below:
            below = at[element] = {MEMBER: LEAF}
        at = below
    present = at.get(last)
    at[last] = dict(found) if present is None else dict(_union_nodes(present, found))


def paths(target: FieldSet, before: Path = ()) -> Iterator[Path]:
    """Every member: those of one level before those below them, in the order of elements."""
    ordered = sorted((element for element in target if element != MEMBER), key=elements.rank)
    for element in ordered:
        if is_member(target[element]):
            yield (*before, element)
    for element in ordered:
        if target[element]:
            yield from paths(target[element], (*before, element))


def has(target: FieldSet, path: Path) -> bool:
    """Whether the set holds this path."""
    at: FieldSet = target
    for element in path:
        below = at.get(element)
        if below is None:
            return False
        at = below
    return bool(path) and is_member(at)


# --- algebra ------------------------------------------------------------------------------------------------
def _union_nodes(one: FieldSet, other: FieldSet) -> FieldSet:
    if one is other:
        return one
    if not other:
        return with_member(one)
    if not one:
        return with_member(other)
    return union(one, other)


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in either."""
    joined = one
    for element, below in other.items():
        if element == MEMBER and element in one:
            continue
        present = one.get(element)
        wanted = below if present is None else _union_nodes(present, below)
        if wanted is not present:
            if joined is one:
                joined = dict(one)
            joined[element] = wanted
    return joined


def _without(one: FieldSet, other: FieldSet) -> FieldSet | None:
    """A node less the members of another; None when nothing is left."""
    member = is_member(one)
    keeps = member and not is_member(other)
    children = difference(one, other)
    if keeps == member and children is one:
        return one
    return node(keeps, _children(children))


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in the first and not in the second; children of a removed member stay."""
    left = one
    for element, below in other.items():
        present = one.get(element)
        if present is None or element == MEMBER:
            continue
        wanted = _without(present, below)
        if wanted is present:
            continue
        if left is one:
            left = dict(one)
        if wanted is None:
            del left[element]
        else:
            left[element] = wanted
    return left


def difference_below(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in the first, and neither in the second nor below a member of it."""
    left = one
    for element, below in other.items():
        present = one.get(element)
        if present is None or element == MEMBER:
            continue
        wanted = None if is_member(below) else _without_below(present, below)
        if wanted is present:
            continue
        if left is one:
            left = dict(one)
        if wanted is None:
            del left[element]
        else:
            left[element] = wanted
    return left


def _without_below(one: FieldSet, other: FieldSet) -> FieldSet | None:
    children = difference_below(one, other)
    if children is one:
        return one
    return node(MEMBER in one, _children(children))


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in both."""
    if one is other:
        return one
    if len(other) < len(one):
        one, other = other, one
    both: FieldSet = {}
    for element, below in one.items():
        present = other.get(element)
        if present is None or element == MEMBER:
            continue
        member = is_member(below) and is_member(present)
        found = node(member, intersection(below, present) if below and present else EMPTY)
        if found is not None:
            both[element] = found
    return both


# --- as it is carried ---------------------------------------------------------------------------------------
def ordered(target: FieldSet) -> FieldSet:
    """The same set with its elements in order, as it is stored."""
    if not target:
        return target
    keys = list(target) if len(target) < 2 else sorted(target, key=elements.rank)
    return {element: ordered(target[element]) for element in keys}


def read(carried: Any) -> FieldSet:
    """A set that a client sent: elements in canonical form, unknown ones left out.  Raises ValueError."""
    if not isinstance(carried, dict):
        raise ValueError("fieldsV1 must be an object")
    found = _read(carried)
    found.pop(MEMBER, None)
    return found


def _read(carried: Any) -> FieldSet:
    if not isinstance(carried, dict):
        raise ValueError("fields must be objects")
    found: FieldSet = {}
    for element, below in carried.items():
        if element == MEMBER:
            found[MEMBER] = LEAF
        elif (known := elements.canonical(element)) is not None:
            deeper = _read(below)
            found[known] = _union_nodes(found[known], deeper) if known in found else deeper
    return LEAF if found == {MEMBER: LEAF} else found
