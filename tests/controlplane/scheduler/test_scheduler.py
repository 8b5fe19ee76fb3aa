"""The whole loop against an API server that is a dict, on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from controlplane.machinery.client import ConnectionLost
from controlplane.objects.kinds import EVENTS, NODES, PODS
from controlplane.scheduler.service import Feed, schedule
from tests.controlplane.fakes import FakeApi, run_virtual

Object = dict[str, Any]


def node(name: str, cpu: str = "4", **spec: Any) -> Object:
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    return {"metadata": {"name": name, "labels": {}}, "spec": spec, "status": {"allocatable": allocatable}}


def pod(name: str, cpu: str = "1", **spec: Any) -> Object:
    containers = [{"name": "c", "image": "app", "resources": {"requests": {"cpu": cpu}}}]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulerName": "default-scheduler", "containers": containers, **spec},
        "status": {"phase": "Pending"},
    }


def node_of(api: FakeApi, name: str) -> str:
    return str(api.find(PODS, name, "default")["spec"].get("nodeName", ""))


def messages(api: FakeApi, reason: str) -> list[str]:
    return [event["message"] for event in api.all(EVENTS) if event["reason"] == reason]


def scheduling(scenario: Callable[[FakeApi], Awaitable[None]]) -> FakeApi:
    """Run the scheduler beside the scenario."""
    api = FakeApi()

    async def main() -> None:
        client, random = api.client(), Random(1)
        feed = Feed(client, random)
        task = asyncio.create_task(schedule(client, feed, random=random, clock=api.clock, binds_in_flight=8))
        try:
            await scenario(api)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await feed.close()

    run_virtual(main(), api.clock)
    return api


async def soon() -> None:
    await asyncio.sleep(0.2)


def test_waiting_pods_are_spread_over_the_nodes_and_told_so() -> None:
    async def scenario(api: FakeApi) -> None:
        for name in ("node-0", "node-1"):
            api.put(NODES, node(name))
        for number in range(4):
            api.put(PODS, pod(f"web-{number}"))
        await soon()

    api = scheduling(scenario)
    assert sorted(node_of(api, f"web-{number}") for number in range(4)) == ["node-0", "node-0", "node-1", "node-1"]
    assert f"Successfully assigned default/web-0 to {node_of(api, 'web-0')}" in messages(api, "Scheduled")


def test_a_pod_that_fits_nowhere_says_why_and_goes_where_room_appears() -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("node-0", cpu="1"))
        api.put(PODS, pod("web", cpu="2"))
        await soon()
        text = (
            "0/1 nodes are available: 1 Insufficient cpu. "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
        assert messages(api, "FailedScheduling") == [text]
        (condition,) = api.find(PODS, "web", "default")["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
        assert (condition["reason"], condition["message"]) == ("Unschedulable", text)
        api.put(NODES, node("node-1", cpu="4"))
        await soon()
        assert node_of(api, "web") == "node-1"

    scheduling(scenario)


def test_a_pod_takes_the_room_that_a_finished_pod_leaves() -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("node-0", cpu="1"))
        api.put(PODS, pod("first"))
        await soon()
        api.put(PODS, pod("second"))
        await soon()
        assert (node_of(api, "first"), node_of(api, "second")) == ("node-0", "")
        api.change(PODS, "first", "default", lambda obj: obj["status"].update(phase="Succeeded"))
        await soon()
        assert node_of(api, "second") == "node-0"

    scheduling(scenario)


def test_a_removed_taint_lets_the_pod_in_and_a_heartbeat_does_not_wake_it() -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("node-0", taints=[{"key": "dedicated", "value": "x", "effect": "NoSchedule"}]))
        api.put(PODS, pod("web"))
        await soon()
        for beat in range(3):
            api.put(NODES, {**api.find(NODES, "node-0"), "status": {**node("node-0")["status"], "beat": beat}})
            await asyncio.sleep(20)
        assert len(messages(api, "FailedScheduling")) == 1
        assert api.all(EVENTS)[0]["count"] == 1
        api.change(NODES, "node-0", "", lambda obj: obj["spec"].pop("taints"))
        await soon()
        assert node_of(api, "web") == "node-0"

    scheduling(scenario)


def test_other_schedulers_pods_gated_pods_and_dying_pods_are_left_alone() -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("node-0"))
        api.put(PODS, pod("other", schedulerName="mine"))
        api.put(PODS, pod("gated", schedulingGates=[{"name": "example.com/wait"}]))
        dying = pod("dying")
        dying["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]}
        api.put(PODS, dying)
        await soon()
        assert [node_of(api, name) for name in ("other", "gated", "dying")] == ["", "", ""]
        assert api.find(PODS, "gated", "default")["status"]["conditions"][0]["reason"] == "SchedulingGated"
        api.change(PODS, "gated", "default", lambda obj: obj["spec"].pop("schedulingGates"))
        await soon()
        assert node_of(api, "gated") == "node-0"

    scheduling(scenario)


def test_a_failed_binding_gives_the_room_back_and_is_tried_again_after_a_second() -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("node-0", cpu="1"))
        await soon()
        api.fail_next("create", ConnectionLost("reset", sent=False), PODS)
        api.put(PODS, pod("web"))
        await soon()
        assert node_of(api, "web") == ""
        await asyncio.sleep(1.1)
        assert node_of(api, "web") == "node-0"

    api = scheduling(scenario)
    assert messages(api, "FailedScheduling") == ["binding rejected: reset"]


def test_a_pod_created_again_under_its_name_is_scheduled_again() -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("node-0", cpu="1"))
        for _ in range(3):
            api.put(PODS, pod("web"))
            await soon()
            assert node_of(api, "web") == "node-0"
            api.remove(PODS, "web", "default")

    scheduling(scenario)


def test_nothing_is_lost_when_the_api_server_goes_away_for_a_while() -> None:
    async def scenario(api: FakeApi) -> None:
        api.put(NODES, node("node-0", cpu="100"))
        await soon()
        api.down = True
        api.disconnect_watches()
        for number in range(20):
            api.put(PODS, pod(f"web-{number}"))
        await asyncio.sleep(5)
        api.down = False
        await asyncio.sleep(20)
        assert all(node_of(api, f"web-{number}") == "node-0" for number in range(20))

    scheduling(scenario)


def test_who_leads_again_knows_what_happened_meanwhile_and_lists_nothing() -> None:
    api = FakeApi()

    async def main() -> None:
        client, random = api.client(), Random(1)
        feed = Feed(client, random)
        for number in range(3):
            api.put(NODES, node(f"node-{number}", cpu="2"))
            task = asyncio.create_task(schedule(client, feed, random=random, clock=api.clock, binds_in_flight=8))
            await soon()
            api.put(PODS, pod(f"web-{number}", cpu="2"))
            await soon()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await feed.close()

    run_virtual(main(), api.clock)
    assert sorted(node_of(api, f"web-{number}") for number in range(3)) == ["node-0", "node-1", "node-2"]
    assert [entry for entry in api.log if entry[0] == "list"] == [("list", "nodes", ""), ("list", "pods", "")]
