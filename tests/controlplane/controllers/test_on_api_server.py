"""The whole manager on the real API server (store in memory): what the fake API may have got wrong shows here."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from controlplane.controllers import ControllerManagerConfig, run
from controlplane.machinery.cache import Change
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.machinery.clock import SystemClock
from controlplane.machinery.config import ClientConfig
from controlplane.machinery.informer import Informer
from controlplane.objects.kinds import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from controlplane.objects.meta import format_time, get_in, is_deleting, is_true, uid_of
from tests.controlplane.apiserver.conftest import StartApi, authority, base_config, start_api
from tests.controlplane.apiserver.memory import MemoryBackend

__all__ = ["authority", "base_config", "start_api"]  # fixtures

Object = dict[str, Any]

PATIENCE_SECONDS = 20.0


class Kubelet:
    """Binds each new pod to the node, has it run (or end well), and removes those that are deleted."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.jobs: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        informer = Informer(self.client, PODS, random=Random(1))
        informer.add_handler(self.on_change)
        await informer.run()

    def on_change(self, change: Change) -> None:
        if change.type == "ADDED":
            self.spawn(self.start(change.new))
        elif change.type == "MODIFIED" and is_deleting(change.new):
            self.spawn(self.stop(change.new))

    def spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self.jobs.add(task)
        task.add_done_callback(self.jobs.discard)

    async def start(self, pod: Object) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        now = format_time(SystemClock().now())
        runs = pod["spec"]["restartPolicy"] == "Always"
        condition = {"type": "Ready", "status": "True" if runs else "False", "lastTransitionTime": now}
        status: Object = {"phase": "Running" if runs else "Succeeded", "startTime": now, "conditions": [condition]}
        address = f"127.9.16.{len(self.jobs) % 250 + 1}"
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
        try:
            target = {"kind": "Node", "name": "node-0"}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            await self.client.create(PODS, binding, namespace, subresource="binding", name=name)
            await self.client.patch(PODS, name, {"status": status}, namespace, subresource="status")
        except ApiError:
            pass  # it went meanwhile

    async def stop(self, pod: Object) -> None:
        try:
            metadata = pod["metadata"]
            await self.client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0, uid=uid_of(pod)
            )
        except ApiError:
            pass  # it went meanwhile


@pytest.fixture
async def client(start_api: StartApi, tmp_path: Any) -> AsyncIterator[ApiClient]:
    """The administrator of a cluster with the manager and one node."""
    api = await start_api(MemoryBackend())
    admin = api.client()
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(SystemClock().now())}
    await admin.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}})
    await admin.patch(NODES, "node-0", {"status": {"conditions": [condition]}}, subresource="status")
    bundle = tmp_path / "ca.crt"
    bundle.write_text("PEM")
    manager = ClientConfig.from_kubeconfig(api.kubeconfig("system:kube-controller-manager", ()))
    config = ControllerManagerConfig(client=manager, root_ca_file=str(bundle))
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.ensure_future(run(config, stop=stop, ready=ready.set, random=Random(5)))
    kubelet = asyncio.ensure_future(Kubelet(api.client()).run())
    await ready.wait()
    yield admin
    kubelet.cancel()
    stop.set()
    await asyncio.gather(task, kubelet, return_exceptions=True)
    assert task.exception() is None


async def seen(client: ApiClient, resource: Resource, predicate: Any, namespace: str = "default") -> Object:
    """The first object of the resource that satisfies the predicate, by a watch from the beginning."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for event in client.watch(resource, namespace if resource.namespaced else None):
            if event.type in ("ADDED", "MODIFIED") and predicate(event.object):
                return event.object
    raise AssertionError("the watch ended")


async def gone(client: ApiClient, resource: Resource, name: str, namespace: str = "default") -> None:
    """Return when the object is no longer there."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            found = await client.get(resource, name, namespace)
        except ApiError:
            return
        version = found["metadata"]["resourceVersion"]
        fields = f"metadata.name={name}"
        async for event in client.watch(resource, namespace, resource_version=version, field_selector=fields):
            if event.type == "DELETED":
                return


def web(replicas: int = 3) -> Object:
    labels = {"app": "web"}
    container = {"name": "main", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec,
    }


def is_rolled_out(obj: Object) -> bool:
    status, wanted = obj.get("status") or {}, obj["spec"]["replicas"]
    fresh = status.get("observedGeneration", 0) >= obj["metadata"]["generation"]
    return (
        fresh and status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == wanted
    )


async def test_a_deployment_rolls_out_is_served_rolls_on_and_goes_with_all_it_owns(client: ApiClient) -> None:
    await client.create(DEPLOYMENTS, web())
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}
    await client.create(SERVICES, service)
    await seen(client, DEPLOYMENTS, is_rolled_out)

    def served(obj: Object) -> bool:
        ready = [entry for subset in obj.get("subsets") or () for entry in subset.get("addresses") or ()]
        return obj["metadata"]["name"] == "web" and len(ready) == 3

    await seen(client, ENDPOINTS, served)
    await seen(client, ENDPOINT_SLICES, lambda obj: len(obj.get("endpoints") or ()) == 3)
    template = {"spec": {"containers": [{"name": "main", "image": "newer"}]}}
    await client.patch(DEPLOYMENTS, "web", {"spec": {"template": template}}, "default", type="strategic")
    await seen(client, DEPLOYMENTS, lambda obj: obj["metadata"]["generation"] > 1 and is_rolled_out(obj))
    sets = await client.list(REPLICA_SETS, "default")
    assert sorted(found["spec"]["replicas"] for found in sets["items"]) == [0, 3]
    await client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")
    await gone(client, DEPLOYMENTS, "web")
    assert (await client.list(REPLICA_SETS, "default"))["items"] == []
    assert (await client.list(PODS, "default"))["items"] == []


async def test_a_job_completes(client: ApiClient) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}
    spec = {"completions": 3, "parallelism": 2, "template": template}
    await client.create(
        JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"}, "spec": spec}
    )
    done = await seen(client, JOBS, lambda obj: is_true(obj, "Complete"))
    assert (get_in(done, "status", "succeeded"), get_in(done, "status", "failed")) == (3, None)


async def test_a_namespace_is_furnished_and_emptied(client: ApiClient) -> None:
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    await seen(client, SERVICE_ACCOUNTS, lambda obj: obj["metadata"]["name"] == "default", "team")
    await seen(client, CONFIG_MAPS, lambda obj: obj["metadata"]["name"] == "kube-root-ca.crt", "team")
    deployment = web(2)
    deployment["metadata"]["namespace"] = "team"
    await client.create(DEPLOYMENTS, deployment)
    await seen(client, DEPLOYMENTS, is_rolled_out, "team")
    await client.delete(NAMESPACES, "team")
    await gone(client, NAMESPACES, "team")
    with pytest.raises(ApiError, match="not found"):
        await client.get(NAMESPACES, "team")
