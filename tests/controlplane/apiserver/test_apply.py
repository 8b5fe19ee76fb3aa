"""Server-side apply and managedFields through the API."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    HORIZONTAL_POD_AUTOSCALERS_V1,
    NAMESPACES,
    PODS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.apiserver.examples import config_map, deployment, pod, service

Object = dict[str, Any]
APPLY = {"content-type": "application/apply-patch+yaml"}


async def apply(
    client: ApiClient, resource: Resource, obj: Object, manager: str = "me", *, subresource: str = "", **query: str
) -> tuple[int, Object]:
    """(status code, answer)"""
    path = resource.path("default", obj["metadata"]["name"], subresource)
    given = {"fieldManager": manager, **query}
    answer = await client.raw("PATCH", path, yaml.safe_dump(obj).encode(), headers=APPLY, query=given)
    return answer.status, json.loads(answer.body)


def managers(obj: Object) -> list[tuple[str, str, str]]:
    found = obj["metadata"].get("managedFields", [])
    return [(each["manager"], each["operation"], each.get("subresource", "")) for each in found]


def fields(obj: Object, manager: str) -> Object:
    found: Object = next(each["fieldsV1"] for each in obj["metadata"]["managedFields"] if each["manager"] == manager)
    return found


async def test_apply_creates_with_201_and_changes_with_200(client: ApiClient) -> None:
    code, made = await apply(client, CONFIG_MAPS, config_map("a", k="v"))
    assert (code, made["data"], managers(made)) == (201, {"k": "v"}, [("me", "Apply", "")])
    code, changed = await apply(client, CONFIG_MAPS, config_map("a", l="w"))
    assert (code, changed["data"]) == (200, {"l": "w"})
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


async def test_the_same_apply_does_not_move_the_revision(client: ApiClient) -> None:
    for wanted, resource in ((deployment("web"), DEPLOYMENTS), (service("web"), SERVICES)):
        _, first = await apply(client, resource, wanted)
        assert await apply(client, resource, wanted) == (200, first)


async def test_a_conflict_is_a_409_with_causes(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("a", k="v"), "default")
    await apply(client, CONFIG_MAPS, config_map("a", l="v"), "m1")
    code, found = await apply(client, CONFIG_MAPS, config_map("a", l="w"), "m2")
    assert (code, found["reason"]) == (409, "Conflict")
    assert found["message"] == 'Apply failed with 1 conflict: conflict with "m1": .data.l'
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "m1"', "field": ".data.l"}
    assert found["details"] == {"causes": [cause]}
    code, found = await apply(client, CONFIG_MAPS, config_map("a", l="w"), "m2", force="true")
    assert (code, found["data"]) == (200, {"k": "v", "l": "w"})


async def test_what_apply_asks_for_is_checked(client: ApiClient) -> None:
    path, text = CONFIG_MAPS.path("default", "a"), yaml.safe_dump(config_map("a")).encode()

    async def refused(body: bytes, headers: dict[str, str] = APPLY, **query: str) -> tuple[int, str]:
        answer = await client.raw("PATCH", path, body, headers=headers, query=query)
        return answer.status, json.loads(answer.body)["message"]

    missing = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    assert await refused(text) == (422, missing)
    too_long = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes'
    assert await refused(text, fieldManager="x" * 129) == (422, too_long)
    code, why = await refused(text, fieldManager="a\nb")
    assert code == 422 and why.endswith("should only contain printable characters")
    merge = {"content-type": "application/merge-patch+json"}
    code, why = await refused(b"{}", merge, force="true")
    assert code == 422 and why.endswith("force: Forbidden: may not be specified for non-apply patch")
    v2 = yaml.safe_dump({**config_map("a"), "apiVersion": "v2"}).encode()
    wrong = "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1"
    assert await refused(v2, fieldManager="m") == (400, wrong)
    with_managers = yaml.safe_dump({**config_map("a"), "metadata": {"name": "a", "managedFields": []}}).encode()
    assert await refused(with_managers, fieldManager="m") == (400, "metadata.managedFields must be nil")
    unknown = yaml.safe_dump({**config_map("a"), "dota": {}}).encode()
    why = "failed to create typed patch object (default/a; v1, Kind=ConfigMap): .dota: field not declared in schema"
    assert await refused(unknown, fieldManager="m") == (400, why)
    assert (await refused(b"[", fieldManager="m"))[0] == (await refused(b"x", fieldManager="m"))[0] == 400
    assert (await refused(yaml.safe_dump(config_map("b")).encode(), fieldManager="m"))[0] == 400


async def test_a_dry_run_of_an_apply_stores_nothing(client: ApiClient) -> None:
    assert (await apply(client, CONFIG_MAPS, config_map("a", k="v"), dryRun="All"))[0] == 201
    with pytest.raises(ApiError):
        await client.get(CONFIG_MAPS, "a", "default")


async def test_applies_that_race_to_create_all_succeed(client: ApiClient) -> None:
    answers = await asyncio.gather(
        *(apply(client, CONFIG_MAPS, config_map("a", **{f"k{i}": "v"}), f"m{i}") for i in range(8))
    )
    assert sorted(code for code, _ in answers) == [200] * 7 + [201]
    found = await client.get(CONFIG_MAPS, "a", "default")
    assert len(found["data"]) == len(managers(found)) == 8


async def test_an_apply_with_an_old_revision_or_a_foreign_uid_is_a_conflict(client: ApiClient) -> None:
    _, made = await apply(client, CONFIG_MAPS, config_map("a", k="v"))
    await apply(client, CONFIG_MAPS, config_map("a", k="w"))
    stale = config_map("a", k="x")
    stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert (await apply(client, CONFIG_MAPS, stale))[0] == 409
    foreign = config_map("b", k="x")
    foreign["metadata"]["uid"] = "u"
    code, found = await apply(client, CONFIG_MAPS, foreign)
    assert code == 409 and "uid mismatch" in found["message"]


async def test_apply_needs_the_right_to_create_what_is_not_there(api: Api, client: ApiClient) -> None:
    await client.create(CLUSTER_ROLES, {
        "metadata": {"name": "patcher"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]}],
    })  # fmt: skip
    await client.create(ROLE_BINDINGS, {
        "metadata": {"name": "patcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "patcher"},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}],
    }, "default")  # fmt: skip
    ann = api.client("ann", ())
    code, found = await apply(ann, CONFIG_MAPS, config_map("a", k="v"))
    assert code == 403 and 'cannot create resource "configmaps"' in found["message"]
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    assert (await apply(ann, CONFIG_MAPS, config_map("a", k="v")))[0] == 200


async def test_every_write_has_an_owner_named_by_the_query_or_the_user_agent(client: ApiClient) -> None:
    path, headers = CONFIG_MAPS.path("default"), {"user-agent": "my-tool/v1 (linux)"}
    made = json.loads((await client.raw("POST", path, config_map("a", k="v"), headers=headers)).body)
    assert managers(made) == [("my-tool", "Update", "")]
    assert fields(made, "my-tool") == {"f:data": {".": {}, "f:k": {}}}
    named = {"fieldManager": "named"}
    changed = {**made, "data": {"k": "w"}}
    found = json.loads((await client.raw("PUT", CONFIG_MAPS.path("default", "a"), changed, query=named)).body)
    assert fields(found, "named") == {"f:data": {"f:k": {}}}
    assert fields(found, "my-tool") == {"f:data": {}}
    patched = await client.patch(CONFIG_MAPS, "a", {"data": {"l": "1"}}, "default", field_manager="patcher")
    assert fields(patched, "patcher") == {"f:data": {"f:l": {}}}


async def test_what_the_server_fills_in_belongs_to_nobody(client: ApiClient) -> None:
    made = await client.create(SERVICES, service("web"), "default")
    spec = made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert made["spec"]["clusterIP"] and "f:clusterIP" not in spec
    assert spec["f:ports"]['k:{"port":80,"protocol":"TCP"}'] == {
        ".": {},
        "f:port": {},
        "f:protocol": {},
        "f:targetPort": {},
    }


async def test_a_binding_is_nobodys_and_a_status_belongs_to_its_subresource(client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(PODS, pod("p"), "default")
    await client.create(PODS, {"target": {"kind": "Node", "name": "n"}}, "default", subresource="binding", name="p")
    bound = await client.get(PODS, "p", "default")
    assert len(managers(bound)) == 1 and "f:nodeName" not in bound["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    changed = {**bound, "status": {**bound["status"], "phase": "Running"}, "spec": {}}
    found = await client.update(PODS, changed, subresource="status")
    assert found["metadata"]["managedFields"][-1]["subresource"] == "status"
    assert found["metadata"]["managedFields"][-1]["fieldsV1"] == {"f:status": {"f:phase": {}}}


async def test_a_status_is_applied_through_its_subresource_only(client: ApiClient) -> None:
    _, made = await apply(client, DEPLOYMENTS, deployment("web", 3))
    wanted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"replicas": 2}}
    code, found = await apply(client, DEPLOYMENTS, {**wanted, "spec": {"replicas": 9}}, "st", subresource="status")
    assert (code, found["status"], found["spec"]) == (200, {"replicas": 2}, made["spec"])
    assert fields(found, "st") == {"f:status": {"f:replicas": {}}}
    assert found["metadata"]["generation"] == 1
    code, found = await apply(client, DEPLOYMENTS, {**deployment("web", 3), "status": {"replicas": 7}})
    assert (code, found["status"]) == (200, {"replicas": 2})
    missing = {**wanted, "metadata": {"name": "absent"}}
    assert (await apply(client, DEPLOYMENTS, missing, subresource="status"))[0] == 404


async def test_scaling_takes_the_replicas_from_their_applier(client: ApiClient) -> None:
    await apply(client, DEPLOYMENTS, deployment("web", 3))
    await client.patch(
        DEPLOYMENTS, "web", {"spec": {"replicas": 5}}, "default", subresource="scale", field_manager="hpa"
    )
    code, found = await apply(client, DEPLOYMENTS, deployment("web", 3))
    assert code == 409
    assert found["message"].endswith('conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas')
    released = deployment("web")
    del released["spec"]["replicas"]
    code, found = await apply(client, DEPLOYMENTS, released)
    assert (code, found["spec"]["replicas"], found["metadata"]["generation"]) == (200, 5, 2)


async def test_a_dropped_field_falls_back_to_its_default(client: ApiClient) -> None:
    await apply(client, DEPLOYMENTS, deployment("web", 3))
    released = deployment("web")
    del released["spec"]["replicas"]
    _, found = await apply(client, DEPLOYMENTS, released)
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (1, 2)


async def test_owners_are_reset_by_one_empty_entry(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("a", k="v"), "default")
    kept = await client.patch(CONFIG_MAPS, "a", {"metadata": {"managedFields": []}}, "default")
    assert len(managers(kept)) == 1
    reset = await client.patch(CONFIG_MAPS, "a", {"metadata": {"managedFields": [{}]}}, "default")
    assert managers(reset) == []
    assert managers(await client.patch(CONFIG_MAPS, "a", {"data": {"k": "w"}}, "default")) == []
    code, found = await apply(client, CONFIG_MAPS, config_map("a", k="x"))
    assert code == 409 and 'conflict with "before-first-apply" using v1: .data.k' in found["message"]


async def test_an_autoscaler_may_be_applied_in_two_versions(client: ApiClient) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    v1 = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": spec}
    assert (await apply(client, HORIZONTAL_POD_AUTOSCALERS_V1, v1))[0] == 201
    target = {"type": "Utilization", "averageUtilization": 60}
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    v2_spec = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 3, "metrics": metrics}
    v2 = {**v1, "apiVersion": "autoscaling/v2", "spec": v2_spec}
    code, found = await apply(client, HORIZONTAL_POD_AUTOSCALERS, v2, "other")
    assert code == 409 and '"me": .spec.targetCPUUtilizationPercentage' in found["message"]
    code, found = await apply(client, HORIZONTAL_POD_AUTOSCALERS, v2)
    assert code == 200 and managers(found) == [("me", "Apply", "")]
    assert found["metadata"]["managedFields"][0]["apiVersion"] == "autoscaling/v2"


async def test_apply_reaches_resources_of_the_cluster(client: ApiClient) -> None:
    wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"a": "b"}}}
    answer = await client.raw(
        "PATCH", NAMESPACES.path(None, "n"), json.dumps(wanted).encode(), headers=APPLY, query={"fieldManager": "me"}
    )
    assert answer.status == 201
    assert managers(json.loads(answer.body)) == [("me", "Apply", "")]


async def test_who_writes_string_data_owns_the_data(client: ApiClient) -> None:
    wanted = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}
    made = await client.create(SECRETS, wanted, "default")
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {".": {}, "f:k": {}}, "f:type": {}}
    again = await client.patch(SECRETS, "s", {"stringData": {"k": "v"}}, "default", field_manager="other")
    assert again == made
    changed = await client.patch(SECRETS, "s", {"stringData": {"k": "w"}}, "default", field_manager="other")
    assert fields(changed, "other") == {"f:data": {"f:k": {}}}


async def test_a_scale_can_be_applied_and_owns_the_replicas(client: ApiClient) -> None:
    await client.create(DEPLOYMENTS, deployment("d"), "default")
    path = DEPLOYMENTS.path("default", "d", "scale")
    headers = {"content-type": "application/apply-patch+yaml"}

    async def apply(manager: str, replicas: int, **query: str) -> Any:
        wanted = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "d"},
            "spec": {"replicas": replicas},
        }
        return await client.raw("PATCH", path, wanted, headers, {"fieldManager": manager, **query})

    assert (await apply("scaler", 4, force="true")).status == 200
    found = await client.get(DEPLOYMENTS, "d", "default")
    assert found["spec"]["replicas"] == 4
    owner = next(each for each in found["metadata"]["managedFields"] if each["manager"] == "scaler")
    assert (owner["operation"], owner["subresource"]) == ("Apply", "scale")
    assert owner["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    conflict = await apply("other", 5)
    assert conflict.status == 409 and b"scaler" in conflict.body
