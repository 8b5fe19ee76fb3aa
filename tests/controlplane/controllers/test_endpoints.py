"""Endpoints and EndpointSlices follow the pods behind a Service."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.controllers import endpoints, endpointslice
from controlplane.objects.kinds import ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES
from controlplane.objects.meta import format_time, get_in
from tests.controlplane.controllers.world import World

Object = dict[str, Any]

PORTS = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]


def service(**spec: Any) -> Object:
    body = {"selector": {"app": "a"}, "clusterIP": "127.0.128.9", "ports": PORTS, **spec}
    return {"metadata": {"name": "svc", "namespace": "ns", "labels": {"team": "x"}}, "spec": body}


def pod(number: int, ready: bool = True, app: str = "a", port: int = 8080, **spec: Any) -> Object:
    container = {"name": "c", "ports": [{"name": "web", "containerPort": port}]}
    moment = "2026-01-01T00:00:00Z"
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": moment}
    return {
        "metadata": {"name": f"p{number}", "namespace": "ns", "labels": {"app": app}},
        "spec": {"nodeName": "n1", "containers": [container], **spec},
        "status": {"phase": "Running", "podIP": f"10.0.0.{number}", "conditions": [condition]},
    }


def world() -> World:
    w = World(endpoints, endpointslice, start_seconds=1e9)
    w.api.put(NODES, {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}})
    return w


def addresses(w: World) -> tuple[list[str], list[str]]:
    subsets = w.api.find(ENDPOINTS, "svc", "ns").get("subsets") or []
    ready = [address["ip"] for subset in subsets for address in subset.get("addresses") or ()]
    waiting = [address["ip"] for subset in subsets for address in subset.get("notReadyAddresses") or ()]
    return sorted(ready), sorted(waiting)


def sliced(w: World) -> dict[str, tuple[bool, bool, bool]]:
    """address -> (ready, serving, terminating), over all slices."""
    return {
        endpoint["addresses"][0]: tuple(endpoint["conditions"][key] for key in ("ready", "serving", "terminating"))
        for found in w.api.all(ENDPOINT_SLICES)
        for endpoint in found["endpoints"]
    }


def test_ready_and_waiting_pods_with_their_ports_and_nodes() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SERVICES, service())
        w.api.put(PODS, pod(1))
        w.api.put(PODS, pod(2, ready=False))
        w.api.put(PODS, pod(3, app="other"))
        await asyncio.sleep(1)
        assert addresses(w) == (["10.0.0.1"], ["10.0.0.2"])
        found = w.api.find(ENDPOINTS, "svc", "ns")
        assert found["subsets"][0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        address = found["subsets"][0]["addresses"][0]
        assert (address["nodeName"], address["targetRef"]["name"]) == ("n1", "p1")
        assert found["metadata"]["labels"]["team"] == "x"
        (one,) = w.api.all(ENDPOINT_SLICES)
        assert one["metadata"]["labels"]["kubernetes.io/service-name"] == "svc"
        assert one["endpoints"][0]["zone"] == "z1" and one["addressType"] == "IPv4"
        assert sliced(w) == {"10.0.0.1": (True, True, False), "10.0.0.2": (False, False, False)}

    w.run(scenario)


def test_a_pod_that_terminates_leaves_endpoints_and_is_marked_in_slices_until_it_is_gone() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SERVICES, service())
        w.api.put(PODS, pod(1))
        await asyncio.sleep(1)
        stop = format_time(w.clock.now())
        w.stop_seconds = 1e9
        w.api.change(PODS, "p1", "ns", lambda obj: obj["metadata"].update(deletionTimestamp=stop))
        await asyncio.sleep(1)
        assert addresses(w) == ([], []) and sliced(w) == {"10.0.0.1": (False, True, True)}
        w.api.remove(PODS, "p1", "ns")
        await asyncio.sleep(1)
        assert sliced(w) == {} and len(w.api.all(ENDPOINT_SLICES)) == 1

    w.run(scenario)


def test_pods_with_different_numbers_for_a_named_port_are_kept_apart() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SERVICES, service())
        w.api.put(PODS, pod(1, port=8080))
        w.api.put(PODS, pod(2, port=9090))
        await asyncio.sleep(1)
        subsets = w.api.find(ENDPOINTS, "svc", "ns")["subsets"]
        assert [(s["addresses"][0]["ip"], s["ports"][0]["port"]) for s in subsets] == [
            ("10.0.0.1", 8080),
            ("10.0.0.2", 9090),
        ]
        assert sorted(found["ports"][0]["port"] for found in w.api.all(ENDPOINT_SLICES)) == [8080, 9090]

    w.run(scenario)


def test_a_headless_service_says_so_and_may_publish_what_is_not_ready() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SERVICES, service(clusterIP="None", publishNotReadyAddresses=True))
        w.api.put(PODS, pod(1, ready=False, hostname="h", subdomain="svc"))
        await asyncio.sleep(1)
        assert addresses(w) == (["10.0.0.1"], []) and sliced(w)["10.0.0.1"] == (True, False, False)
        found = w.api.find(ENDPOINTS, "svc", "ns")
        assert "service.kubernetes.io/headless" in found["metadata"]["labels"]
        assert found["subsets"][0]["addresses"][0]["hostname"] == "h"

    w.run(scenario)


def test_a_service_without_a_selector_is_left_to_its_user() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SERVICES, service(selector=None))
        w.api.put(
            ENDPOINTS, {"metadata": {"name": "svc", "namespace": "ns"}, "subsets": [{"addresses": [{"ip": "1.1.1.1"}]}]}
        )
        await asyncio.sleep(5)
        assert addresses(w) == (["1.1.1.1"], []) and w.api.all(ENDPOINT_SLICES) == []

    w.run(scenario)


def test_what_belongs_to_a_service_goes_with_it() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SERVICES, service())
        w.api.put(PODS, pod(1))
        await asyncio.sleep(1)
        w.api.remove(SERVICES, "svc", "ns")
        await asyncio.sleep(1)
        assert w.api.all(ENDPOINTS) == [] == w.api.all(ENDPOINT_SLICES)

    w.run(scenario)


def test_a_thousand_pods_take_ten_slices_and_one_that_changes_touches_one() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SERVICES, service())
        for number in range(1000):
            w.api.put(PODS, pod(number))
        await asyncio.sleep(5)
        sizes = [len(found["endpoints"]) for found in w.api.all(ENDPOINT_SLICES)]
        assert sum(sizes) == 1000 and max(sizes) <= 100 and len(sizes) <= 12
        before = len(w.writes(ENDPOINT_SLICES))
        w.api.remove(PODS, "p500", "ns")
        await asyncio.sleep(5)
        assert len(w.writes(ENDPOINT_SLICES)) == before + 1

    w.run(scenario)


STEP = st.tuples(st.sampled_from(["ready", "waiting", "gone", "other", "relabel", "move"]), st.integers(0, 4))


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_slices_and_endpoints_agree_with_the_pods_whatever_happens(steps: list[Any]) -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SERVICES, service())
        for kind, number in steps:
            if kind == "gone":
                if ("ns", f"p{number}") in w.api.objects.get(PODS, {}):
                    w.api.remove(PODS, f"p{number}", "ns")
            elif kind == "relabel":
                w.api.put(PODS, pod(number, app="other"))
            else:
                w.api.put(PODS, pod(number, ready=kind != "waiting", port=9090 if kind == "move" else 8080))
            await asyncio.sleep(0.01)
        await asyncio.sleep(5)
        pods = [obj for obj in w.api.all(PODS) if obj["metadata"]["labels"]["app"] == "a"]
        ready = sorted(
            get_in(obj, "status", "podIP") for obj in pods if obj["status"]["conditions"][0]["status"] == "True"
        )
        assert addresses(w)[0] == ready
        assert sorted(sliced(w)) == sorted(get_in(obj, "status", "podIP") for obj in pods)
        assert sorted(address for address, (is_ready, *_) in sliced(w).items() if is_ready) == ready

    w.run(scenario)
