"""The forwarder: bytes both ways, half closes, back-pressure, resets, fail-over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from controlplane.network.backends import Health, LeastConnections
from controlplane.network.forwarder import Backend, Forwarder, Limits, listening_socket
from tests.controlplane.network.servers import echo, fetch, free_port, say, serving


@asynccontextmanager
async def forwarding(*backends: Backend, limits: Limits | None = None) -> AsyncIterator[tuple[Forwarder, int]]:
    forwarder = Forwarder(LeastConnections(backends), limits)
    sock = listening_socket("127.0.0.1", 0, reuse_port=True)
    port = sock.getsockname()[1]
    await forwarder.listen(sock)
    try:
        yield forwarder, port
    finally:
        await forwarder.close()


async def test_bytes_go_both_ways_and_an_orderly_end_ends_both_sides() -> None:
    async with serving(echo) as server, forwarding(server.backend) as (forwarder, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        payload = bytes(range(256)) * 4096
        writer.write(payload)
        assert await reader.readexactly(len(payload)) == payload
        writer.close()
        await asyncio.wait_for(forwarder.drained(), 5)
        assert not server.writers


async def test_a_client_that_half_closes_still_gets_its_answer() -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(str(len(data)).encode())
        await writer.drain()

    async with serving(count) as server, forwarding(server.backend) as (forwarder, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 12345)
        writer.write_eof()
        assert await reader.read() == b"12345"
        writer.close()
        await asyncio.wait_for(forwarder.drained(), 5)


async def test_a_half_closed_connection_on_which_nothing_moves_is_reset() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.sleep(60)

    limits = Limits(half_closed_seconds=0.02)
    async with serving(never) as server, forwarding(server.backend, limits=limits) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write_eof()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_an_idle_connection_is_reset_after_its_time() -> None:
    async with serving(echo) as server, forwarding(server.backend, limits=Limits(idle_seconds=0.04)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_reader_that_does_not_read_holds_the_writer_back() -> None:
    sent = 0
    blocked = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        chunk = bytes(1 << 20)
        for _ in range(200):
            writer.write(chunk)
            try:
                await asyncio.wait_for(writer.drain(), 0.5)
            except TimeoutError:
                blocked.set()
                await writer.drain()
            sent += len(chunk)

    async with serving(flood) as server, forwarding(server.backend) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        await asyncio.wait_for(blocked.wait(), 10)
        assert sent < 100 << 20
        received = 0
        while data := await reader.read(1 << 20):
            received += len(data)
        assert received == 200 << 20
        writer.close()


async def test_a_dead_backend_is_skipped_without_a_connect_error() -> None:
    dead = Backend("127.0.0.1", free_port())
    async with serving(say("alive")) as server, forwarding(dead, server.backend) as (forwarder, port):
        for _ in range(5):
            assert await fetch("127.0.0.1", port) == "alive"
        balancer = forwarder.balancer
        assert isinstance(balancer, LeastConnections) and balancer.health(dead) is Health.DOWN


async def test_a_backends_death_resets_its_clients() -> None:
    async with serving(echo) as server, forwarding(server.backend) as (forwarder, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        await reader.readexactly(5)
        forwarder.reset_backend(server.backend)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await asyncio.wait_for(forwarder.drained(), 5)


async def test_a_client_waits_with_patience_for_the_first_backend_to_come_up() -> None:
    port = free_port()
    limits = Limits(patience_seconds=5.0, retry_seconds=0.01)
    async with forwarding(Backend("127.0.0.1", port), limits=limits) as (_, front):
        early = asyncio.create_task(fetch("127.0.0.1", front))
        await asyncio.sleep(0.03)
        async with serving(say("late"), port=port):
            assert await early == "late"


async def test_without_any_backend_the_client_is_reset() -> None:
    async with forwarding(Backend("127.0.0.1", free_port())) as (forwarder, port):
        with pytest.raises(ConnectionResetError):
            await fetch("127.0.0.1", port)
        await asyncio.wait_for(forwarder.drained(), 5)


async def test_connections_past_the_limit_are_reset() -> None:
    async with serving(say("one")) as server, forwarding(server.backend, limits=Limits(connections=1)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read(3) == b"one"
        with pytest.raises(ConnectionResetError):
            await fetch("127.0.0.1", port)
        writer.close()


async def test_connections_go_to_the_least_used_backend() -> None:
    async with serving(say("a")) as one, serving(say("b")) as two, forwarding(one.backend, two.backend) as (_, port):
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
        said = [await reader.read(1) for reader, _ in open_ones]
        assert sorted(said) == [b"a"] * 3 + [b"b"] * 3
        for _, writer in open_ones:
            writer.close()


async def test_established_connections_outlive_the_listener() -> None:
    async with serving(echo) as server:
        forwarder = Forwarder(LeastConnections([server.backend]))
        sock = listening_socket("127.0.0.1", 0, reuse_port=True)
        port = sock.getsockname()[1]
        await forwarder.listen(sock)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"1")
        await reader.readexactly(1)
        forwarder.stop_listening(sock)
        with pytest.raises(ConnectionRefusedError):
            await fetch("127.0.0.1", port)
        writer.write(b"2")
        assert await reader.readexactly(1) == b"2"
        writer.close()
        await forwarder.close()


async def test_two_forwarders_share_an_address_and_either_may_go() -> None:
    async with serving(say("x")) as server:
        first, second = Forwarder(LeastConnections([server.backend])), Forwarder(LeastConnections([server.backend]))
        sock = listening_socket("127.0.0.1", 0, reuse_port=True)
        port = sock.getsockname()[1]
        await first.listen(sock)
        await second.listen(listening_socket("127.0.0.1", port, reuse_port=True))
        assert await fetch("127.0.0.1", port) == "x"
        await first.close()
        for _ in range(10):
            assert await fetch("127.0.0.1", port) == "x"
        await second.close()


async def test_a_client_that_sends_and_half_closes_at_once_is_served() -> None:
    async def length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(str(len(await reader.read())).encode())
        await writer.drain()

    limits = Limits(patience_seconds=5.0, retry_seconds=0.01)
    port = free_port()
    async with forwarding(Backend("127.0.0.1", port), limits=limits) as (_, front):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(b"x" * 100_000)
        writer.write_eof()
        await asyncio.sleep(0.03)
        async with serving(length, port=port):
            assert await asyncio.wait_for(reader.read(), 5) == b"100000"
        writer.close()


async def test_a_backend_that_dies_before_it_speaks_is_replaced_with_nothing_lost() -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5)
        writer.transport.abort()

    limits = Limits(replay_bytes=100)
    async with (
        serving(die) as one,
        serving(echo) as two,
        forwarding(one.backend, two.backend, limits=limits) as (_, port),
    ):
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.write(b"again")
            assert await reader.readexactly(5) == b"again"
            writer.close()


async def test_when_every_backend_stays_silent_the_client_is_reset() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    limits = Limits(replay_bytes=100, patience_seconds=0.05, retry_seconds=0.01)
    async with serving(hang_up) as one, forwarding(one.backend, limits=limits) as (forwarder, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await asyncio.wait_for(forwarder.drained(), 5)


async def test_a_backend_that_has_spoken_is_not_replaced() -> None:
    async def greet_and_die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hi")
        await reader.read(1)
        writer.transport.abort()

    limits = Limits(replay_bytes=100)
    async with serving(greet_and_die) as one, forwarding(one.backend, limits=limits) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.readexactly(2) == b"hi"
        writer.write(b"x")
        assert await reader.read() == b""
        writer.close()


SCENARIOS = [test for name, test in sorted(globals().items()) if name.startswith("test_")]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.removeprefix("test_"))
def test_the_same_on_uvloop(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
