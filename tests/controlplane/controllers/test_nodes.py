"""Nodes that fall silent, the eviction of their pods, and the collection of what nobody can stop any more."""

import asyncio
from typing import Any

import pytest

from controlplane.controllers import taint_eviction
from controlplane.controllers.node_lifecycle import NodeLifecycle
from controlplane.controllers.pod_gc import PodGarbageCollector
from controlplane.objects.kinds import LEASES, NODES, PODS
from controlplane.objects.meta import format_micro_time, format_time, get_in, is_true
from tests.controlplane.controllers.world import World, conditions

Object = dict[str, Any]

GRACE = 10.0
UNREACHABLE, NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"


def world(*more: Any) -> World:
    w = World(*more)
    w.reconcilers = (NodeLifecycle(w.clock, GRACE, 30.0), taint_eviction, *more)
    return w


def add_node(w: World, name: str, ready: str | None = "True") -> None:
    status: Object = {}
    if ready:
        moment = format_time(w.clock.now())
        status["conditions"] = [
            {"type": "Ready", "status": ready, "lastHeartbeatTime": moment, "lastTransitionTime": moment}
        ]
    w.api.put(NODES, {"metadata": {"name": name}, "spec": {}, "status": status})


async def beat(w: World, *names: str, seconds: float) -> None:
    """Renew the leases of some nodes once a second."""
    for _ in range(int(seconds)):
        for name in names:
            spec = {"holderIdentity": name, "renewTime": format_micro_time(w.clock.now())}
            w.api.put(LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec})
        await asyncio.sleep(1)


def add_pod(w: World, name: str, node: str, tolerations: list[Object] | None = None) -> None:
    moment = format_time(w.clock.now())
    status = {
        "phase": "Running",
        "startTime": moment,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": moment}],
    }
    spec = {"nodeName": node, "tolerations": tolerations or []}
    w.api.put(PODS, {"metadata": {"name": name, "namespace": "ns"}, "spec": spec, "status": status})


def taints(w: World, node: str) -> list[tuple[str, str]]:
    return [(taint["key"], taint["effect"]) for taint in get_in(w.api.find(NODES, node), "spec", "taints", default=[])]


def tolerating(seconds: int | None) -> list[Object]:
    toleration: Object = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute"}
    return [toleration if seconds is None else {**toleration, "tolerationSeconds": seconds}]


def test_nodes_that_renew_their_leases_stay_ready_and_nothing_is_written() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add_node(w, "a")
        await beat(w, "a", seconds=120)
        assert conditions(w.api.find(NODES, "a"))["Ready"][0] == "True" and w.writes(NODES) == []

    w.run(scenario)


def test_a_silent_node_becomes_unknown_is_tainted_and_its_pods_are_not_ready() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add_node(w, "a")
        add_node(w, "b")
        add_pod(w, "p", "b", tolerating(None))
        await beat(w, "a", "b", seconds=20)
        await beat(w, "a", seconds=GRACE - 2)
        assert taints(w, "b") == []
        await beat(w, "a", seconds=4)
        assert conditions(w.api.find(NODES, "b"))["Ready"] == ("Unknown", "NodeStatusUnknown")
        assert taints(w, "b") == [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
        assert taints(w, "a") == []
        pod = w.api.find(PODS, "p", "ns")
        assert not is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]

    w.run(scenario)


def test_a_node_that_comes_back_loses_its_taints() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add_node(w, "a")
        add_node(w, "b")
        await beat(w, "a", seconds=20)
        assert len(taints(w, "b")) == 2
        add_node(w, "b")
        await beat(w, "a", "b", seconds=5)
        assert taints(w, "b") == []

    w.run(scenario)


@pytest.mark.parametrize(("seconds", "gone_after"), [(0, 1), (30, 31)])
def test_pods_leave_a_lost_node_when_their_toleration_runs_out(seconds: int, gone_after: int) -> None:
    w = world()

    async def scenario(w: World) -> None:
        add_node(w, "a")
        add_node(w, "b")
        add_pod(w, "leaves", "b", tolerating(seconds))
        add_pod(w, "stays", "b", tolerating(None))
        await beat(w, "a", "b", seconds=5)
        await beat(w, "a", seconds=GRACE + 1 + gone_after + 1)
        names = [pod["metadata"]["name"] for pod in w.pods()]
        assert names == ["stays"]
        assert w.events("TaintManagerEviction") == ["Marking for deletion Pod ns/leaves"]

    w.run(scenario)


def test_when_every_node_is_silent_nobody_is_evicted_and_afterwards_only_from_those_that_stay_silent() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add_node(w, "a")
        add_node(w, "b")
        add_pod(w, "p", "a")
        add_pod(w, "q", "b")
        await beat(w, "a", "b", seconds=5)
        await asyncio.sleep(60)
        assert conditions(w.api.find(NODES, "a"))["Ready"][0] == "Unknown"
        assert len(w.pods()) == 2
        add_node(w, "a")
        await beat(w, "a", seconds=20)
        assert [pod["metadata"]["name"] for pod in w.pods()] == ["p"]

    w.run(scenario)


def test_conditions_and_cordons_become_taints_and_foreign_taints_stay() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add_node(w, "a", "False")

        def change(node: Object) -> None:
            node["spec"] = {"unschedulable": True, "taints": [{"key": "mine", "effect": "NoSchedule"}]}
            node["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})

        w.api.change(NODES, "a", "", change)
        add_node(w, "ok")
        await beat(w, "a", "ok", seconds=5)
        assert taints(w, "a") == [
            ("mine", "NoSchedule"),
            (NOT_READY, "NoSchedule"),
            (NOT_READY, "NoExecute"),
            ("node.kubernetes.io/disk-pressure", "NoSchedule"),
            ("node.kubernetes.io/unschedulable", "NoSchedule"),
        ]

    w.run(scenario)


def test_a_node_that_never_reports_is_unknown_after_the_startup_grace() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add_node(w, "new", None)
        await asyncio.sleep(25)
        assert taints(w, "new") == [(NOT_READY, "NoSchedule")]
        await asyncio.sleep(10)
        assert conditions(w.api.find(NODES, "new"))["Ready"] == ("Unknown", "NodeStatusNeverUpdated")

    w.run(scenario)


def test_pods_of_a_node_that_is_gone_are_removed_at_once_even_while_terminating() -> None:
    w = world(PodGarbageCollector(0))
    w.stop_seconds = 1e9

    async def scenario(w: World) -> None:
        add_node(w, "a")
        add_node(w, "b")
        add_pod(w, "p", "b")
        add_pod(w, "q", "a")
        await beat(w, "a", "b", seconds=3)
        await w.client.delete(PODS, "p", "ns")
        await beat(w, "a", "b", seconds=3)
        assert len(w.api.all(PODS)) == 2
        w.api.remove(NODES, "b")
        await beat(w, "a", seconds=3)
        assert [pod["metadata"]["name"] for pod in w.api.all(PODS)] == ["q"]

    w.run(scenario)


def test_of_finished_pods_only_the_youngest_are_kept() -> None:
    w = world(PodGarbageCollector(3))

    async def scenario(w: World) -> None:
        add_node(w, "a")
        for number in range(6):
            metadata = {"name": f"p{number}", "namespace": "ns", "creationTimestamp": f"2026-01-01T00:00:0{number}Z"}
            w.api.put(PODS, {"metadata": metadata, "spec": {"nodeName": "a"}, "status": {"phase": "Succeeded"}})
            w.start_seconds = 1e9
        await beat(w, "a", seconds=5)
        assert [pod["metadata"]["name"] for pod in w.api.all(PODS)] == ["p3", "p4", "p5"]

    w.run(scenario)
