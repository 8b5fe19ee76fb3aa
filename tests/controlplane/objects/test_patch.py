"""JSON patch against the `jsonpatch` package, merge patch against RFC 7386's table, strategic merge against Kubernetes."""

import copy
from dataclasses import dataclass, field
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects.patch import PatchError, json_patch, merge_patch, strategic_merge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
MERGES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("document", "patch", "expected"), MERGES)
def test_a_merge_patch_does_what_the_table_of_rfc_7386_says(document: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(document, patch) == expected


@given(JSON, JSON)
def test_a_merge_patch_leaves_the_document_alone(document: Any, patch: Any) -> None:
    before = copy.deepcopy(document)
    merge_patch(document, patch)
    assert document == before


POINTERS = st.lists(st.sampled_from(["a", "b", "c", "0", "1", "-"]), max_size=3).map(
    lambda t: "".join("/" + p for p in t)
)
OPERATIONS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"op": st.sampled_from(["add", "replace", "test"]), "path": POINTERS, "value": JSON}),
        st.fixed_dictionaries({"op": st.just("remove"), "path": POINTERS.filter(bool)}),
        st.fixed_dictionaries({"op": st.just("copy"), "path": POINTERS, "from": POINTERS}),
    ),
    max_size=4,
)


@given(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), OPERATIONS)
def test_a_json_patch_agrees_with_the_jsonpatch_package(document: Any, operations: Any) -> None:
    before = copy.deepcopy(document)
    try:
        expected = jsonpatch.apply_patch(copy.deepcopy(document), operations)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError):
        return  # the package accepts less on odd pointers; what it accepts is what we compare
    if any(op["path"].endswith("-") and op["op"] != "add" for op in operations):
        return
    assert json_patch(document, operations) == expected or any(op["op"] == "test" for op in operations)
    assert document == before


def test_json_patch_moves_and_tests() -> None:
    document = {"a": {"b": 1}, "c": [1, 2]}
    moved = json_patch(document, [{"op": "move", "from": "/a/b", "path": "/d"}])
    assert moved == {"a": {}, "c": [1, 2], "d": 1}
    assert moved["c"] is document["c"]
    assert json_patch(document, [{"op": "add", "path": "/c/-", "value": 3}])["c"] == [1, 2, 3]
    assert json_patch({"a/b": {"~": 1}}, [{"op": "replace", "path": "/a~1b/~0", "value": 2}]) == {"a/b": {"~": 2}}
    with pytest.raises(PatchError, match="testing value /a/b failed"):
        json_patch(document, [{"op": "test", "path": "/a/b", "value": 2}])
    with pytest.raises(PatchError, match="missing"):
        json_patch(document, [{"op": "remove", "path": "/x"}])
    with pytest.raises(PatchError, match="itself"):
        json_patch(document, [{"op": "move", "from": "/a", "path": "/a/b"}])


@pytest.mark.parametrize(
    "operations", [{}, [1], [{"op": "grow", "path": "/a"}], [{"op": "add", "path": "a", "value": 1}]]
)
def test_a_malformed_json_patch_is_refused(operations: Any) -> None:
    with pytest.raises(PatchError):
        json_patch({}, operations)


@dataclass
class Node:
    """A schema node by hand."""

    fields: dict[str, "Node"] = field(default_factory=dict)
    items: "Node | None" = None
    merge_key: str = ""
    patch_strategies: frozenset[str] = frozenset()

    def child(self, name: str) -> "Node | None":
        return self.fields.get(name)

    def item(self) -> "Node | None":
        return self.items


PORTS = Node(items=Node(), merge_key="containerPort", patch_strategies=frozenset({"merge"}))
CONTAINERS = Node(items=Node({"ports": PORTS}), merge_key="name", patch_strategies=frozenset({"merge"}))
SCHEMA = Node(
    {
        "containers": CONTAINERS,
        "finalizers": Node(patch_strategies=frozenset({"merge"})),
        "strategy": Node({}, patch_strategies=frozenset({"retainKeys"})),
        "args": Node(),
    }
)


def containers(*names: str, **fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": name, **fields} for name in names]}


def names(document: dict[str, Any]) -> list[str]:
    return [item["name"] for item in document["containers"]]


def test_items_merge_by_their_key_and_stay_in_place() -> None:
    merged = strategic_merge(containers("a", "b", image="x"), containers("b", image="y"), SCHEMA)
    assert merged["containers"] == [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]


def test_a_new_item_goes_first_without_an_order_and_last_with_one() -> None:
    assert names(strategic_merge(containers("a", "b"), containers("c"), SCHEMA)) == ["c", "a", "b"]
    order = {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    assert names(strategic_merge(containers("a", "b"), containers("c") | order, SCHEMA)) == ["a", "b", "c"]


def test_an_item_is_deleted_by_its_directive() -> None:
    patch = {"containers": [{"$patch": "delete", "name": "a"}], "$setElementOrder/containers": [{"name": "b"}]}
    assert names(strategic_merge(containers("a", "b"), patch, SCHEMA)) == ["b"]


def test_a_list_is_replaced_by_its_directive() -> None:
    patch = {"containers": [{"$patch": "replace"}, {"name": "c"}]}
    assert strategic_merge(containers("a", "b"), patch, SCHEMA) == containers("c")


def test_an_object_is_replaced_or_emptied_by_its_directive() -> None:
    document = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}
    assert strategic_merge(document, {"strategy": {"$patch": "replace", "type": "Recreate"}}, SCHEMA) == {
        "strategy": {"type": "Recreate"}
    }
    assert strategic_merge(document, {"strategy": {"$patch": "delete"}}, SCHEMA) == {"strategy": {}}
    with pytest.raises(PatchError, match="Unknown patch type"):
        strategic_merge(document, {"strategy": {"$patch": "grow"}}, SCHEMA)


def test_retain_keys_drops_what_it_does_not_name() -> None:
    document = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    patch = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert strategic_merge(document, patch, SCHEMA) == {"strategy": {"type": "Recreate"}}


def test_primitive_lists_unite_delete_and_order() -> None:
    document = {"finalizers": ["a", "b"]}
    assert strategic_merge(document, {"finalizers": ["b", "c"]}, SCHEMA) == {"finalizers": ["a", "b", "c"]}
    assert strategic_merge(document, {"$deleteFromPrimitiveList/finalizers": ["a"]}, SCHEMA) == {"finalizers": ["b"]}
    patch = {
        "$setElementOrder/finalizers": ["c", "b"],
        "finalizers": ["c"],
        "$deleteFromPrimitiveList/finalizers": ["a"],
    }
    assert strategic_merge(document, patch, SCHEMA) == {"finalizers": ["c", "b"]}


def test_a_list_without_strategy_is_replaced_and_null_removes() -> None:
    assert strategic_merge({"args": ["a"], "x": 1}, {"args": ["b"], "x": None}, SCHEMA) == {"args": ["b"]}


def test_directives_and_nulls_do_not_survive_in_new_values() -> None:
    patch = {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": None}}
    assert strategic_merge({}, patch, SCHEMA) == {"strategy": {"type": "Recreate"}}
    assert strategic_merge({}, {"containers": [{"$patch": "delete", "name": "a"}]}, SCHEMA) == {"containers": []}


def test_an_item_without_its_key_is_refused() -> None:
    with pytest.raises(PatchError, match="does not contain declared merge key: name"):
        strategic_merge(containers("a"), {"containers": [{"image": "x"}]}, SCHEMA)


def test_what_the_patch_does_not_touch_is_shared() -> None:
    document = containers("a", "b") | {"big": {"x": [1]}}
    merged = strategic_merge(document, containers("a", image="y"), SCHEMA)
    assert merged["big"] is document["big"]
    assert document == containers("a", "b") | {"big": {"x": [1]}}


KEYED = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abcd")}, optional={"image": st.sampled_from("xy"), "tag": st.integers(0, 2)}
    ),
    max_size=4,
    unique_by=lambda item: item["name"],
)


@given(KEYED, KEYED, st.sets(st.sampled_from("abcd")))
def test_keyed_lists_merge_like_dicts_whatever_their_order(
    present: list[dict[str, Any]], changes: list[dict[str, Any]], deleted: set[str]
) -> None:
    changes = [item for item in changes if item["name"] not in deleted]
    patch = {"containers": [*changes, *({"$patch": "delete", "name": name} for name in sorted(deleted))]}
    model = {item["name"]: item for item in present if item["name"] not in deleted}
    for item in changes:
        model[item["name"]] = {**model.get(item["name"], {}), **item}
    before = copy.deepcopy(present)
    merged = strategic_merge({"containers": present}, patch, SCHEMA).get("containers", [])
    assert {item["name"]: item for item in merged} == model
    assert len(merged) == len(model)
    assert present == before
    untouched = [item["name"] for item in present if item["name"] in model and item not in changes]
    named = {item["name"] for item in changes}
    kept = [item["name"] for item in merged if item["name"] not in named]
    assert kept == [name for name in untouched if name not in named]


@given(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3))
def test_an_empty_strategic_patch_changes_nothing(document: dict[str, Any]) -> None:
    assert strategic_merge(document, {}, SCHEMA) == document


@given(KEYED, st.permutations("abcd"))
def test_the_order_that_a_patch_sets_is_the_order_of_the_result(
    present: list[dict[str, Any]], order: list[str]
) -> None:
    patch = {"$setElementOrder/containers": [{"name": name} for name in order]}
    merged = strategic_merge({"containers": present}, patch, SCHEMA)["containers"]
    expected = [name for name in order if any(item["name"] == name for item in present)]
    assert [item["name"] for item in merged] == expected
