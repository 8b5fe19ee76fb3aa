"""Simulated nodes and the API server's own client of kubelets have the rights that their work needs, and no more."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from controlplane.kubelet import run_many
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.objects.kinds import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, SUBJECT_ACCESS_REVIEWS
from tests.controlplane.apiserver.conftest import StartApi, authority, base_config, start_api
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.kubelet.harness import simulated_config
from tests.controlplane.kubelet.pods import make_pod

__all__ = ["authority", "base_config", "start_api"]

GROUP = "pilothouse:simulated-nodes"
STOP_SECONDS = {"simulated.pilothouse.io/stop-seconds": "0"}


async def test_simulated_nodes_run_pods_and_read_no_secrets(start_api: StartApi) -> None:
    api = await start_api(MemoryBackend())
    admin, fleet = api.client(), api.client(GROUP, (GROUP,))
    config = replace(simulated_config(), kubeconfig=str(api.kubeconfig(GROUP, (GROUP,))))
    stop, ready = asyncio.Event(), asyncio.Event()
    names = ("s-0", "s-1")
    task = asyncio.create_task(
        run_many([replace(config, node_name=name) for name in names], stop=stop, ready=ready.set)
    )
    async with asyncio.timeout(20):
        await ready.wait()
        assert {node["metadata"]["name"] for node in (await admin.list(NODES))["items"]} == set(names)
        pod = make_pod(annotations=STOP_SECONDS)
        pod = {"metadata": {key: pod["metadata"][key] for key in ("name", "annotations")}, "spec": pod["spec"]}
        spec = {**pod["spec"], "nodeName": "s-1"}
        await admin.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
        await admin.create(PODS, {**pod, "spec": spec}, "default")
        await _until_phase(admin, pod["metadata"]["name"], "Running")
        await admin.delete(PODS, pod["metadata"]["name"], "default")
        await _until_phase(admin, pod["metadata"]["name"], "")
    for forbidden in (
        fleet.list(SECRETS),
        fleet.create(PODS, {**pod, "spec": spec}, "default"),
        fleet.delete(NODES, "s-0"),
    ):
        with pytest.raises(ApiError, match="forbidden"):
            await forbidden
    stop.set()
    await task


async def _until_phase(client: ApiClient, name: str, phase: str) -> None:
    """Wait for a pod's phase; "" is its end."""
    async for event in client.watch(PODS, "default", field_selector=f"metadata.name={name}", resource_version="0"):
        gone = event.type == "DELETED"
        if gone if not phase else event.object.get("status", {}).get("phase") == phase:
            return


@pytest.mark.parametrize(
    ("resource", "subresource", "verb", "allowed"),
    [
        ("nodes", "proxy", "create", True),
        ("nodes", "log", "get", True),
        ("nodes", "metrics", "get", True),
        ("nodes", "stats", "get", True),
        ("nodes", "", "delete", False),
        ("secrets", "", "get", False),
        ("pods", "exec", "create", False),
    ],
)
async def test_the_servers_client_of_kubelets_may_ask_kubelets_and_nothing_else(
    start_api: StartApi, resource: str, subresource: str, verb: str, allowed: bool
) -> None:
    api = await start_api(MemoryBackend())
    attributes = {"verb": verb, "version": "v1", "resource": resource, "subresource": subresource, "name": "n"}
    spec = {
        "user": "kube-apiserver-kubelet-client",
        "groups": ["system:authenticated"],
        "resourceAttributes": attributes,
    }
    review = {"metadata": {}, "spec": spec}
    answer = await api.client().create(SUBJECT_ACCESS_REVIEWS, review)
    assert answer["status"]["allowed"] is allowed
