"""The load balancer with masters that die, hang and come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.network import LoadBalancerConfig, run_loadbalancer
from controlplane.network.backends import Health
from controlplane.network.forwarder import Backend
from controlplane.network.probes import Prober
from tests.controlplane.network.servers import fetch, free_port, say, serving


@asynccontextmanager
async def balancing(*backends: Backend) -> AsyncIterator[int]:
    port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
    config = LoadBalancerConfig("127.0.0.1", port, backends, patience_seconds=1.0)
    task = asyncio.create_task(run_loadbalancer(config, stop=stop, ready=ready.set))
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


async def test_clients_of_a_dead_master_are_reset_and_come_back_to_a_living_one() -> None:
    async with serving(say("a")) as one, serving(say("b")) as two, balancing(one.backend, two.backend) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        first = (await reader.read(1)).decode()
        dead, survivor = (one, "b") if first == "a" else (two, "a")
        await dead.die()
        with pytest.raises(ConnectionResetError):
            while await asyncio.wait_for(reader.read(1), 5):
                pass
            raise ConnectionResetError  # an orderly end tells the client as well
        writer.close()
        for _ in range(6):
            assert await fetch("127.0.0.1", port) == survivor


async def test_a_master_that_comes_back_is_used_again() -> None:
    back = Backend("127.0.0.1", free_port())
    async with serving(say("a")) as one, balancing(one.backend, back) as port:
        assert {await fetch("127.0.0.1", port) for _ in range(4)} == {"a"}
        async with serving(say("b"), port=back.port), asyncio.timeout(5):
            while await fetch("127.0.0.1", port) != "b":
                pass


async def test_a_load_balancer_without_backends_says_so() -> None:
    with pytest.raises(ValueError, match="at least one backend"):
        await run_loadbalancer(LoadBalancerConfig("127.0.0.1", 0, ()), stop=asyncio.Event(), ready=lambda: None)


async def test_a_prober_hears_of_a_death_at_once() -> None:
    told: asyncio.Queue[Health] = asyncio.Queue()
    async with serving(say("")) as server:
        prober = Prober(
            server.backend,
            lambda backend, health: told.put_nowait(health),
            ssl_context=None,
            interval_seconds=3600.0,
            timeout_seconds=1.0,
        )
        task = asyncio.create_task(prober.run())
        assert await asyncio.wait_for(told.get(), 5) is Health.READY
        await asyncio.sleep(0.01)
        await server.die()
        assert await asyncio.wait_for(told.get(), 5) is Health.DOWN
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
