"""Objects through the API: create, read, change, patch, delete."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.examples import config_map, deployment, pod, service


async def test_a_created_object_has_what_the_server_writes(client: ApiClient) -> None:
    made = await client.create(CONFIG_MAPS, config_map("a", k="v"), "default")
    metadata = made["metadata"]
    assert metadata["uid"] and metadata["creationTimestamp"].endswith("Z") and int(metadata["resourceVersion"]) > 0
    assert await client.get(CONFIG_MAPS, "a", "default") == made


async def test_a_taken_name_is_refused_in_kubernetes_words(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    with pytest.raises(ApiError) as caught:
        await client.create(CONFIG_MAPS, config_map("a"), "default")
    assert (caught.value.code, caught.value.reason) == (409, "AlreadyExists")
    assert caught.value.message == 'configmaps "a" already exists'


async def test_generated_names_differ(client: ApiClient) -> None:
    wanted = {"metadata": {"generateName": "a-"}}
    names = {(await client.create(CONFIG_MAPS, wanted, "default"))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5 and all(name.startswith("a-") and len(name) == 7 for name in names)


async def test_an_object_without_a_name_is_invalid(client: ApiClient) -> None:
    with pytest.raises(ApiError) as caught:
        await client.create(CONFIG_MAPS, {"data": {}}, "default")
    assert caught.value.code == 422 and "name or generateName is required" in caught.value.message


async def test_a_change_made_from_an_old_revision_is_a_conflict(client: ApiClient) -> None:
    first = await client.create(CONFIG_MAPS, config_map("a", k="1"), "default")
    await client.update(CONFIG_MAPS, {**first, "data": {"k": "2"}})
    with pytest.raises(ApiError) as caught:
        await client.update(CONFIG_MAPS, {**first, "data": {"k": "3"}})
    assert caught.value.reason == "Conflict"
    assert "the object has been modified; please apply your changes to the latest version" in caught.value.message


async def test_a_change_that_changes_nothing_keeps_the_revision(client: ApiClient) -> None:
    first = await client.create(CONFIG_MAPS, config_map("a", k="1"), "default")
    again = await client.update(CONFIG_MAPS, first)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", {"data": {"k": None, "n": "1"}}),
        ("strategic", {"data": {"k": None, "n": "1"}}),
        ("json", [{"op": "remove", "path": "/data/k"}, {"op": "add", "path": "/data/n", "value": "1"}]),
    ],
)
async def test_every_kind_of_patch_applies(client: ApiClient, kind: str, patch: object) -> None:
    await client.create(CONFIG_MAPS, config_map("a", k="v"), "default")
    found = await client.patch(CONFIG_MAPS, "a", patch, "default", type=kind)  # type: ignore[arg-type]
    assert found["data"] == {"n": "1"}


async def test_a_json_patch_whose_test_fails_is_unprocessable(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("a", k="v"), "default")
    with pytest.raises(ApiError) as caught:
        wanted = [{"op": "test", "path": "/data/k", "value": "w"}]
        await client.patch(CONFIG_MAPS, "a", wanted, "default", type="json")
    assert caught.value.code == 422
    assert caught.value.message == "the server rejected our request due to an error in our request"


async def test_patches_that_race_all_apply(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    await asyncio.gather(
        *(client.patch(CONFIG_MAPS, "a", {"data": {f"k{i}": "v"}}, "default", type="merge") for i in range(10))
    )
    assert len((await client.get(CONFIG_MAPS, "a", "default"))["data"]) == 10


async def test_a_dry_run_stores_nothing(client: ApiClient) -> None:
    answer = await client.raw(
        "POST", "/api/v1/namespaces/default/configmaps", body=config_map("a"), query={"dryRun": "All"}
    )
    assert answer.status == 201
    with pytest.raises(ApiError) as caught:
        await client.get(CONFIG_MAPS, "a", "default")
    assert caught.value.code == 404


async def test_unknown_fields_are_refused_when_the_client_is_strict(client: ApiClient) -> None:
    wanted = {**config_map("a"), "foo": 1}
    path = "/api/v1/namespaces/default/configmaps"
    refusal = await client.raw("POST", path, body=wanted, query={"fieldValidation": "Strict"})
    assert refusal.status == 400 and b'strict decoding error: unknown field \\"foo\\"' in refusal.body
    answer = await client.raw("POST", path, body=wanted, query={"fieldValidation": "Warn"})
    assert answer.headers["warning"] == '299 - "unknown field \\"foo\\""'


async def test_generation_counts_changes_of_the_spec_only(client: ApiClient) -> None:
    made = await client.create(DEPLOYMENTS, deployment("web"), "default")
    assert made["metadata"]["generation"] == 1
    labelled = await client.patch(DEPLOYMENTS, "web", {"metadata": {"labels": {"a": "b"}}}, "default", type="merge")
    assert labelled["metadata"]["generation"] == 1
    scaled = await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default", type="merge")
    assert scaled["metadata"]["generation"] == 2


async def test_status_changes_only_through_its_subresource(client: ApiClient) -> None:
    made = await client.create(DEPLOYMENTS, {**deployment("web"), "status": {"replicas": 9}}, "default")
    assert "status" not in made or made["status"].get("replicas", 0) == 0
    changed = {**made, "spec": {**made["spec"], "replicas": 7}, "status": {"replicas": 2}}
    answered = await client.update(DEPLOYMENTS, changed, subresource="status")
    assert answered["status"]["replicas"] == 2 and answered["spec"]["replicas"] == 1
    again = await client.update(DEPLOYMENTS, {**answered, "status": {"replicas": 5}})
    assert again["status"]["replicas"] == 2


async def test_scale_reads_and_writes_replicas(client: ApiClient) -> None:
    await client.create(DEPLOYMENTS, deployment("web"), "default")
    path = DEPLOYMENTS.path("default", "web", "scale")
    answer = await client.raw(
        "PATCH", path, body={"spec": {"replicas": 4}}, headers={"content-type": "application/merge-patch+json"}
    )
    assert answer.status == 200
    assert (await client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == 4


async def test_a_pod_that_no_node_runs_goes_at_once(client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(PODS, pod("a"), "default")
    await client.delete(PODS, "a", "default")
    with pytest.raises(ApiError):
        await client.get(PODS, "a", "default")


async def test_a_bound_pod_waits_for_its_grace_period(client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(PODS, pod("a"), "default")
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "a"},
        "target": {"kind": "Node", "name": "n"},
    }
    await client.create(PODS, binding, "default", subresource="binding", name="a")
    answered = await client.delete(PODS, "a", "default", grace_period_seconds=12)
    assert answered["metadata"]["deletionGracePeriodSeconds"] == 12
    assert (await client.get(PODS, "a", "default"))["metadata"]["deletionTimestamp"]
    await client.delete(PODS, "a", "default", grace_period_seconds=0)
    with pytest.raises(ApiError):
        await client.get(PODS, "a", "default")


async def test_finalizers_hold_an_object_until_the_last_is_gone(client: ApiClient) -> None:
    wanted = config_map("a")
    wanted["metadata"]["finalizers"] = ["example.com/one"]
    await client.create(CONFIG_MAPS, wanted, "default")
    answered = await client.delete(CONFIG_MAPS, "a", "default")
    assert answered["metadata"]["deletionTimestamp"]
    await client.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, "default", type="merge")
    with pytest.raises(ApiError):
        await client.get(CONFIG_MAPS, "a", "default")


async def test_foreground_deletion_leaves_its_finalizer(client: ApiClient) -> None:
    await client.create(DEPLOYMENTS, deployment("web"), "default")
    answered = await client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")
    assert answered["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_a_deletion_with_another_uid_is_a_conflict(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    with pytest.raises(ApiError) as caught:
        await client.delete(CONFIG_MAPS, "a", "default", uid="another")
    assert caught.value.code == 409 and "Precondition failed: UID in precondition: another" in caught.value.message


async def test_a_collection_is_deleted_by_selector(client: ApiClient) -> None:
    for name in ("a", "b", "c"):
        wanted = config_map(name)
        wanted["metadata"]["labels"] = {"keep": "yes" if name == "b" else "no"}
        await client.create(CONFIG_MAPS, wanted, "default")
    await client.delete_collection(CONFIG_MAPS, "default", label_selector="keep=no")
    left = await client.list(CONFIG_MAPS, "default")
    assert [each["metadata"]["name"] for each in left["items"]] == ["b"]


async def test_nothing_is_created_in_a_namespace_that_is_absent_or_going(client: ApiClient) -> None:
    with pytest.raises(ApiError) as caught:
        await client.create(CONFIG_MAPS, config_map("a"), "nowhere")
    assert caught.value.message == 'namespaces "nowhere" not found'
    await client.create(NAMESPACES, {"metadata": {"name": "n"}})
    await client.delete(NAMESPACES, "n")
    with pytest.raises(ApiError) as caught:
        await client.create(CONFIG_MAPS, config_map("a"), "n")
    assert caught.value.has_cause("NamespaceTerminating")


async def test_a_namespace_goes_when_its_finalizer_is_taken_off(client: ApiClient) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "n"}})
    going = await client.delete(NAMESPACES, "n")
    assert going["status"]["phase"] == "Terminating"
    await client.update(NAMESPACES, {**going, "spec": {"finalizers": []}}, subresource="finalize")
    with pytest.raises(ApiError):
        await client.get(NAMESPACES, "n")


async def test_the_first_namespaces_stay(client: ApiClient) -> None:
    with pytest.raises(ApiError) as caught:
        await client.delete(NAMESPACES, "kube-system")
    assert caught.value.code == 403


async def test_services_get_addresses_and_ports_of_their_own(client: ApiClient) -> None:
    made = [await client.create(SERVICES, service(f"s{i}", "NodePort"), "default") for i in range(5)]
    assert len({each["spec"]["clusterIP"] for each in made}) == 5
    ports = {each["spec"]["ports"][0]["nodePort"] for each in made}
    assert len(ports) == 5 and all(30000 <= port <= 32767 for port in ports)


async def test_an_address_in_use_is_refused_and_free_again_after_deletion(client: ApiClient) -> None:
    first = await client.create(SERVICES, service("a"), "default")
    taken = service("b")
    taken["spec"]["clusterIP"] = first["spec"]["clusterIP"]
    with pytest.raises(ApiError) as caught:
        await client.create(SERVICES, taken, "default")
    assert "provided IP is already allocated" in caught.value.message
    await client.delete(SERVICES, "a", "default")
    again = await client.create(SERVICES, taken, "default")
    assert again["spec"]["clusterIP"] == first["spec"]["clusterIP"]


async def test_a_headless_service_has_no_address(client: ApiClient) -> None:
    wanted = service("a")
    wanted["spec"]["clusterIP"] = "None"
    assert (await client.create(SERVICES, wanted, "default"))["spec"]["clusterIPs"] == ["None"]


async def test_string_data_becomes_data(client: ApiClient) -> None:
    made = await client.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "b"}}, "default")
    assert made["data"] == {"a": "Yg=="} and "stringData" not in made and made["type"] == "Opaque"


async def test_a_service_that_changes_its_type_gives_back_what_it_had(client: ApiClient) -> None:
    made = await client.create(SERVICES, service("a", "NodePort"), "default")
    port, address = made["spec"]["ports"][0]["nodePort"], made["spec"]["clusterIP"]
    changed = await client.patch(SERVICES, "a", {"spec": {"type": "ClusterIP"}}, "default", type="merge")
    assert "nodePort" not in changed["spec"]["ports"][0] and changed["spec"]["clusterIP"] == address
    other = service("b", "NodePort")
    other["spec"]["ports"][0]["nodePort"] = port
    assert (await client.create(SERVICES, other, "default"))["spec"]["ports"][0]["nodePort"] == port
    named = {"spec": {"type": "ExternalName", "externalName": "example.com", "ports": None}}
    changed = await client.patch(SERVICES, "a", named, "default", type="merge")
    assert "clusterIP" not in changed["spec"]
    third = service("c")
    third["spec"]["clusterIP"] = address
    assert (await client.create(SERVICES, third, "default"))["spec"]["clusterIP"] == address


async def test_a_node_port_outside_of_the_range_is_refused(client: ApiClient) -> None:
    wanted = service("a", "NodePort")
    wanted["spec"]["ports"][0]["nodePort"] = 80
    with pytest.raises(ApiError) as caught:
        await client.create(SERVICES, wanted, "default")
    assert "provided port is not in the valid range. The range of valid ports is 30000-32767" in caught.value.message


async def test_a_job_selects_its_own_pods(client: ApiClient) -> None:
    spec = {"template": {"spec": {**pod("x")["spec"], "restartPolicy": "Never"}}}
    made = await client.create(JOBS, {"metadata": {"name": "j"}, "spec": spec}, "default")
    uid = made["metadata"]["uid"]
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert made["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "j"
    made["spec"].pop("selector")
    made["spec"]["parallelism"] = 2
    again = await client.update(JOBS, made)
    assert again["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] == uid


async def test_put_makes_leases_that_are_not_there_and_no_config_maps(client: ApiClient) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
    wanted = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    assert (await client.raw("PUT", path, wanted)).status == 201
    assert (await client.raw("PUT", path, wanted)).status == 200
    absent = "/api/v1/namespaces/default/configmaps/c"
    assert (await client.raw("PUT", absent, config_map("c"))).status == 404


async def test_volumes_and_claims_are_pending_at_first(client: ApiClient) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = await client.raw(
        "POST", "/api/v1/namespaces/default/persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": spec}
    )
    assert made.status == 201 and b'"status":{"phase":"Pending"}' in made.body
