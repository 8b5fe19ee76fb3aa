"""What the API server passes on to kubelets: logs, proxied requests; what it makes of bindings and evictions."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import NODES, POD_DISRUPTION_BUDGETS, PODS, SERVICE_ACCOUNTS
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import StartApi
from tests.controlplane.apiserver.examples import pod
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority


class Kubelet:
    """An HTTPS server that demands a client certificate and tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.more = asyncio.Event()
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split(b" ")[1].decode()
        self.asked.append(target)
        if target.startswith("/containerLogs/default/p/gone"):
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnone")
        elif "follow" in target:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\none\n\r\n")
            await writer.drain()
            await self.more.wait()
            writer.write(b"4\r\ntwo\n\r\n0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()


@pytest.fixture
async def kubelet(authority: Authority) -> AsyncIterator[Kubelet]:
    found = Kubelet()
    certificate, key = authority.issue("kubelet", "kubelet", server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()


@pytest.fixture
async def admin(start_api: StartApi, authority: Authority, kubelet: Kubelet) -> ApiClient:
    """The administrator of a cluster with a node, a running pod `p` on it, and budgets."""
    certificate, key = authority.issue("to-kubelet", "kube-apiserver-kubelet-client", ("system:masters",))
    api = await start_api(
        MemoryBackend(),
        kubelet_client_certificate=certificate,
        kubelet_client_key=key,
        kubelet_certificate_authority=authority.path,
    )
    client: ApiClient = api.client()
    await client.create(NODES, {"metadata": {"name": "n"}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}},
    }
    await client.patch(NODES, "n", {"status": status}, type="merge", subresource="status")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await _running(client, "p")
    return client


async def _running(client: ApiClient, name: str) -> None:
    await client.create(PODS, pod(name, labels={"app": "a"}), "default")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"name": "n"}}
    await client.create(PODS, binding, "default", subresource="binding", name=name)
    await client.patch(PODS, name, {"status": {"phase": "Running"}}, "default", type="merge", subresource="status")


async def test_a_log_is_the_kubelets_text(admin: ApiClient, kubelet: Kubelet) -> None:
    answer = await admin.raw("GET", PODS.path("default", "p", "log"), query={"tailLines": "5", "foo": "bar"})
    assert (answer.status, answer.body) == (200, b"hello")
    assert kubelet.asked == ["/containerLogs/default/p/c?tailLines=5"]


async def test_a_followed_log_comes_as_it_is_written(admin: ApiClient, kubelet: Kubelet) -> None:
    stream = await admin.stream("GET", PODS.path("default", "p", "log"), query={"follow": "true"})
    chunks = aiter(stream)
    assert await anext(chunks) == b"one\n"
    kubelet.more.set()
    assert await anext(chunks) == b"two\n"
    stream.close()


async def test_a_container_that_is_not_there_is_a_bad_request(admin: ApiClient) -> None:
    answer = await admin.raw("GET", PODS.path("default", "p", "log"), query={"container": "x"})
    assert answer.status == 400 and b"container x is not valid for pod p" in answer.body


async def test_a_request_to_a_node_is_passed_on(admin: ApiClient, kubelet: Kubelet) -> None:
    answer = await admin.raw("GET", "/api/v1/nodes/n/proxy/metrics/resource", query={"a": "b"})
    assert (answer.status, answer.body) == (200, b"hello")
    assert kubelet.asked == ["/metrics/resource?a=b"]


async def test_a_bound_pod_is_not_bound_again(admin: ApiClient) -> None:
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "m"}}
    with pytest.raises(ApiError) as caught:
        await admin.create(PODS, binding, "default", subresource="binding", name="p")
    assert caught.value.code == 409 and 'pod p is already assigned to node "n"' in caught.value.message
    found = await admin.get(PODS, "p", "default")
    assert {each["type"]: each["status"] for each in found["status"]["conditions"]} == {"PodScheduled": "True"}


def _eviction(name: str) -> dict[str, Any]:
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}


async def test_an_eviction_waits_for_its_budget(admin: ApiClient) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    await admin.create(POD_DISRUPTION_BUDGETS, {"metadata": {"name": "b"}, "spec": spec}, "default")
    path = PODS.path("default", "p", "eviction")
    refused = await admin.raw("POST", path, body=_eviction("p"))
    assert refused.status == 429
    assert json.loads(refused.body)["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    status = {"disruptionsAllowed": 1, "observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 1}
    patch = {"status": {**status, "expectedPods": 2}}
    await admin.patch(POD_DISRUPTION_BUDGETS, "b", patch, "default", type="merge", subresource="status")
    assert (await admin.raw("POST", path, body=_eviction("p"))).status == 201
    assert (await admin.get(PODS, "p", "default"))["metadata"]["deletionTimestamp"]
    budget = await admin.get(POD_DISRUPTION_BUDGETS, "b", "default")
    assert budget["status"]["disruptionsAllowed"] == 0 and "p" in budget["status"]["disruptedPods"]
