"""Nodes without processes, on virtual time: what the lifecycle does over minutes, in milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from controlplane.kubelet.config import KubeletConfig
from controlplane.machinery.client import ConnectionLost
from controlplane.machinery.clock import FakeClock
from controlplane.objects.kinds import LEASES, NODES, PODS
from controlplane.objects.meta import parse_time
from tests.controlplane.fakes import FakeApi, run_virtual
from tests.controlplane.kubelet.harness import Harness, kubelet, simulated_config
from tests.controlplane.kubelet.pods import container, make_pod

RUN = "simulated.pilothouse.io/run-seconds"
CODE = "simulated.pilothouse.io/exit-code"
STOP = "simulated.pilothouse.io/stop-seconds"


def story(test: Any, *configs: KubeletConfig) -> None:
    """Run `test(harness)` with nodes on a virtual clock."""
    clock = FakeClock()
    api = FakeApi(clock)

    async def main() -> None:
        async with kubelet(*(configs or (simulated_config(),)), api=api, clock=clock) as k:
            await test(k)

    made: Coroutine[Any, Any, None] = main()
    run_virtual(made, clock)


def test_a_simulated_pod_runs_and_succeeds_when_its_time_is_over() -> None:
    async def test(k: Harness) -> None:
        began = k.api.clock.now()
        k.api.put(PODS, make_pod(restartPolicy="Never", annotations={RUN: "90"}))
        await k.until(lambda: k.phase() == "Running", 1000)
        await k.until(lambda: k.phase() == "Succeeded", 1000)
        assert 89 <= (k.api.clock.now() - began).total_seconds() <= 92
        assert k.state()["state"]["terminated"]["reason"] == "Completed"

    story(test)


def test_a_crash_loop_takes_as_long_as_kubernetes_makes_it() -> None:
    async def test(k: Harness) -> None:
        began = k.api.clock.now()
        k.api.put(PODS, make_pod(annotations={RUN: "1", CODE: "1"}))
        await k.until(lambda: k.state().get("restartCount") == 6, 1000)
        expected = 6 + 0 + 10 + 20 + 40 + 80 + 160
        assert abs((k.api.clock.now() - began).total_seconds() - expected) < 2

    story(test)


def test_deletion_gives_a_slow_container_its_grace_and_then_kills_it() -> None:
    async def test(k: Harness) -> None:
        k.api.put(PODS, make_pod(annotations={STOP: "100"}))
        await k.until(k.is_ready, 1000)
        began = k.api.clock.now()
        await k.api.client().delete(PODS, "web", "default", grace_period_seconds=30)
        await k.until(k.is_gone, 1000)
        assert abs((k.api.clock.now() - began).total_seconds() - 30) < 1

    story(test)


def test_the_final_status_is_told_before_the_pod_is_deleted() -> None:
    async def test(k: Harness) -> None:
        k.api.put(PODS, make_pod())
        await k.until(k.is_ready, 1000)
        await k.api.client().delete(PODS, "web", "default", grace_period_seconds=30)
        await k.until(k.is_gone, 1000)
        verbs = [verb for verb, resource, _ in k.api.log if resource == "pods"]
        assert verbs[-1] == "delete" and verbs[-2] == "patch/status"
        last = next(event for event in reversed(k.api.history) if event.type == "DELETED")
        assert last.new["status"]["phase"] == "Failed"
        assert "terminated" in last.new["status"]["containerStatuses"][0]["state"]

    story(test)


def test_a_pod_whose_object_vanishes_is_ended_without_a_word() -> None:
    async def test(k: Harness) -> None:
        k.api.put(PODS, make_pod())
        await k.until(k.is_ready, 1000)
        k.api.remove(PODS, "web", "default")
        await k.until_left("web", 100)
        assert k.agent.workers == {}

    story(test)


def test_a_status_is_told_when_the_api_comes_back() -> None:
    async def test(k: Harness) -> None:
        k.api.put(PODS, make_pod(restartPolicy="Never", annotations={RUN: "10"}))
        await k.until(k.is_ready, 1000)
        for _ in range(4):
            k.api.fail_next("patch/status", ConnectionLost("no answer", sent=True), PODS)
        await k.until(lambda: k.phase() == "Succeeded", 1000)

    story(test)


def test_a_node_that_was_believed_dead_says_that_it_and_its_pods_are_not() -> None:
    async def test(k: Harness) -> None:
        k.api.put(PODS, make_pod())
        await k.until(k.is_ready, 1000)

        def doubt(obj: dict[str, Any]) -> None:
            for condition in obj["status"]["conditions"]:
                if condition["type"] == "Ready":
                    condition["status"] = "False" if obj["kind"] == "Pod" else "Unknown"

        k.api.change(PODS, "web", "default", doubt)
        assert not k.is_ready()
        await k.until(k.is_ready, 5)
        k.api.change(NODES, "n1", "", doubt)
        await k.until(lambda: _node_is_ready(k), 5)

    story(test)


def _node_is_ready(k: Harness) -> bool:
    conditions = k.api.find(NODES, "n1")["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_a_lease_is_renewed_four_times_in_its_duration_and_nothing_else_is_said_meanwhile() -> None:
    async def test(k: Harness) -> None:
        await k.until(lambda: bool(k.api.all(LEASES)), 10)
        start, already = k.api.clock.now(), len(k.api.log)
        await asyncio.sleep(100)
        renewed = parse_time(k.api.find(LEASES, "n1", "kube-node-lease")["spec"]["renewTime"])
        assert (renewed - start).total_seconds() > 88
        assert 9 <= len([entry for entry in k.api.log[already:] if entry[1] == "leases"]) <= 10
        assert [entry for entry in k.api.log[already:] if entry[1] != "leases" and entry[0] != "watch"] == []

    story(test, simulated_config(node_lease_duration_seconds=40))


def test_a_node_that_was_deleted_registers_again() -> None:
    async def test(k: Harness) -> None:
        k.api.remove(NODES, "n1")
        await k.until(lambda: bool(k.api.all(NODES)), 100)

    story(test)


def test_a_refused_pod_leaves_room_for_the_next_one() -> None:
    from controlplane.kubelet.resources import parse_amounts

    async def test(k: Harness) -> None:
        wants = {"requests": {"cpu": "600m"}}
        for name in ("a", "b"):
            k.api.put(PODS, make_pod(name, containers=[container(resources=wants)]))
        await k.until(lambda: k.phase("b") == "Failed" and k.phase("a") == "Running", 10)

    story(test, simulated_config(capacity=parse_amounts("cpu=1")))


def test_hundreds_of_nodes_share_one_watch() -> None:
    configs = [simulated_config(f"n{index}") for index in range(300)]

    async def test(k: Harness) -> None:
        assert len(k.api.all(NODES)) == 300
        for index in range(300):
            k.api.put(PODS, make_pod(f"p{index}", node=f"n{index}"))
        await k.until(lambda: all(k.is_ready(f"p{index}") for index in (0, 150, 299)), 100)
        watches = [entry for entry in k.api.log if entry[0] == "watch" and entry[1] == "pods"]
        assert len(watches) <= 1
        addresses = {pod["status"].get("podIP") for pod in k.api.all(PODS)}
        assert None not in addresses

    story(test, *configs)
