"""Aggregated APIs: proxied with the user's name, watched, upgraded, shown in discovery and OpenAPI; real kubectl too."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from controlplane.apiserver.openapi import V2_PROTOBUF_ACCEPT
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import API_SERVICES, CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, SERVICES, Resource
from controlplane.objects.meta import condition_of
from controlplane.objects.status import ApiError
from tests.controlplane.aggregation.extension import GROUP, PATH, VERSION, ExtensionServer
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority
from tests.controlplane.apiserver.test_kubectl import KUBECTLS, Kubectl
from tests.controlplane.crd.conftest import defined

FLUNDERS = Resource(GROUP, VERSION, "flunders", "Flunder", namespaced=True)
NAME = f"{VERSION}.{GROUP}"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def until_available(client: ApiClient, verdict: str = "True", name: str = NAME) -> dict[str, Any]:
    """The condition, once it says so: the API service is watched until then."""
    async with asyncio.timeout(10):
        async for event in client.watch(API_SERVICES):
            if event.object["metadata"].get("name") == name:
                found = condition_of(event.object, "Available")
                if found and found["status"] == verdict:
                    return found
    raise AssertionError("the watch ended")


@pytest.fixture
async def served(client: ApiClient, extension: ExtensionServer) -> ExtensionServer:
    await extension.expose(client)
    await extension.register(client)
    await until_available(client)
    return extension


async def test_what_this_server_serves_has_local_api_services(client: ApiClient) -> None:
    await until_available(client, name="v1.apps")
    found = {each["metadata"]["name"]: each for each in (await client.list(API_SERVICES))["items"]}
    assert {"v1.", "v1.apps", "v2.autoscaling", "v1beta1.metrics.k8s.io"} <= set(found)
    assert found["v1."]["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}
    assert condition_of(found["v1.apps"], "Available")["reason"] == "Local"  # type: ignore[index]


async def test_what_a_server_must_know_to_believe_us_is_published(start_api: StartApi, authority: Authority) -> None:
    certificate, _ = authority.issue("front-proxy-ca", "front-proxy-ca")
    trusted = {"requestheader_client_ca_file": certificate, "requestheader_allowed_names": ("front-proxy-client",)}
    made: Api = await start_api(MemoryBackend(), **trusted)
    found = await made.client().get(CONFIG_MAPS, "extension-apiserver-authentication", "kube-system")
    assert found["data"]["client-ca-file"] == authority.path.read_text()
    assert found["data"]["requestheader-client-ca-file"] == certificate.read_text()
    assert found["data"]["requestheader-allowed-names"] == '["front-proxy-client"]'


async def test_the_api_service_of_a_custom_resource_comes_and_goes_with_it(client: ApiClient) -> None:
    await defined(client)
    await until_available(client, name="v1.stable.example.com")
    before = (await client.list(API_SERVICES))["metadata"]["resourceVersion"]
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, "crontabs.stable.example.com")
    async with asyncio.timeout(10):
        async for event in client.watch(API_SERVICES, resource_version=before):
            if event.type == "DELETED" and event.object["metadata"]["name"] == "v1.stable.example.com":
                return


async def test_requests_are_passed_on_in_the_name_of_the_user(
    api: Api, client: ApiClient, served: ExtensionServer
) -> None:
    flunder = {"metadata": {"name": "a"}, "spec": {"x": 1}}
    made = await client.create(FLUNDERS, flunder, "default")
    assert made["spec"] == {"x": 1} and await client.get(FLUNDERS, "a", "default") == made
    headers = {"x-remote-user": "somebody else", "x-remote-group": "x", "x-remote-extra-scopes": "all"}
    await client.raw("GET", f"{PATH}/flunders?limit=500", headers=headers)
    _, target, seen = served.seen[-1]
    assert target.endswith("/flunders?limit=500")
    assert seen["x-remote-user"] == ["admin"] and "authorization" not in seen
    assert seen["x-remote-group"] == ["system:masters", "system:authenticated"]
    assert not any("scopes" in name for name in seen)


async def test_a_name_that_is_several_header_lines_is_passed_on_to_nobody(api: Api, served: ExtensionServer) -> None:
    before = len(served.seen)
    for name in ("eve\r\nX-Remote-Group: system:masters", "eve\nx: y", "eve\x7f"):
        with pytest.raises(ApiError) as caught:
            await api.client(name, ("system:masters",)).list(FLUNDERS, "default")
        assert caught.value.code == 400
    assert not any("eve" in str(seen) for seen in served.seen[before:])


async def test_authorization_is_ours(api: Api, served: ExtensionServer) -> None:
    before = len(served.seen)
    with pytest.raises(ApiError) as caught:
        await api.client("nobody", ()).list(FLUNDERS, "default")
    assert caught.value.code == 403 and not any("nobody" in str(seen) for seen in served.seen[before:])


async def test_a_watch_and_a_refusal_are_passed_on(client: ApiClient, served: ExtensionServer) -> None:
    await client.create(FLUNDERS, {"metadata": {"name": "a"}}, "default")
    answer = await client.raw("GET", f"{PATH}/flunders?watch=true")
    assert json.loads(answer.body)["object"]["metadata"]["name"] == "a"
    with pytest.raises(ApiError) as caught:
        await client.get(FLUNDERS, "none", "default")
    assert caught.value.reason == "NotFound"


async def test_an_upgraded_connection_is_passed_on(api: Api, served: ExtensionServer) -> None:
    context = ssl.create_default_context(cafile=str(api.authority.path))
    context.load_cert_chain(*map(str, api.authority.issue("upgrader", "upgrader", ("system:masters",))))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.server.rsplit(":", 1)[1]), ssl=context)
    writer.write(f"GET {PATH}/x HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"ping")
    assert head.startswith(b"HTTP/1.1 101 ") and await reader.readexactly(4) == b"ping"
    assert served.seen[-1][2]["x-remote-user"] == ["upgrader"]
    writer.transport.abort()


async def test_discovery_shows_it_in_both_forms(client: ApiClient, served: ExtensionServer) -> None:
    groups = json.loads((await client.raw("GET", "/apis")).body)["groups"]
    assert GROUP in [group["name"] for group in groups] and groups[0]["name"] == "apps"
    group = json.loads((await client.raw("GET", f"/apis/{GROUP}")).body)
    assert group["preferredVersion"] == {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    assert json.loads((await client.raw("GET", PATH)).body)["resources"][0]["name"] == "flunders"
    answer = await client.raw("GET", "/apis", headers={"accept": AGGREGATED})
    items = {item["metadata"]["name"]: item for item in json.loads(answer.body)["items"]}
    (version,) = items[GROUP]["versions"]
    kind = {"group": GROUP, "version": VERSION, "kind": "Flunder"}
    assert (version["freshness"], version["resources"][0]["responseKind"]) == ("Current", kind)
    again = await client.raw("GET", "/apis", headers={"accept": AGGREGATED, "if-none-match": answer.headers["etag"]})
    assert again.status == 304


async def test_openapi_of_both_is_merged(client: ApiClient, served: ExtensionServer) -> None:
    paths = json.loads((await client.raw("GET", "/openapi/v3")).body)["paths"]
    assert "apis/apps/v1" in paths
    document = json.loads((await client.raw("GET", paths[PATH[1:]]["serverRelativeURL"])).body)
    assert document["info"]["title"] == "wardle"
    swagger = json.loads((await client.raw("GET", "/openapi/v2")).body)
    assert {"com.example.wardle.v1alpha1.Flunder", "io.k8s.api.core.v1.Pod"} <= set(swagger["definitions"])
    raw = await client.raw("GET", "/openapi/v2", headers={"accept": V2_PROTOBUF_ACCEPT})
    assert b"com.example.wardle.v1alpha1.Flunder" in raw.body


async def test_while_it_cannot_be_asked_the_answer_is_503(client: ApiClient, extension: ExtensionServer) -> None:
    await extension.register(client)
    found = await until_available(client, "False")
    assert (found["reason"], found["message"]) == ("ServiceNotFound", 'service/flunders in "default" is not present')
    answer = await client.raw("GET", PATH)
    assert (answer.status, answer.body) == (503, b"service unavailable\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    ports = [{"name": "https", "port": 8443}]
    await client.create(SERVICES, {"metadata": {"name": "flunders"}, "spec": {"ports": ports}}, "default")
    answer = await client.raw("GET", "/apis", headers={"accept": AGGREGATED})
    items = {item["metadata"]["name"]: item for item in json.loads(answer.body)["items"]}
    assert items[GROUP]["versions"] == [{"version": VERSION, "resources": [], "freshness": "Stale"}]


async def test_a_server_with_another_certificate_is_not_believed(client: ApiClient, extension: ExtensionServer) -> None:
    await extension.expose(client)
    await extension.register(client, caBundle=None)
    found = await until_available(client, "False")
    assert found["reason"] == "FailedDiscoveryCheck" and "failing or missing response from https://" in found["message"]
    await client.patch(API_SERVICES, NAME, {"spec": {"insecureSkipTLSVerify": True}})
    assert (await until_available(client))["reason"] == "Passed"


async def test_metrics_of_our_own_can_be_given_away_and_come_back(
    client: ApiClient, extension: ExtensionServer
) -> None:
    await until_available(client, name="v1beta1.metrics.k8s.io")
    assert (await client.raw("GET", "/apis/metrics.k8s.io/v1beta1/nodes")).status == 200
    spec = {"service": {"name": "none", "namespace": "default"}, "insecureSkipTLSVerify": True}
    name = "v1beta1.metrics.k8s.io"
    await client.patch(API_SERVICES, name, {"spec": spec})
    await until_available(client, "False", name)
    assert (await client.raw("GET", "/apis/metrics.k8s.io/v1beta1/nodes")).status == 503
    await client.delete(API_SERVICES, name)
    await until_available(client, "True", name)
    assert (await client.raw("GET", "/apis/metrics.k8s.io/v1beta1/nodes")).status == 200


@pytest.mark.parametrize("program", KUBECTLS)
async def test_kubectl_works_with_an_aggregated_api(
    program: str, api: Api, served: ExtensionServer, tmp_path: Path
) -> None:
    kubectl = Kubectl(program, api.kubeconfig(), tmp_path)
    document = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Flunder", "metadata": {"name": "a"}}
    code, output = await kubectl.run("create", "-f", "-", text=json.dumps(document))
    assert (code, output) == (0, "flunder.wardle.example.com/a created\n")
    code, output = await kubectl.run("get", "fl", "-o", "name")
    assert (code, output) == (0, "flunder.wardle.example.com/a\n")
    code, output = await kubectl.run("get", "apiservices", NAME)
    assert code == 0 and "default/flunders" in output and "True" in output
    code, output = await kubectl.run("api-resources", "--api-group", GROUP)
    assert code == 0 and "Flunder" in output
    code, output = await kubectl.run("explain", "flunders")
    assert code == 0 and "a flunder" in output
