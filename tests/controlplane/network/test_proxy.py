"""The service proxy with an API server that is a dict and real sockets on 127.0.0.0/8."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import InformerFactory
from controlplane.network import ProxyConfig
from controlplane.network.forwarder import Backend
from controlplane.network.proxy import ServiceProxy
from controlplane.network.routes import Address
from controlplane.objects.kinds import ENDPOINT_SLICES, EVENTS, SERVICES
from tests.controlplane.fakes import FakeApi
from tests.controlplane.network.servers import echo, fetch, free_port, say, serving

Object = dict[str, Any]
VIRTUAL = "127.77.128.1"


@asynccontextmanager
async def proxying(api: FakeApi, node_address: str = "127.77.0.1") -> AsyncIterator[ServiceProxy]:
    random, client, ready = Random(1), api.client(), asyncio.Event()
    recorder = EventRecorder(client, "kube-proxy", clock=api.clock, random=random)
    informers = InformerFactory(client, random=random)
    config = ProxyConfig(Path("unused"), "node-0", (node_address,))
    proxy = ServiceProxy(informers, recorder, config, random)
    tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(proxy.run(ready.set))]
    informers.start()
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield proxy
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await informers.close()


def put_service(api: FakeApi, port: int, name: str = "web", **spec: Any) -> None:
    ports = [{"port": port, "protocol": "TCP"}]
    body = {"type": "ClusterIP", "clusterIP": VIRTUAL, "clusterIPs": [VIRTUAL], "ports": ports} | spec
    api.put(SERVICES, {"metadata": {"name": name, "namespace": "default"}, "spec": body})


def put_endpoints(api: FakeApi, *backends: Backend, name: str = "web") -> None:
    labels = {"kubernetes.io/service-name": name}
    for number, backend in enumerate(backends):
        put_slice(api, f"{name}-{number}", labels, backend)
    for number in range(len(backends), 5):
        if ("default", f"{name}-{number}") in api.objects.get(ENDPOINT_SLICES, {}):
            api.remove(ENDPOINT_SLICES, f"{name}-{number}", "default")


def put_slice(api: FakeApi, name: str, labels: dict[str, str], backend: Backend) -> None:
    slice_ = {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"port": backend.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [backend.host], "conditions": {"ready": True}}],
    }
    api.put(ENDPOINT_SLICES, slice_)


async def until(proxy: ServiceProxy, *addresses: Address) -> None:
    """Wait until exactly these are listened on."""
    async with asyncio.timeout(5):
        while proxy.listeners.addresses() != sorted(addresses):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_service_leads_to_its_endpoints_in_turn_and_follows_them() -> None:
    api, port = FakeApi(), free_port(VIRTUAL)
    async with serving(say("a"), "127.77.16.2") as one, serving(say("b"), "127.77.16.3") as two:
        put_service(api, port)
        put_endpoints(api, one.backend, two.backend)
        async with proxying(api) as proxy:
            assert sorted([await fetch(VIRTUAL, port) for _ in range(4)]) == ["a", "a", "b", "b"]
            put_endpoints(api, two.backend)
            while {await fetch(VIRTUAL, port) for _ in range(4)} != {"b"}:
                pass
            put_endpoints(api)
            await until(proxy)
            with pytest.raises(ConnectionRefusedError):
                await fetch(VIRTUAL, port)
            put_endpoints(api, one.backend)
            await until(proxy, Address(VIRTUAL, port))
            assert await fetch(VIRTUAL, port) == "a"


async def test_an_endpoint_that_has_just_died_costs_no_error() -> None:
    api, port = FakeApi(), free_port(VIRTUAL)
    async with serving(say("a"), "127.77.16.2") as one:
        put_service(api, port)
        put_endpoints(api, one.backend, Backend("127.77.16.3", free_port("127.77.16.3")))
        async with proxying(api):
            assert {await fetch(VIRTUAL, port) for _ in range(4)} == {"a"}


async def test_established_connections_survive_changes_of_the_service() -> None:
    api, port = FakeApi(), free_port(VIRTUAL)
    async with serving(echo, "127.77.16.2") as one, serving(say("b"), "127.77.16.3") as two:
        put_service(api, port)
        put_endpoints(api, one.backend)
        async with proxying(api) as proxy:
            reader, writer = await asyncio.open_connection(VIRTUAL, port)
            writer.write(b"1")
            assert await reader.readexactly(1) == b"1"
            put_endpoints(api, two.backend)
            while await fetch(VIRTUAL, port) != "b":
                pass
            api.remove(SERVICES, "web", "default")
            await until(proxy)
            writer.write(b"2")
            assert await reader.readexactly(1) == b"2"
            writer.close()


async def test_node_ports_listen_on_the_node_address() -> None:
    api, port, node_port = FakeApi(), free_port(VIRTUAL), free_port("127.77.0.1")
    async with serving(say("a"), "127.77.16.2") as one:
        put_service(api, port, type="NodePort", ports=[{"port": port, "nodePort": node_port}])
        put_endpoints(api, one.backend)
        async with proxying(api) as proxy:
            await until(proxy, Address("127.77.0.1", node_port), Address(VIRTUAL, port))
            assert await fetch("127.77.0.1", node_port) == "a"


async def test_proxies_of_several_nodes_share_an_address_and_one_may_die() -> None:
    api, port = FakeApi(), free_port(VIRTUAL)
    async with serving(say("a"), "127.77.16.2") as one:
        put_service(api, port)
        put_endpoints(api, one.backend)
        async with proxying(api):
            async with proxying(api, "127.77.0.2"):
                assert {await fetch(VIRTUAL, port) for _ in range(8)} == {"a"}
            assert {await fetch(VIRTUAL, port) for _ in range(8)} == {"a"}


async def test_an_address_that_cannot_be_bound_is_told_once_and_the_rest_goes_on() -> None:
    api, port = FakeApi(), free_port(VIRTUAL)
    async with serving(say("a"), "127.77.16.2") as one:
        foreign = {"clusterIP": "192.0.2.1", "clusterIPs": ["192.0.2.1"]}
        put_service(api, 80, name="foreign", **foreign)
        put_endpoints(api, one.backend, name="foreign")
        put_service(api, port)
        put_endpoints(api, one.backend)
        async with proxying(api) as proxy:
            assert proxy.listeners.addresses() == [Address(VIRTUAL, port)]
            put_endpoints(api, one.backend, one.backend, name="foreign")
            assert await fetch(VIRTUAL, port) == "a"
            (event,) = [event for event in api.all(EVENTS) if event["reason"] == "FailedToListen"]
            assert "node-0 cannot listen on 192.0.2.1:80" in event["message"]
            assert event["involvedObject"]["name"] == "foreign"


async def test_udp_ports_get_an_event() -> None:
    api = FakeApi()
    put_service(api, 53, ports=[{"port": 53, "protocol": "UDP"}])
    async with proxying(api):
        async with asyncio.timeout(5):
            while not api.all(EVENTS):  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert api.all(EVENTS)[0]["reason"] == "UnsupportedProtocol"


async def test_of_two_services_that_want_one_address_the_first_has_it_until_it_goes() -> None:
    api, port = FakeApi(), free_port(VIRTUAL)
    async with serving(say("a"), "127.77.16.2") as one, serving(say("b"), "127.77.16.3") as two:
        for name, server in (("one", one), ("two", two)):
            put_service(api, port, name=name)
            put_endpoints(api, server.backend, name=name)
        async with proxying(api):
            assert await fetch(VIRTUAL, port) == "a"
            api.remove(SERVICES, "one", "default")
            while await fetch(VIRTUAL, port) != "b":
                pass
