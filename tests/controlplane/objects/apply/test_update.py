"""Owners after plain writes."""

from __future__ import annotations

from controlplane.objects.apply import managers, sets, tracked
from tests.controlplane.objects.apply.support import LATER, config_map, deployment, entry, fields, request


def test_who_creates_owns_all_but_what_is_the_servers() -> None:
    created = config_map(
        {"k": "v"}, namespace="d", uid="u", creationTimestamp="t", labels={"a": "b"}, generateName="x-"
    )
    found = tracked(request(created, "kubectl-create"), None, created)
    assert found["metadata"]["managedFields"] == [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-11-22T08:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:data": {".": {}, "f:k": {}},
                "f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:a": {}}},
            },
        }
    ]


def test_who_changes_a_field_takes_it_from_the_others() -> None:
    first = tracked(request(config_map(), "a"), None, config_map({"x": "1", "y": "1"}))
    second = tracked(request(first, "b", LATER), first, {**first, "data": {"x": "2", "y": "1", "z": "1"}})
    assert fields(second, "a") == {"f:data": {".": {}, "f:y": {}}}
    assert fields(second, "b") == {"f:data": {"f:x": {}, "f:z": {}}}
    third = tracked(request(first, "b", LATER), second, {**second, "data": {"z": "1"}})
    assert fields(third, "a") == {"f:data": {}}
    assert fields(third, "b") == {"f:data": {"f:z": {}}}


def test_a_write_that_changes_nothing_keeps_the_very_entries() -> None:
    first = tracked(request(config_map(), "a"), None, config_map({"x": "1"}))
    again = tracked(request(first, "b", LATER), first, {**first, "data": {"x": "1"}})
    assert again["metadata"]["managedFields"] is first["metadata"]["managedFields"]


def test_time_moves_only_for_who_wrote() -> None:
    first = tracked(request(config_map(), "a"), None, config_map({"x": "1", "y": "1"}))
    second = tracked(request(first, "b", LATER), first, {**first, "data": {"x": "1"}})
    assert entry(second, "b") is None
    assert entry(second, "a") == {**entry(first, "a"), "fieldsV1": {"f:data": {".": {}, "f:x": {}}}}  # type: ignore[dict-item]


def test_a_client_that_forgets_managed_fields_does_not_remove_them() -> None:
    first = tracked(request(config_map(), "a"), None, config_map({"x": "1"}))
    for sent in (config_map({"x": "1"}), config_map({"x": "1"}, managedFields=[])):
        assert (
            tracked(request(first, "b"), first, sent)["metadata"]["managedFields"] == first["metadata"]["managedFields"]
        )
    wrong = config_map({"x": "1"}, managedFields=[{"manager": "z", "operation": "Steal", "apiVersion": "v1"}])
    assert tracked(request(first, "b"), first, wrong)["metadata"]["managedFields"] == first["metadata"]["managedFields"]


def test_one_empty_entry_resets_and_nobody_is_tracked_from_then_on() -> None:
    first = tracked(request(config_map(), "a"), None, config_map({"x": "1"}))
    reset = tracked(request(first, "b"), first, config_map({"x": "1"}, managedFields=[{}]))
    assert "managedFields" not in reset["metadata"]
    after = tracked(request(first, "b"), reset, config_map({"x": "2"}))
    assert "managedFields" not in after["metadata"]


def test_owners_may_be_edited_except_through_a_subresource() -> None:
    first = tracked(request(config_map(), "a"), None, config_map({"x": "1"}))
    mine = [{**first["metadata"]["managedFields"][0], "manager": "z"}]
    sent = config_map({"x": "1"}, managedFields=mine)
    assert entry(tracked(request(first, "b"), first, sent), "z") == mine[0]
    assert entry(tracked(request(first, "b", subresource="status"), first, sent), "z") is None


def test_ignored_fields_are_nobodys() -> None:
    created = deployment([{"name": "a"}]) | {"status": {"replicas": 1}}
    found = tracked(request(created, "a", ignored=sets.of(("f:status",))), None, created)
    assert "f:status" not in fields(found, "a")


def test_subresources_and_versions_have_entries_of_their_own() -> None:
    created = deployment([{"name": "a"}])
    first = tracked(request(created, "a"), None, created)
    second = tracked(request(created, "a", subresource="status"), first, {**first, "status": {"replicas": 1}})
    found = second["metadata"]["managedFields"]
    assert [(each["manager"], each.get("subresource")) for each in found] == [("a", None), ("a", "status")]
    assert found[1]["fieldsV1"] == {"f:status": {"f:replicas": {}}}
    assert list(found[1])[-1] == "subresource"


def test_entries_in_versions_that_are_gone_are_dropped() -> None:
    first = tracked(request(config_map(), "a"), None, config_map({"x": "1"}))
    first["metadata"]["managedFields"][0]["apiVersion"] = "v0"
    second = tracked(request(first, "b"), first, {**first, "data": {"x": "2"}})
    assert [each["manager"] for each in second["metadata"]["managedFields"]] == ["b"]


def test_more_than_ten_updaters_collapse_into_ancient_changes() -> None:
    obj = tracked(request(config_map(), "m00"), None, config_map({"k00": "v"}))
    for number in range(1, 14):
        changed = {**obj, "data": {**obj["data"], f"k{number:02}": "v"}}
        obj = tracked(request(obj, f"m{number:02}", f"2026-11-22T08:{number:02}:00Z"), obj, changed)
    found = obj["metadata"]["managedFields"]
    assert len(found) == managers.MOST_UPDATERS
    assert found[0]["manager"] == "ancient-changes"
    assert found[0]["time"] == "2026-11-22T08:04:00Z"
    assert sorted(found[0]["fieldsV1"]["f:data"]) == [".", "f:k00", "f:k01", "f:k02", "f:k03", "f:k04"]
    assert [each["manager"] for each in found[1:]] == [f"m{number:02}" for number in range(5, 14)]


def test_a_nameless_manager_is_unknown() -> None:
    assert entry(tracked(request(config_map(), ""), None, config_map({"a": "b"})), "unknown") is not None


def test_spoiled_entries_are_left_out() -> None:
    first = tracked(request(config_map(), "a"), None, config_map({"x": "1"}))
    first["metadata"]["managedFields"] += [
        {},
        {"operation": "Apply"},
        {"operation": "Update", "apiVersion": "v1", "fieldsV1": 1},
    ]
    second = tracked(request(first, "b"), first, {**first, "data": {"x": "2"}})
    assert [each["manager"] for each in second["metadata"]["managedFields"]] == ["a", "b"]
