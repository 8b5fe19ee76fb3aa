"""Field sets against Python's own sets of paths."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects.apply import elements, sets

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'k:{"port":80,"protocol":"TCP"}', "v:1", 'v:"1"', "i:0"])
PATHS = st.frozensets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=12)
Paths = frozenset[tuple[str, ...]]


def members(found: dict[str, Any]) -> Paths:
    return frozenset(sets.paths(found))


def check_form(found: dict[str, Any], *, root: bool = True) -> None:
    """No node without meaning: the root has no mark, and no mark stands alone."""
    assert not (root and elements.MEMBER in found)
    assert found != {elements.MEMBER: {}}
    for element, below in found.items():
        if element != elements.MEMBER:
            check_form(below, root=False)


@given(PATHS)
def test_a_set_holds_the_paths_it_was_made_of(paths: Paths) -> None:
    found = sets.of(*paths)
    assert members(found) == paths
    check_form(found)
    for path in paths:
        assert sets.has(found, path)
        assert sets.has(found, (*path, "f:z")) == ((*path, "f:z") in paths)


@given(PATHS, PATHS)
def test_algebra_is_that_of_sets_of_paths(one: Paths, other: Paths) -> None:
    left, right = sets.of(*one), sets.of(*other)
    before = json.dumps([left, right])
    for operation, expected in (
        (sets.union, one | other),
        (sets.difference, one - other),
        (sets.intersection, one & other),
        (sets.difference_below, frozenset(p for p in one if not any(p[: len(q)] == q for q in other))),
    ):
        found = operation(left, right)
        check_form(found)
        assert members(found) == expected
        if operation is not sets.intersection:
            assert (found is left) == (expected == one)
    assert json.dumps([left, right]) == before


@given(PATHS)
def test_what_is_written_reads_back(paths: Paths) -> None:
    found = sets.of(*paths)
    stored = sets.ordered(found)
    assert stored == found
    assert sets.read(json.loads(json.dumps(stored))) == found
    assert list(sets.paths(stored)) == list(sets.paths(found))


def test_elements_stand_in_the_order_of_their_kinds_and_values() -> None:
    wanted = [
        "f:a",
        "f:b",
        'k:{"port":9}',
        'k:{"port":80}',
        'k:{"port":"a"}',
        "v:2",
        "v:10",
        'v:"1"',
        "v:true",
        "i:2",
        "i:10",
    ]
    found = list(reversed(wanted))
    found.sort(key=elements.rank)
    assert found == wanted


def test_keys_of_items_have_one_form() -> None:
    sent = {'k:{"protocol": "TCP", "containerPort": 80}': {".": {}, "f:name": {}}}
    assert sets.read(sent) == {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:name": {}}}


def test_unknown_elements_are_left_out_and_wrong_shapes_refused() -> None:
    assert sets.read({"x:y": {}, "f:a": {}, "k:nonsense": {}, "k:[1]": {}, "i:x": {}, "plain": {}}) == {"f:a": {}}
    for wrong in ([], "text", {"f:a": 1}):
        with pytest.raises(ValueError):
            sets.read(wrong)


def test_paths_are_shown_as_messages_write_them() -> None:
    path = ("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}', "f:image", 'v:"x"', "i:3")
    assert elements.shown_path(path) == '.spec[containerPort=80,protocol="TCP"].image[="x"][3]'
