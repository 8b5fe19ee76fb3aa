"""Metadata, conditions, times, and paths into objects."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.objects import meta
from controlplane.objects.kinds import BUILT_IN, DEPLOYMENTS, NODES, PODS

NOW = datetime(2026, 11, 22, 8, 0, 0, 123456, UTC)


def test_paths_read_and_write_without_touching_the_object() -> None:
    obj = {"metadata": {"name": "a"}, "spec": {"x": {"y": 1}}}
    assert meta.get_in(obj, "spec", "x", "y") == 1
    assert meta.get_in(obj, "spec", "z", "y", default=3) == 3
    changed = meta.set_in(obj, ["spec", "z", "y"], 2)
    assert changed["spec"] == {"x": {"y": 1}, "z": {"y": 2}}
    assert changed["metadata"] is obj["metadata"]
    assert meta.without(changed, ["spec", "z"]) == obj
    assert meta.without(obj, ["spec", "none", "y"]) is obj


def test_a_controller_owns_its_children() -> None:
    owner = {"metadata": {"name": "web", "uid": "u1"}}
    reference = meta.owner_reference(owner, DEPLOYMENTS)
    assert reference == {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u1",
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    child = {"metadata": {"ownerReferences": [meta.owner_reference(owner, DEPLOYMENTS, controller=False), reference]}}
    assert meta.controller_of(child) == reference
    assert meta.is_controlled_by(child, owner)
    assert meta.controller_of({}) is None


def test_finalizers_come_and_go() -> None:
    obj = meta.with_finalizer({"metadata": {}}, "a/b")
    assert meta.has_finalizer(obj, "a/b")
    assert meta.with_finalizer(obj, "a/b") is obj
    assert meta.without_finalizer(obj, "a/b") == {"metadata": {}}


def test_a_condition_keeps_its_transition_time_until_its_status_changes() -> None:
    first = meta.with_condition([], {"type": "Ready", "status": "True"}, NOW)
    later = NOW + timedelta(minutes=1)
    same = meta.with_condition(first, {"type": "Ready", "status": "True", "reason": "R"}, later)
    assert same == [{"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": "2026-11-22T08:00:00Z"}]
    moved = meta.with_condition(same, {"type": "Ready", "status": "False"}, later)
    assert moved[0]["lastTransitionTime"] == "2026-11-22T08:01:00Z"
    assert meta.is_true({"status": {"conditions": first}}, "Ready")
    assert not meta.is_true({"status": {"conditions": moved}}, "Ready")


def test_labels_and_annotations_are_set_and_removed() -> None:
    obj = {"metadata": {"labels": {"a": "1"}}}
    assert meta.with_labels(obj, {"a": None, "b": "2"}) == {"metadata": {"labels": {"b": "2"}}}
    assert meta.with_annotations(obj, {"x": None}) == obj


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9000, 1, 1)), st.integers(-720, 720))
def test_times_are_read_back_whatever_their_offset(moment: datetime, minutes: int) -> None:
    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert meta.parse_time(local.isoformat()) == local
    assert meta.parse_time(meta.format_micro_time(local)) == local
    assert meta.parse_time(meta.format_time(local)) == local.replace(microsecond=0)


@pytest.mark.parametrize(
    "text", ["", "2026-11-22", "2026-11-22 08:00:00Z", "2026-11-22T08:00:00", "2026-13-22T08:00:00Z"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        meta.parse_time(text)


def test_keys_split_as_they_join() -> None:
    obj = {"metadata": {"name": "a", "namespace": "n"}}
    assert meta.split_key(meta.key_of(obj)) == ("n", "a")
    assert meta.split_key("a") == ("", "a")


def test_paths_of_resources_follow_the_rest_scheme() -> None:
    assert PODS.path("ns", "p", "log") == "/api/v1/namespaces/ns/pods/p/log"
    assert DEPLOYMENTS.path() == "/apis/apps/v1/deployments"
    assert NODES.path("ignored", "n") == "/api/v1/nodes/n"
    assert DEPLOYMENTS.group_resource == "deployments.apps"
    assert len({(r.group, r.version, r.plural) for r in BUILT_IN}) == len(BUILT_IN)
