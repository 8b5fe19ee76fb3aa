"""Apply: what owners keep, share, lose and fight for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controlplane.objects.apply import ConfigurationError, ConflictError, Request, View, apply, tracked
from controlplane.objects.schema import Definitions
from tests.controlplane.objects.apply.support import (
    LATER,
    SCHEME,
    config_map,
    deployment,
    entry,
    fields,
    plain,
    request,
    service,
    view,
)  # fmt: skip

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def test_the_first_apply_makes_the_object_and_owns_what_it_says() -> None:
    config = config_map({"k": "v"}, labels={"a": "b"})
    found = apply(request(config, "m1"), None, config)
    assert plain(found) == config
    assert found["metadata"]["managedFields"] == [
        {
            "manager": "m1",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-11-22T08:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:k": {}}, "f:metadata": {"f:labels": {"f:a": {}}}},
        }
    ]


def test_the_same_apply_again_changes_nothing_not_even_the_time() -> None:
    config = deployment([{"name": "a", "ports": [{"containerPort": 80}]}])
    first = apply(request(config, "m1"), None, config)
    assert apply(request(config, "m1", LATER), first, config) == first


def test_what_a_manager_drops_goes_unless_another_owns_it() -> None:
    one = apply(request(config_map(), "m1"), None, config_map({"x": "1", "y": "1", "z": "1"}))
    two = apply(request(config_map(), "m2"), one, config_map({"y": "1"}))
    three = apply(request(config_map(), "m1"), two, config_map({"x": "1"}))
    assert three["data"] == {"x": "1", "y": "1"}
    assert fields(three, "m1") == {"f:data": {"f:x": {}}}
    assert fields(three, "m2") == {"f:data": {"f:y": {}}}


def test_what_an_updater_owns_is_not_removed_with_an_appliers_claim() -> None:
    one = apply(request(config_map(), "m1"), None, config_map({"x": "1"}))
    two = tracked(request(one, "kubectl-edit"), one, {**one, "data": {"x": "2"}})
    three = apply(request(config_map(), "m1"), two, config_map())
    assert three["data"] == {"x": "2"}
    assert entry(three, "m1") is None


def test_one_conflict_and_its_words() -> None:
    live = tracked(request(config_map(), "m1"), None, config_map({"k": "v"}))
    with pytest.raises(ConflictError) as caught:
        apply(request(config_map(), "m2"), live, config_map({"k": "w"}))
    assert str(caught.value) == 'Apply failed with 1 conflict: conflict with "m1" using v1: .data.k'
    assert [conflict.cause for conflict in caught.value.conflicts] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "m1" using v1', "field": ".data.k"}
    ]


def test_several_conflicts_and_their_words() -> None:
    one = apply(request(config_map(), "m1"), None, config_map({"a": "1", "b": "1"}, labels={"l": "1"}))
    two = tracked(request(one, "z", subresource="status"), one, {**one, "data": {**one["data"], "c": "1"}})
    with pytest.raises(ConflictError) as caught:
        apply(request(config_map(), "m2"), two, config_map({"a": "2", "b": "2", "c": "2"}))
    assert str(caught.value) == (
        "Apply failed with 3 conflicts: "
        'conflicts with "m1":\n- .data.a\n- .data.b\nconflicts with "z" with subresource "status" using v1:\n- .data.c'
    )


def test_force_takes_what_others_own() -> None:
    live = apply(request(config_map(), "m1"), None, config_map({"k": "v", "l": "v"}))
    found = apply(request(config_map(), "m2"), live, config_map({"k": "w"}), force=True)
    assert found["data"] == {"k": "w", "l": "v"}
    assert fields(found, "m1") == {"f:data": {"f:l": {}}}
    assert fields(found, "m2") == {"f:data": {"f:k": {}}}


def test_managers_who_agree_share() -> None:
    live = apply(request(config_map(), "m1"), None, config_map({"k": "v"}))
    found = apply(request(config_map(), "m2"), live, config_map({"k": "v"}))
    assert fields(found, "m1") == fields(found, "m2") == {"f:data": {"f:k": {}}}
    with pytest.raises(ConflictError, match=r'conflict with "m1": \.data\.k'):
        apply(request(config_map(), "m2"), found, config_map({"k": "w"}))


def test_a_new_item_of_a_list_leaves_those_of_others_alone() -> None:
    live = apply(request(service([]), "m1"), None, service([{"port": 80, "name": "web"}]))
    found = apply(request(service([]), "m2"), live, service([{"port": 443, "name": "tls"}]))
    assert found["spec"]["ports"] == [{"port": 80, "name": "web"}, {"port": 443, "name": "tls"}]
    gone = apply(request(service([]), "m1"), found, service([]))
    assert gone["spec"]["ports"] == [{"port": 443, "name": "tls"}]


def test_the_default_of_a_key_tells_items_apart() -> None:
    live = apply(
        request(service([]), "m1"), None, service([{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}])
    )
    found = apply(request(service([]), "m1"), live, service([{"port": 53, "name": "dns"}]))
    assert found["spec"]["ports"] == [{"port": 53, "name": "dns"}]


def test_replicas_can_be_handed_over_to_an_autoscaler() -> None:
    """The published recipe: an applier stops to say what another has taken over, and it stays."""
    live = apply(request(deployment([]), "me"), None, deployment([{"name": "a"}], replicas=3))
    scaled = tracked(request(live, "hpa", subresource="scale"), live, {**live, "spec": {**live["spec"], "replicas": 5}})
    with pytest.raises(ConflictError) as caught:
        apply(request(live, "me"), scaled, deployment([{"name": "a"}], replicas=3))
    assert str(caught.value).endswith('conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas')
    found = apply(request(live, "me"), scaled, deployment([{"name": "a"}]))
    assert found["spec"]["replicas"] == 5


def test_fields_that_nobody_owned_belong_to_before_first_apply() -> None:
    live = config_map({"k": "v"}, uid="u")
    with pytest.raises(ConflictError, match=r'conflict with "before-first-apply" using v1: \.data\.k'):
        apply(request(live, "m1"), live, config_map({"k": "w"}))
    found = apply(request(live, "m1"), live, config_map({"k": "v"}))
    assert fields(found, "before-first-apply") == {"f:data": {".": {}, "f:k": {}}}


def test_metadata_of_the_server_survives_an_apply_that_drops_labels() -> None:
    live = apply(request(config_map(), "m1"), None, config_map(labels={"a": "b"}))
    live = {**live, "metadata": {**live["metadata"], "uid": "u", "ownerReferences": [{"uid": "o", "name": "x"}]}}
    found = apply(request(config_map(), "m1"), live, config_map())
    assert found["metadata"] == {"name": "a", "uid": "u", "ownerReferences": [{"uid": "o", "name": "x"}]}


def test_atomic_lists_change_owner_as_a_whole() -> None:
    live = apply(request(deployment([]), "m1"), None, deployment([{"name": "a", "args": ["x"]}]))
    with pytest.raises(ConflictError, match=r'\.spec\.template\.spec\.containers\[name="a"\]\.args'):
        apply(request(live, "m2"), live, deployment([{"name": "a", "args": ["x", "y"]}]))


def test_a_configuration_with_unknown_fields_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.foo: field not declared in schema"):
        apply(request(deployment([]), "m1"), None, deployment([], foo=1))


def client_side(config: dict[str, Any]) -> dict[str, Any]:
    """What client-side kubectl apply makes of a configuration."""
    text = json.dumps(config) + "\n"
    made = {**config, "metadata": {**config["metadata"], "annotations": {LAST_APPLIED: text}}}
    return tracked(request(made, "kubectl-client-side-apply"), None, made)


def test_kubectl_takes_over_what_its_client_side_apply_wrote() -> None:
    live = client_side(config_map({"k": "v", "l": "v"}))
    found = apply(request(live, "kubectl"), live, config_map({"k": "w"}))
    assert found["data"] == {"k": "w", "l": "v"}
    last = json.loads(found["metadata"]["annotations"][LAST_APPLIED])
    assert last == config_map({"k": "w"})
    with pytest.raises(ConflictError):
        apply(request(live, "someone"), live, config_map({"k": "w"}))


def test_kubectl_does_not_take_what_changed_since_its_client_side_apply() -> None:
    live = client_side(config_map({"k": "v"}))
    edited = tracked(request(live, "kubectl-edit"), live, {**live, "data": {"k": "x"}})
    with pytest.raises(ConflictError, match=r'conflict with "kubectl-edit" using v1: \.data\.k'):
        apply(request(live, "kubectl"), edited, config_map({"k": "w"}))


def test_a_manager_may_speak_another_version() -> None:
    """As HorizontalPodAutoscalers do: here v2 calls `data` of v1 `binaryData`."""
    schema = SCHEME.schema("", "v1", "ConfigMap")

    def swapped(obj: dict[str, Any]) -> dict[str, Any]:
        names = {"data": "binaryData", "binaryData": "data"}
        return {names.get(name, name): value for name, value in obj.items()}

    v1, v2 = view("v1", "ConfigMap"), View("v2", schema, swapped, swapped)
    old = replace(request(config_map(), "m1"), view=v1, others=lambda version: v2 if version == "v2" else None)
    new = replace(
        old,
        view=View("v2", schema),
        others=lambda version: View("v1", schema, swapped, swapped) if version == "v1" else None,
    )
    first = apply(old, None, config_map({"a": "1", "b": "1"}))
    second = apply(new, swapped(first), {**config_map(), "binaryData": {"a": "1"}})
    assert second["binaryData"] == {"a": "1"}
    assert entry(second, "m1") == {**entry(first, "m1"), "apiVersion": "v2", "fieldsV1": {"f:binaryData": {"f:a": {}}}}  # type: ignore[dict-item]


CUSTOM = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "properties": {
                "rules": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["host", "port"],
                    "items": {
                        "type": "object",
                        "properties": {
                            "host": {"type": "string"},
                            "port": {"type": "integer", "default": 80},
                            "to": {"type": "string"},
                        },
                    },
                },
                "open": {
                    "type": "object",
                    "properties": {"known": {"type": "string"}},
                    "x-kubernetes-preserve-unknown-fields": True,
                },
            },
        },
    },
}


def custom(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Route", "metadata": {"name": "r"}, "spec": spec}


def custom_request(manager: str) -> Request:
    schema = Definitions({"com.example.v1.Route": CUSTOM}).get("com.example.v1.Route")
    return Request(View("example.com/v1", schema), lambda version: None, manager, LATER)


def test_custom_schemas_tell_items_apart_by_their_own_defaults_and_keep_unknown_fields_where_they_say_so() -> None:
    first = custom(rules=[{"host": "a", "to": "x"}], open={"known": "1", "deep": {"x": [1], "y": 2}})
    live = apply(custom_request("m1"), None, first)
    assert fields(live, "m1")["f:spec"] == {
        "f:open": {"f:deep": {".": {}, "f:x": {}, "f:y": {}}, "f:known": {}},
        "f:rules": {'k:{"host":"a","port":80}': {".": {}, "f:host": {}, "f:to": {}}},
    }
    both = apply(custom_request("m2"), live, custom(rules=[{"host": "a", "port": 81}], open={"deep": {"z": 3}}))
    assert both["spec"] == custom(
        rules=[{"host": "a", "to": "x"}, {"host": "a", "port": 81}],
        open={"known": "1", "deep": {"x": [1], "y": 2, "z": 3}},
    )["spec"]  # fmt: skip
    left = apply(custom_request("m1"), both, custom(open={"deep": {"y": 2}}))
    assert left["spec"] == {"rules": [{"host": "a", "port": 81}], "open": {"deep": {"y": 2, "z": 3}}}
    with pytest.raises(ConfigurationError, match=r"\.spec\.closed: field not declared in schema"):
        apply(custom_request("m1"), left, custom(closed=1))


def test_who_creates_a_custom_object_owns_its_spec_as_a_whole() -> None:
    made = tracked(custom_request("kubectl-create"), None, custom(open={"known": "1"}))
    assert fields(made, "kubectl-create") == {"f:spec": {".": {}, "f:open": {".": {}, "f:known": {}}}}
