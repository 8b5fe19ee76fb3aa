"""Pruning, defaulting and validation against slow, obvious twins; what makes a schema structural."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects.structural import Node, check, default, prune, validate
from controlplane.objects.structural.jsonpath import PathError, compile_path, simple_steps
from controlplane.objects.structural.patterns import compile_pattern

Object = dict[str, Any]

NAMES = ("a", "b", "c", "d")


def _scalars() -> st.SearchStrategy[Object]:
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("string")}, optional={"minLength": st.integers(0, 3), "maxLength": st.integers(0, 3)}
        ),
        st.fixed_dictionaries(
            {"type": st.just("integer")}, optional={"minimum": st.integers(-3, 3), "maximum": st.integers(-3, 3)}
        ),
        st.just({"type": "boolean"}),
        st.fixed_dictionaries(
            {"type": st.just("string"), "enum": st.lists(st.sampled_from(("x", "y", "z")), min_size=1)}
        ),
    )


def _objects(inner: st.SearchStrategy[Object]) -> st.SearchStrategy[Object]:
    named = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from(NAMES), inner, min_size=1)},
        optional={
            "required": st.lists(st.sampled_from(NAMES), unique=True),
            "x-kubernetes-preserve-unknown-fields": st.just(True),
        },
    )
    maps = st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner})
    lists = st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(0, 3)})
    return st.one_of(named, maps, lists)


SCHEMAS = st.recursive(_scalars(), _objects, max_leaves=8)
ROOTS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from(NAMES), SCHEMAS, min_size=1)}
)
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-4, 4), st.sampled_from(("", "x", "y", "long"))),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from((*NAMES, "e")), inner)),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from((*NAMES, "e")), VALUES)


def twin_prune(schema: Object, value: Any) -> Any:
    """Copy what the schema describes."""
    if isinstance(value, list) and "items" in schema:
        return [twin_prune(schema["items"], part) for part in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, part in value.items():
        if name in schema.get("properties", {}):
            result[name] = twin_prune(schema["properties"][name], part)
        elif "additionalProperties" in schema:
            result[name] = twin_prune(schema["additionalProperties"], part)
        elif schema.get("x-kubernetes-preserve-unknown-fields"):
            result[name] = part
    return result


@given(ROOTS, DOCUMENTS)
def test_pruning_keeps_what_the_schema_describes(schema: Object, obj: Object) -> None:
    before = copy.deepcopy(obj)
    pruned, unknown = prune(Node.compile(schema), obj)
    assert pruned == twin_prune(schema, obj)
    assert obj == before
    assert bool(unknown) == (pruned != obj)


TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def twin_valid(schema: Object, value: Any) -> bool:
    """Say yes when nothing speaks against it."""
    if type(value) is not TYPES[schema["type"]] or value not in schema.get("enum", [value]):
        return False
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 99))
    if type(value) is int:
        return bool(schema.get("minimum", -99) <= value <= schema.get("maximum", 99))
    if isinstance(value, list):
        return len(value) <= schema.get("maxItems", 99) and all(twin_valid(schema["items"], part) for part in value)
    if isinstance(value, dict):
        more = schema.get("additionalProperties")
        parts = [(schema.get("properties", {}).get(name) or more, part) for name, part in value.items()]
        complete = all(name in value for name in schema.get("required", []))
        return complete and all(below is None or twin_valid(below, part) for below, part in parts)
    return True


@given(ROOTS, DOCUMENTS)
def test_validation_agrees_with_its_twin(schema: Object, obj: Object) -> None:
    errors = validate(Node.compile(schema), obj)
    assert (not errors) == twin_valid(schema, obj), errors


def twin_default(schema: Object, value: Any) -> Any:
    """Fill every absent property that has a default."""
    if isinstance(value, list) and "items" in schema:
        return [twin_default(schema["items"], part) for part in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    result = dict(value)
    for name, part in properties.items():
        if name not in result and "default" in part:
            result[name] = part["default"]
    for name, part in result.items():
        below = properties.get(name) or schema.get("additionalProperties")
        if below:
            result[name] = twin_default(below, part)
    return result


def _with_defaults(schema: Object, pick: Any) -> Object:
    """The schema with some defaults of the right type at properties."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: _with_defaults(part, pick) for name, part in made["properties"].items()}
    for name in ("items", "additionalProperties"):
        if name in made:
            made[name] = _with_defaults(made[name], pick)
    if pick():
        made["default"] = {"object": {}, "array": [], "string": "x", "integer": 1, "boolean": True}[made["type"]]
    return made


@given(ROOTS, DOCUMENTS, st.data())
def test_defaulting_fills_what_is_absent(schema: Object, obj: Object, data: st.DataObject) -> None:
    wanted = _with_defaults(schema, lambda: data.draw(st.booleans()))
    before = copy.deepcopy(obj)
    filled = default(Node.compile(wanted), obj)
    assert filled == twin_default(wanted, obj)
    assert obj == before
    assert default(Node.compile(wanted), filled) is filled


def errors_of(schema: Object) -> dict[str, str]:
    return {error.field: error.detail for error in check(schema, "s")}


@pytest.mark.parametrize(
    ("schema", "field", "detail"),
    [
        ({}, "s.type", "must not be empty at the root"),
        ({"type": "string"}, "s.type", "must be object at the root"),
        ({"properties": {"a": {}}}, "s.properties[a].type", "must not be empty for specified object fields"),
        ({"properties": {"a": {"type": "array"}}}, "s.properties[a].items", "must be specified"),
        (
            {"properties": {"a": {"type": "array", "items": {}}}},
            "s.properties[a].items.type",
            "must not be empty for specified array items",
        ),
        ({"$ref": "#/x"}, "s.$ref", "$ref is not supported"),
        (
            {"properties": {"a": {"type": "string", "uniqueItems": True}}},
            "s.properties[a].uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            {"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            "s.additionalProperties",
            "additionalProperties and properties are mutual exclusive",
        ),
        (
            {"properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}},
            "s.properties[metadata]",
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
        (
            {"properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": {"type": "string"}}}]},
            "s.anyOf[0].properties[a].type",
            "must be empty to be structural",
        ),
        (
            {"oneOf": [{"properties": {"b": {"minimum": 1}}}]},
            "s.properties[b]",
            "because it is defined in s.oneOf[0].properties[b]",
        ),
        (
            {"properties": {"a": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}}},
            "s.properties[a].x-kubernetes-list-map-keys",
            "must not be empty if x-kubernetes-list-type is map",
        ),
        (
            {"properties": {"a": {"type": "integer", "default": "x"}}},
            "s.properties[a].default",
            's.properties[a].default in body must be of type integer: "string"',
        ),
    ],
)  # fmt: skip
def test_a_schema_that_is_not_structural_is_told_why(schema: Object, field: str, detail: str) -> None:
    whole = {"type": "object", **schema} if schema and "type" not in schema else schema
    assert errors_of(whole).get(field) == detail


def test_what_controller_gen_writes_is_structural() -> None:
    forms = [{"type": "integer"}, {"type": "string"}]
    quantity = {
        "anyOf": forms,
        "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))$",
        "x-kubernetes-int-or-string": True,
    }
    schema = {
        "type": "object",
        "properties": {
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {"limits": {"type": "object", "additionalProperties": quantity}}},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    assert errors_of(schema) == {}


def test_junctors_are_told_in_the_validators_words() -> None:
    node = Node.compile({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]})
    found = validate(node, {}, "spec")
    assert found[0].detail == '"spec" must validate one and only one schema (oneOf). Found none valid'
    assert not validate(node, {"a": 1}, "spec")
    assert validate(node, {"a": 1, "b": 1}, "spec")[0].detail.endswith("Found 2 valid alternatives")


def test_what_was_wrong_before_may_stay() -> None:
    node = Node.compile(
        {"type": "object", "properties": {"a": {"type": "integer", "maximum": 1}, "b": {"type": "string"}}}
    )
    assert validate(node, {"a": 5, "b": "y"}, old={"a": 5, "b": "x"}) == []
    assert len(validate(node, {"a": 6}, old={"a": 5})) == 1


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.list[1]", [2]),
        (".spec.list[*]", [1, 2, 3]),
        (".spec.list[-1]", [3]),
        (".spec.list[0:2]", [1, 2]),
        (".metadata.annotations.a\\.b/c", ["v"]),
        (".metadata.annotations['a.b/c']", ["v"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".nothing.here", []),
        ("..type", ["Ready"]),
    ],
)
def test_paths_of_columns_find_their_values(path: str, found: list[Any]) -> None:
    obj = {
        "metadata": {"annotations": {"a.b/c": "v"}},
        "spec": {"list": [1, 2, 3]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert compile_path(path)(obj) == found


def test_only_plain_paths_are_simple() -> None:
    assert simple_steps(".spec.replicas") == ("spec", "replicas")
    assert simple_steps(".spec.list[0]") is None
    with pytest.raises(PathError):
        compile_path("spec")


def test_patterns_mean_what_they_mean_in_go() -> None:
    assert compile_pattern("^a$").search("a\n") is None
    assert compile_pattern(r"^[[:alpha:]]+\z").search("ab")
    assert compile_pattern(r"^\d$").search("\u0663") is None
