"""The cloud controllers with the local provider, against an API server that is a dict, on virtual time."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from controlplane.cloud import CloudConfig, InvalidCloudConfig
from controlplane.cloud.manager import control, load_provider
from controlplane.cloud.node import UNINITIALIZED
from controlplane.cloud.service import FINALIZER
from controlplane.objects.kinds import EVENTS, NODES, SERVICES
from tests.controlplane.fakes import FakeApi, run_virtual

Object = dict[str, Any]
Scenario = Callable[[FakeApi], Awaitable[None]]


class World:
    """A cloud configuration, a directory of instances and a fake /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.instances = path / "instances"
        self.instances.mkdir()
        self.config = path / "cloud.yaml"
        self.write_config("127.9.200.0/24")

    def write_config(self, addresses: str) -> None:
        lines = ["cluster: test", f"instances: {self.instances}", f"loadBalancerRange: {addresses}"]
        self.config.write_text("\n".join(lines))

    def start_machine(self, name: str, zone: str = "local-a", start_time: int | None = None) -> None:
        """A machine whose process is this test's own; with another start time it is one that has died."""
        stat = Path("/proc/self/stat").read_text()
        born = int(stat.rpartition(")")[2].split()[19])
        entry = {
            "name": name,
            "pid": os.getpid(),
            "start_time": start_time or born,
            "zone": zone,
            "address": "127.9.0.1",
        }
        (self.instances / f"{name}.json").write_text(json.dumps(entry))

    def stop_machine(self, name: str) -> None:
        (self.instances / f"{name}.json").unlink()

    def run(self, scenario: Scenario) -> FakeApi:
        """Run the controllers beside the scenario."""
        api = FakeApi()
        config = CloudConfig(Path("unused"), "test", self.config, node_monitor_period_seconds=5.0)

        async def main() -> None:
            provider = load_provider(config.cloud_provider, config.cloud_config)
            work = control(api.client(), provider, config, random=Random(1), clock=api.clock)
            task = asyncio.create_task(work)
            try:
                await scenario(api)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        run_virtual(main(), api.clock)
        return api


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def node(name: str, ready: str | None = "True", **spec: Any) -> Object:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}}


def set_ready(api: FakeApi, name: str, status: str) -> None:
    conditions = [{"type": "Ready", "status": status}]
    api.change(NODES, name, "", lambda obj: obj["status"].update(conditions=conditions))


def service(name: str, **spec: Any) -> Object:
    body = {"type": "LoadBalancer", "clusterIP": "127.9.128.9", "ports": [{"port": 80}]} | spec
    return {"metadata": {"name": name, "namespace": "default"}, "spec": body, "status": {"loadBalancer": {}}}


def addresses(api: FakeApi, name: str) -> list[str]:
    status = api.find(SERVICES, name, "default")["status"]
    return [entry["ip"] for entry in status["loadBalancer"].get("ingress") or ()]


def reasons(api: FakeApi) -> list[str]:
    return [event["reason"] for event in api.all(EVENTS)]


def names(api: FakeApi) -> list[str]:
    return [obj["metadata"]["name"] for obj in api.all(NODES)]


async def soon() -> None:
    await asyncio.sleep(0.5)


def test_a_new_node_gets_its_machines_identity_zone_and_addresses_and_loses_the_taint(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        world.start_machine("node-0", zone="local-b")
        other = {"key": "dedicated", "effect": "NoSchedule"}
        api.put(NODES, node("node-0", taints=[{"key": UNINITIALIZED, "effect": "NoSchedule"}, other]))
        await soon()
        found = api.find(NODES, "node-0")
        assert found["spec"] == {"providerID": "local://test/node-0", "taints": [other]}
        assert found["metadata"]["labels"] == {
            "node.kubernetes.io/instance-type": "local",
            "topology.kubernetes.io/region": "local",
            "topology.kubernetes.io/zone": "local-b",
        }
        assert {"type": "InternalIP", "address": "127.9.0.1"} in found["status"]["addresses"]

    assert reasons(world.run(scenario)) == ["Synced"]


def test_a_node_that_registers_before_its_machine_is_known_is_initialised_when_it_is(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("node-0", taints=[{"key": UNINITIALIZED, "effect": "NoSchedule"}]))
        await asyncio.sleep(3)
        world.start_machine("node-0")
        await asyncio.sleep(1.5)
        assert "taints" not in api.find(NODES, "node-0")["spec"]

    world.run(scenario)


def test_an_initialised_node_costs_no_more_writes(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        world.start_machine("node-0")
        api.put(NODES, node("node-0"))
        await soon()
        revision = api.revision
        for _ in range(5):
            set_ready(api, "node-0", "True")
            await asyncio.sleep(10)
        assert api.revision == revision

    world.run(scenario)


def test_a_node_that_is_not_ready_stays_while_its_machine_lives_and_goes_with_it(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        world.start_machine("node-0")
        api.put(NODES, node("node-0"))
        await soon()
        set_ready(api, "node-0", "Unknown")
        await asyncio.sleep(60)
        assert names(api) == ["node-0"]
        world.stop_machine("node-0")
        await asyncio.sleep(6)
        assert names(api) == []

    assert "DeletingNode" in reasons(world.run(scenario))


def test_a_machine_whose_process_number_belongs_to_another_now_is_gone(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        world.start_machine("node-0", start_time=1)
        api.put(NODES, node("node-0", ready="Unknown", providerID="local://test/node-0"))
        await soon()
        assert names(api) == []

    world.run(scenario)


def test_a_ready_node_and_one_of_no_machine_of_ours_are_never_deleted(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("ready", ready="True", providerID="local://test/ready"))
        api.put(NODES, node("new", ready=None, providerID="local://test/new"))
        api.put(NODES, node("foreign", ready="Unknown", providerID="kind://other/foreign"))
        api.put(NODES, node("by-hand", ready="Unknown"))
        await asyncio.sleep(60)
        assert len(names(api)) == 4

    world.run(scenario)


def test_a_damaged_instance_file_does_not_delete_the_node(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        (world.instances / "node-0.json").write_text("{")
        api.put(NODES, node("node-0", ready="Unknown", providerID="local://test/node-0"))
        await asyncio.sleep(20)
        assert names(api) == ["node-0"]

    world.run(scenario)


def test_a_load_balancer_service_gets_an_address_and_gives_it_back(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(SERVICES, service("web"))
        await soon()
        (address,) = addresses(api, "web")
        assert address.startswith("127.9.200.")
        assert api.find(SERVICES, "web", "default")["metadata"]["finalizers"] == [FINALIZER]
        await api.client().delete(SERVICES, "web", "default")
        await soon()
        assert api.all(SERVICES) == []
        api.put(SERVICES, service("web"))
        await soon()
        assert addresses(api, "web") == [address]

    api = world.run(scenario)
    expected = {"EnsuringLoadBalancer", "EnsuredLoadBalancer", "DeletedLoadBalancer"}
    assert set(reasons(api)) == expected


def test_many_services_at_once_get_different_addresses(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        for number in range(100):
            api.put(SERVICES, service(f"web-{number}"))
        await asyncio.sleep(5)
        found = [address for number in range(100) for address in addresses(api, f"web-{number}")]
        assert len(found) == len(set(found)) == 100

    world.run(scenario)


def test_a_change_of_type_releases_the_address(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(SERVICES, service("web"))
        await soon()
        api.change(SERVICES, "web", "default", lambda obj: obj["spec"].update(type="ClusterIP"))
        await soon()
        assert addresses(api, "web") == []
        assert not api.find(SERVICES, "web", "default")["metadata"].get("finalizers")

    world.run(scenario)


def test_a_requested_address_is_given_if_it_is_free(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(SERVICES, service("one", loadBalancerIP="127.9.200.7"))
        await soon()
        api.put(SERVICES, service("two", loadBalancerIP="127.9.200.7"))
        api.put(SERVICES, service("three", loadBalancerIP="10.0.0.1"))
        await soon()
        assert [addresses(api, name) for name in ("one", "two", "three")] == [["127.9.200.7"], [], []]
        await api.client().delete(SERVICES, "one", "default")
        await asyncio.sleep(6)
        assert addresses(api, "two") == ["127.9.200.7"]

    api = world.run(scenario)
    texts = {event["message"] for event in api.all(EVENTS) if event["reason"] == "SyncLoadBalancerFailed"}
    prefix = "Error syncing load balancer: failed to ensure load balancer: "
    assert texts == {
        f"{prefix}requested address 127.9.200.7 is in use",
        f"{prefix}requested address 10.0.0.1 is not in 127.9.200.0/24",
    }


def test_a_full_range_is_told_and_a_freed_address_goes_to_who_waits(world: World) -> None:
    world.write_config("127.9.200.4/32")

    async def scenario(api: FakeApi) -> None:
        api.put(SERVICES, service("one"))
        await soon()
        api.put(SERVICES, service("two"))
        await soon()
        assert addresses(api, "two") == []
        await api.client().delete(SERVICES, "one", "default")
        await asyncio.sleep(6)
        assert addresses(api, "two") == ["127.9.200.4"]

    assert "SyncLoadBalancerFailed" in reasons(world.run(scenario))


def test_services_of_another_class_and_other_types_are_left_alone(world: World) -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(SERVICES, service("other", loadBalancerClass="example.com/other"))
        api.put(SERVICES, service("plain", type="NodePort"))
        revision = api.revision
        await soon()
        assert api.revision == revision

    world.run(scenario)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "not a mapping"),
        ("cluster: x", "lacks 'instances'"),
        ("{cluster: x, instances: /tmp, loadBalancerRange: nonsense}", "is wrong"),
        ("{", "cannot read"),
    ],
)
def test_a_wrong_cloud_configuration_is_one_clear_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "cloud.yaml"
    path.write_text(text)
    with pytest.raises(InvalidCloudConfig, match=complaint):
        load_provider("local", path)
    with pytest.raises(InvalidCloudConfig, match="no cloud provider 'moon'"):
        load_provider("moon", path)
