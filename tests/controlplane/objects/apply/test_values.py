"""Extracting, comparing, merging and removing, on Kubernetes' own schemas."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects.apply import check, compare, extract, merge, remove, sets, shape
from tests.controlplane.objects.apply.support import config_map, deployment, service, view

DEPLOYMENT = view("apps/v1", "Deployment").schema
CONFIG_MAP = view("v1", "ConfigMap").schema
SERVICE = view("v1", "Service").schema
POD_SPEC = view("v1", "Pod").schema.at("spec")
META = view("v1", "Pod").schema.at("metadata")
JOB = view("batch/v1", "Job").schema

NAMES = st.sampled_from("abcdef")
TEXT = st.text("xyz", max_size=2)
MAPS = st.dictionaries(NAMES, TEXT, max_size=4)
PORTS = st.lists(st.sampled_from([80, 81, 443, 8080]), unique=True, max_size=4).flatmap(
    lambda found: st.tuples(*(st.fixed_dictionaries({"port": st.just(n)}, optional={"name": TEXT}) for n in found))
)


def test_an_applied_configuration_owns_leaves_items_and_keys_but_not_what_leads_to_them() -> None:
    obj = deployment([{"name": "web", "image": "nginx", "ports": [{"containerPort": 80}], "args": ["-x"]}], replicas=1)
    assert extract.field_set(DEPLOYMENT, obj)["f:spec"] == {
        "f:replicas": {},
        "f:selector": {},  # label selectors are atomic
        "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:containers": {
                    'k:{"name":"web"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:args": {},
                        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    }
                }
            },
        },
    }


def test_keys_that_may_be_absent_have_their_defaults() -> None:
    spec = {"imagePullSecrets": [{}], "ephemeralContainers": [{"name": "d", "ports": [{"containerPort": 1}]}]}
    found = extract.field_set(POD_SPEC, spec)
    assert found["f:imagePullSecrets"] == {'k:{"name":""}': {}}
    assert list(found["f:ephemeralContainers"]['k:{"name":"d"}']["f:ports"]) == [
        'k:{"containerPort":1,"protocol":"TCP"}'
    ]


def test_empty_maps_and_nulls_are_owned_and_empty_lists_are_not() -> None:
    found = extract.field_set(DEPLOYMENT, {"metadata": {"labels": {}, "finalizers": []}, "spec": {"replicas": None}})
    assert found == {"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}}}


def test_sets_are_owned_value_by_value() -> None:
    assert extract.field_set(META, {"finalizers": ["b", "a"]}) == {"f:finalizers": {'v:"b"': {}, 'v:"a"': {}}}


def test_lists_that_merge_under_a_strategic_patch_may_be_atomic_here() -> None:
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert extract.field_set(JOB, {"status": status}) == {"f:status": {"f:conditions": {}}}


def test_what_has_no_schema_is_taken_apart_by_what_it_is() -> None:
    value = {"a": {"b": [1, {"c": 2}], "d": {}}, "e": None}
    assert extract.field_set(shape.ANY, value) == {"f:a": {".": {}, "f:b": {}, "f:d": {}}, "f:e": {}}
    changed = compare.compare(shape.ANY, {"a": {"x": 1}, "b": True}, {"a": 2, "b": 1})
    assert changed.modified == {"f:a": {}, "f:b": {}}
    assert changed.removed == {"f:a": {"f:x": {}}}


def test_who_fills_what_go_always_has_does_not_own_it_as_a_whole() -> None:
    obj = deployment(
        [{"name": "web", "resources": {"limits": {"cpu": "1"}}}], strategy={"rollingUpdate": {"maxSurge": 1}}
    )
    spec = compare.compare(DEPLOYMENT, {"metadata": {}}, obj).added["f:spec"]
    assert spec["f:strategy"] == {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}}
    web = spec["f:template"]["f:spec"]["f:containers"]['k:{"name":"web"}']
    assert web["f:resources"] == {".": {}, "f:limits": {".": {}, "f:cpu": {}}}


def test_a_change_is_seen_where_it_is() -> None:
    before = service([{"port": 80, "name": "a"}, {"port": 81}], clusterIP="1.2.3.4")
    after = service([{"port": 80, "name": "b"}, {"port": 82}], type="ClusterIP")
    found = compare.compare(SERVICE, before, after)
    assert found.modified == {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:name": {}}}}}
    assert found.removed["f:spec"]["f:ports"] == {'k:{"port":81,"protocol":"TCP"}': {".": {}, "f:port": {}}}
    assert found.added["f:spec"] == {
        "f:ports": {'k:{"port":82,"protocol":"TCP"}': {".": {}, "f:port": {}}},
        "f:type": {},
    }


def test_items_that_stand_twice_are_compared_as_one() -> None:
    twice = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}]}]}
    once = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}
    env = ("f:containers", 'k:{"name":"a"}', "f:env", 'k:{"name":"X"}')
    assert sets.has(extract.field_set(POD_SPEC, twice), env)
    assert list(sets.paths(compare.compare(POD_SPEC, once, twice).added)) == [env]
    assert set(sets.paths(compare.compare(POD_SPEC, twice, once).added)) == {env, (*env, "f:name"), (*env, "f:value")}
    other = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "X", "value": "3"}]}]}
    assert list(sets.paths(compare.compare(POD_SPEC, twice, other).modified)) == [env]


@given(MAPS, MAPS)
def test_maps_merge_key_by_key(live: dict[str, str], config: dict[str, str]) -> None:
    found = merge.merge(CONFIG_MAP, config_map(live), config_map(config))
    assert found["data"] == {**live, **config}


@given(PORTS, PORTS)
def test_keyed_lists_merge_item_by_item(live: Any, config: Any) -> None:
    found = merge.merge(SERVICE, service(list(live)), service(list(config)))["spec"]["ports"]
    by_port = {item["port"]: item for item in live}
    for item in config:
        by_port[item["port"]] = {**by_port.get(item["port"], {}), **item}
    assert {item["port"]: item for item in found} == by_port
    assert len(found) == len(by_port)
    wanted = [item["port"] for item in config]
    assert [item["port"] for item in found if item["port"] in wanted] == wanted  # the configuration's order
    theirs = [item["port"] for item in live if item["port"] not in wanted]
    assert [item["port"] for item in found if item["port"] not in wanted] == theirs


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("abc", "bd", "abcd"), ("abc", "cb", "acb"), ("abc", "dab", "dabc"), ("bc", "ab", "abc"), ("", "ab", "ab"),
        ("ab", "", "ab"), ("abcd", "dxa", "bcdxa"), ("aebfcgd", "dcba", "efgdcba"),
    ],
)  # fmt: skip
def test_merged_lists_keep_both_orders_where_they_can(live: str, config: str, merged: str) -> None:
    found = merge.merge(META, {"finalizers": list(live)}, {"finalizers": list(config)})
    assert "".join(found["finalizers"]) == merged


def test_atomic_values_are_replaced_and_nothing_changes_nothing() -> None:
    live = deployment([{"name": "a", "args": ["x", "y"]}])
    spec = merge.merge(DEPLOYMENT, live, deployment([{"name": "a", "args": ["z"]}]))["spec"]
    assert spec["template"]["spec"]["containers"] == [{"name": "a", "args": ["z"]}]
    selector = {"selector": {"matchLabels": {"b": "c"}}}
    assert merge.merge(DEPLOYMENT, live, {"spec": selector})["spec"]["selector"] == selector["selector"]
    assert merge.merge(DEPLOYMENT, live, live) is live
    assert merge.merge(DEPLOYMENT, live, {"metadata": {"labels": {}}, "spec": {"template": None}}) is live


@given(MAPS, st.sets(NAMES))
def test_what_is_removed_is_gone_and_the_rest_stays(data: dict[str, str], gone: set[str]) -> None:
    found = remove.remove(CONFIG_MAP, config_map(data), {"f:data": {"f:" + name: {} for name in gone}} if gone else {})
    left = {name: value for name, value in data.items() if name not in gone}
    assert remove.settled(found) == (config_map(left) if left or not data else config_map(None))


def test_items_and_whole_lists_can_be_removed() -> None:
    obj = service([{"port": 80, "name": "a"}, {"port": 81}])
    one = remove.remove(SERVICE, obj, {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {}}}})
    assert one["spec"]["ports"] == [{"port": 81}]
    name = remove.remove(SERVICE, obj, {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:name": {}}}}})
    assert name["spec"]["ports"] == [{"port": 80}, {"port": 81}]
    both = sets.of(*(("f:spec", "f:ports", f'k:{{"port":{port},"protocol":"TCP"}}') for port in (80, 81)))
    assert remove.settled(remove.remove(SERVICE, {**obj, "spec": {**obj["spec"], "type": "x"}}, both))["spec"] == {
        "type": "x"
    }
    assert remove.remove(SERVICE, obj, {"f:spec": {"f:absent": {}}}) is obj


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"spec": {"foo": 1}}, ".spec.foo: field not declared in schema"),
        ({"spec": {"replicas": "3"}}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"spec": {"paused": "yes"}}, ".spec.paused: expected boolean, got string"),
        (
            {"metadata": {"labels": ["x"]}},
            '.metadata.labels: expected map, got &value.valueUnstructured{Value:[]interface {}{"x"}}',
        ),
        ({"metadata": {"name": 5}}, ".metadata.name: expected string, got &value.valueUnstructured{Value:5}"),
        ({"metadata": {"finalizers": ["a", "a"]}}, '.metadata.finalizers: duplicate entries for key [="a"]'),
        (
            {"metadata": {"finalizers": "a"}},
            '.metadata.finalizers: expected list, got &value.valueUnstructured{Value:"a"}',
        ),
        (
            {"metadata": {"ownerReferences": [{"name": "x"}]}},
            ".metadata.ownerReferences: element 0: associative list with keys has an element that omits all key fields"
            ' ["uid"] (and doesn\'t have default values for any key fields)',
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_told_why(config: dict[str, Any], complaint: str) -> None:
    assert check.complaints(DEPLOYMENT, config) == [complaint]


def test_a_configuration_that_fits_has_no_complaints() -> None:
    obj = deployment(
        [{"name": "a", "resources": {"limits": {"cpu": 1}}, "ports": [{"containerPort": 1}]}], replicas=None
    )
    assert check.complaints(DEPLOYMENT, obj) == []
