"""Several servers on one store, their bootstrap, their health, their stop."""

from __future__ import annotations

import asyncio
import json

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import (
    CERTIFICATE_SIGNING_REQUESTS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    EVENTS_V1,
    HORIZONTAL_POD_AUTOSCALERS,
    HORIZONTAL_POD_AUTOSCALERS_V1,
    IP_ADDRESSES,
    LEASES,
    LIMIT_RANGES,
    NAMESPACES,
    PODS,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api, StartApi, empty
from tests.controlplane.apiserver.examples import config_map, pod, service
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority, signing_request


async def test_three_servers_that_start_at_once_make_one_cluster(start_api: StartApi) -> None:
    backend = MemoryBackend()
    apis = await asyncio.gather(*(start_api(backend) for _ in range(3)))
    client: ApiClient = apis[0].client()
    names = {each["metadata"]["name"] for each in (await client.list(NAMESPACES))["items"]}
    assert names == {"default", "kube-system", "kube-public", "kube-node-lease"}
    assert len((await client.list(PRIORITY_CLASSES))["items"]) == 2
    assert (await client.get(CLUSTER_ROLES, "cluster-admin"))["rules"]


async def test_services_of_three_servers_never_share_an_address(start_api: StartApi) -> None:
    backend = MemoryBackend()
    apis = [await start_api(backend, service_cluster_ip_range="127.9.0.0/26") for _ in range(3)]
    clients = [each.client() for each in apis]
    made = await asyncio.gather(
        *(clients[at % 3].create(SERVICES, service(f"s{at}", "NodePort"), "default") for at in range(24))
    )
    addresses = {each["spec"]["clusterIP"] for each in made}
    assert len(addresses) == 24
    taken = {each["metadata"]["name"] for each in (await clients[0].list(IP_ADDRESSES))["items"]}
    assert addresses <= taken
    await asyncio.gather(*(clients[at % 3].delete(SERVICES, f"s{at}", "default") for at in range(24)))
    left = {each["metadata"]["name"] for each in (await clients[0].list(IP_ADDRESSES))["items"]}
    assert not addresses & left


async def test_a_change_at_one_server_is_seen_by_a_watch_at_another(start_api: StartApi) -> None:
    backend = MemoryBackend()
    first, second = [(await start_api(backend)).client() for _ in range(2)]
    events = first.watch(CONFIG_MAPS, "default")
    await second.create(CONFIG_MAPS, config_map("a"), "default")
    async with asyncio.timeout(5):
        event = await anext(aiter(events))
    assert (event.type, event.object["metadata"]["name"]) == ("ADDED", "a")


async def _eventually(client: ApiClient, resource: object, name: str, namespace: str) -> dict[str, object]:
    async with asyncio.timeout(5):
        async for event in client.watch(resource, namespace, field_selector=f"metadata.name={name}"):  # type: ignore[arg-type]
            return event.object
    raise AssertionError


async def test_the_kubernetes_service_points_to_the_servers(api: Api, client: ApiClient) -> None:
    port = int(api.server.rpartition(":")[2])
    endpoints = await _eventually(client, ENDPOINTS, "kubernetes", "default")
    assert endpoints["subsets"] == [
        {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}
    ]
    sliced = await _eventually(client, ENDPOINT_SLICES, "kubernetes", "default")
    assert sliced["ports"][0]["port"] == port  # type: ignore[index]
    found = await client.get(SERVICES, "kubernetes", "default")
    assert found["spec"]["clusterIP"] == "127.0.128.1"


async def test_every_server_has_an_identity_lease(api: Api, client: ApiClient) -> None:
    async with asyncio.timeout(5):
        async for event in client.watch(LEASES, "kube-system"):
            assert event.object["metadata"]["name"].startswith("apiserver-")
            break


async def test_health_is_told_check_by_check(client: ApiClient) -> None:
    verbose = (await client.raw("GET", "/readyz", query={"verbose": "true"})).body.decode()
    assert "[+]etcd ok" in verbose and verbose.endswith("readyz check passed\n")
    assert (await client.raw("GET", "/livez/etcd")).body == b"ok"
    assert (await client.raw("GET", "/livez/nothing")).status == 404


async def test_paths_that_are_not_there_are_told_in_plain_text(client: ApiClient) -> None:
    answer = await client.raw("GET", "/nowhere")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    answer = await client.raw("GET", "/api/v1/unicorns")
    assert json.loads(answer.body)["message"] == "the server could not find the requested resource"


async def test_discovery_and_openapi_are_cached_by_their_tags(client: ApiClient) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    first = await client.raw("GET", "/apis", headers={"accept": accept})
    assert first.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    again = await client.raw("GET", "/apis", headers={"accept": accept, "if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    index = json.loads((await client.raw("GET", "/openapi/v3")).body)
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    document = await client.raw("GET", url)
    assert document.headers["cache-control"] == "public, immutable"
    moved = await client.raw("GET", "/openapi/v3/apis/apps/v1", query={"hash": "OLD"})
    assert moved.status == 301 and moved.headers["location"] == url


async def test_metrics_have_kubernetes_names(client: ApiClient) -> None:
    await client.list(CONFIG_MAPS)
    text = (await client.raw("GET", "/metrics")).body.decode()
    assert 'apiserver_request_total{code="200",group="",resource="configmaps"' in text
    assert "apiserver_request_duration_seconds_bucket" in text


async def test_a_body_that_is_too_large_is_refused(client: ApiClient) -> None:
    body = b'{"metadata":{"name":"a"},"data":{"k":"' + b"x" * (3 << 20) + b'"}}'
    answer = await client.raw("POST", CONFIG_MAPS.path("default"), body=body)
    assert answer.status == 413 and json.loads(answer.body)["reason"] == "RequestEntityTooLarge"


async def test_yaml_bodies_and_answers_are_served(client: ApiClient) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n"
    headers = {"content-type": "application/yaml", "accept": "application/yaml"}
    answer = await client.raw("POST", CONFIG_MAPS.path("default"), body=body, headers=headers)
    assert answer.status == 201 and b"kind: ConfigMap\n" in answer.body


async def test_events_are_one_thing_in_two_groups(client: ApiClient) -> None:
    core = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default"}, "message": "m"}
    await client.create(EVENTS, {**core, "reason": "R", "type": "Normal"}, "default")
    newer = await client.get(EVENTS_V1, "e", "default")
    assert (newer["apiVersion"], newer["note"], newer["regarding"]["kind"]) == ("events.k8s.io/v1", "m", "Pod")
    found = await client.list(EVENTS_V1, "default", field_selector="regarding.kind=Pod")
    assert len(found["items"]) == 1


async def test_autoscalers_are_one_thing_in_two_versions(client: ApiClient) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 70}
    await client.create(HORIZONTAL_POD_AUTOSCALERS_V1, {"metadata": {"name": "h"}, "spec": spec}, "default")
    newer = await client.get(HORIZONTAL_POD_AUTOSCALERS, "h", "default")
    assert newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    older = await client.get(HORIZONTAL_POD_AUTOSCALERS_V1, "h", "default")
    assert older["spec"]["targetCPUUtilizationPercentage"] == 70


async def test_limits_are_filled_in_and_kept(client: ApiClient) -> None:
    limit = {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}
    await client.create(LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": {"limits": [limit]}}, "default")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    async with asyncio.timeout(5):
        while True:  # admission looks at its watch cache, which is told of the LimitRange a moment later
            made = await client.create(PODS, {**pod("a"), "metadata": {"generateName": "a-"}}, "default")
            if made["spec"]["containers"][0].get("resources", {}).get("limits"):
                break
    assert made["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}
    big = pod("b")
    big["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}
    with pytest.raises(ApiError) as caught:
        await client.create(PODS, big, "default")
    assert "maximum cpu usage per Container is 1, but limit is 2" in caught.value.message


async def test_a_quota_is_never_exceeded_by_creations_at_once(client: ApiClient) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "3"}}}
    await client.create(RESOURCE_QUOTAS, quota, "default")
    async with asyncio.timeout(5):
        async for _ in client.watch(RESOURCE_QUOTAS, "default", resource_version="0"):
            break
    results = await asyncio.gather(
        *(client.create(CONFIG_MAPS, config_map(f"c{at}"), "default") for at in range(8)), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, ApiError)]
    assert len(refused) == 5
    why = 'configmaps "c7" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=3, limited: configmaps=3'
    assert refused[-1].code == 403 and refused[-1].message[14:] == why[14:]


@pytest.fixture(params=["etcd", "member"])
def store(request: pytest.FixtureRequest) -> str:
    """The address of a real store: etcd, and our own; in the slow run all tests go over both."""
    found: str = request.getfixturevalue(request.param)
    return found


async def test_a_server_on_a_real_store_does_the_same(start_api: StartApi, store: str) -> None:
    await empty(store)
    api = await start_api(None, etcd_servers=(store,), event_ttl_seconds=30)
    client: ApiClient = api.client()
    revision = (await client.list(CONFIG_MAPS))["metadata"]["resourceVersion"]
    events = client.watch(CONFIG_MAPS, "default", resource_version=revision)
    made = await client.create(CONFIG_MAPS, config_map("on-store", k="1"), "default")
    changed = await client.patch(CONFIG_MAPS, "on-store", {"data": {"k": "2"}}, "default", type="merge")
    await client.delete(CONFIG_MAPS, "on-store", "default")
    async with asyncio.timeout(5):
        seen = [(await anext(events)).type for _ in range(3)]
    assert seen == ["ADDED", "MODIFIED", "DELETED"]
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    await client.create(SERVICES, service("on-store", "NodePort"), "default")
    await client.delete(SERVICES, "on-store", "default")
    await client.create(EVENTS, {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}}, "default")
    page = await client.list(CLUSTER_ROLES, limit=5)
    assert len(page["items"]) == 5 and page["metadata"]["continue"]


async def test_history_is_compacted_by_one_server_at_a_time(start_api: StartApi) -> None:
    backend = MemoryBackend()
    apis = [await start_api(backend, etcd_compaction_interval_seconds=0.02) for _ in range(2)]
    client: ApiClient = apis[0].client()
    rounds: list[int] = []
    compact = backend.compact

    async def counted(revision: int) -> None:
        rounds.append(revision)
        await compact(revision)

    backend.compact = counted  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        while len(rounds) < 3:
            await client.create(CONFIG_MAPS, {"metadata": {"generateName": "a-"}}, "default")
    assert rounds == sorted(set(rounds)), "no revision is compacted twice"


async def test_a_stopped_server_leaves_the_endpoints(start_api: StartApi) -> None:
    backend = MemoryBackend()
    first = await start_api(backend)
    second = await start_api(backend)
    client: ApiClient = first.client()
    async with asyncio.timeout(5):
        async for event in client.watch(ENDPOINTS, "default"):
            if len(event.object.get("subsets") or ()) == 2:
                break
        second.stop()
        async for event in client.watch(ENDPOINTS, "default"):
            if len(event.object.get("subsets") or ()) == 1:
                break
    slices = await client.list(ENDPOINT_SLICES, "default")
    assert [each["metadata"]["name"] for each in slices["items"]] == ["kubernetes"]


async def test_a_signing_request_carries_who_asked(api: Api) -> None:
    node = api.client("system:node:n", ("system:masters",))
    spec = {
        "request": signing_request("n"),
        "signerName": "example.com/s",
        "usages": ["client auth"],
        "username": "somebody",
    }
    made = await node.create(CERTIFICATE_SIGNING_REQUESTS, {"metadata": {"name": "c"}, "spec": spec})
    assert made["spec"]["username"] == "system:node:n" and "system:masters" in made["spec"]["groups"]


async def test_quota_that_was_used_up_is_free_again_after_deletions(client: ApiClient) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/secrets": "1"}}}
    await client.create(RESOURCE_QUOTAS, quota, "default")
    async with asyncio.timeout(5):
        async for _ in client.watch(RESOURCE_QUOTAS, "default", resource_version="0"):
            break
    await client.create(SECRETS, {"metadata": {"name": "a"}}, "default")
    with pytest.raises(ApiError):
        await client.create(SECRETS, {"metadata": {"name": "b"}}, "default")
    await client.delete(SECRETS, "a", "default")
    async with asyncio.timeout(5):
        while True:  # a quota that refuses is counted anew once a second
            try:
                await client.create(SECRETS, {"metadata": {"name": "b"}}, "default")
                break
            except ApiError:
                await asyncio.sleep(0.1)


async def test_a_key_that_does_not_fit_its_certificate_is_named(start_api: StartApi, authority: Authority) -> None:
    certificate, _ = authority.issue("one", "one", server=True)
    _, key = authority.issue("other", "other", server=True)
    with pytest.raises(ValueError, match=r"one\.crt and .*other\.key are no certificate and its key"):
        await start_api(MemoryBackend(), tls_cert_file=certificate, tls_private_key_file=key)


async def test_a_port_in_use_is_an_error(start_api: StartApi) -> None:
    api = await start_api(MemoryBackend())
    port = int(api.server.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await start_api(MemoryBackend(), secure_port=port)
