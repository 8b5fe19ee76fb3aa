"""Connections begin, break, pause and end."""

import asyncio
from collections.abc import Callable

import pytest

from kvstore.rpc import Channel, Code, Limits, RpcError, Server, frames
from tests.kvstore.rpc.conftest import Example
from tests.kvstore.rpc.wire import ServerWire


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds (nobody announces it)."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_a_channel_connects_again_after_a_restart(example: Example) -> None:
    channel = Channel(example.target)
    await channel.unary("/test.Example/Echo", b"1")
    port = example.server.port
    await example.server.stop()
    with pytest.raises(RpcError) as caught:
        await channel.unary("/test.Example/Echo", b"2")
    assert (caught.value.code, caught.value.sent) == (Code.UNAVAILABLE, False)
    example.server = Server(example.routes())
    await example.server.start("127.0.0.1", port)
    assert await channel.unary("/test.Example/Echo", b"3") == b"3"
    await channel.close()


async def test_calls_on_a_leaving_connection_end_while_new_ones_connect_anew(example: Example) -> None:
    channel = Channel(example.target)
    running = asyncio.create_task(channel.unary("/test.Example/Wait", b""))
    call = await example.waiting.get()
    first = next(iter(example.server.connections))
    first.leave()
    await until(lambda: not channel.is_connected)
    assert await channel.unary("/test.Example/Echo", b"new") == b"new"
    call.reply(b"old")
    assert await running == b"old"
    await channel.close()


async def test_calls_beyond_the_servers_limit_wait_for_their_turn(tight: Example) -> None:
    channel = Channel(tight.target)
    await channel.connect()
    calls = [asyncio.create_task(channel.unary("/test.Example/Wait", b"%d" % index)) for index in range(30)]
    for _ in range(30):
        call = await tight.waiting.get()
        assert len(call.connection.streams) <= 4
        call.reply(b"done")
    assert await asyncio.gather(*calls) == [b"done"] * 30
    await channel.close()


async def test_a_waiting_call_meets_its_deadline_unsent(tight: Example) -> None:
    channel = Channel(tight.target)
    await channel.connect()
    calls = [asyncio.create_task(channel.unary("/test.Example/Wait", b"")) for _ in range(4)]
    held = [await tight.waiting.get() for _ in calls]
    with pytest.raises(RpcError) as caught:
        await channel.unary("/test.Example/Echo", b"", timeout=0.05)
    assert (caught.value.code, caught.value.sent) == (Code.DEADLINE_EXCEEDED, False)
    for call in held:
        call.reply(b"")
    await asyncio.gather(*calls)
    await channel.close()


async def test_a_peer_that_does_not_read_stops_the_server_from_queueing(example: Example) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", example.server.port, limit=1)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    wire = ServerWire()
    window = frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 2**31 - 1}) + frames.window_update_frame(0, 2**30)
    writer.write(frames.PREFACE + window)
    for index in range(100):
        writer.write(wire.request(1 + 2 * index, b"200 16000", path="/test.Example/Many"))
    await until(lambda: any(protocol._drain is not None for protocol in example.server.connections))
    protocol = next(iter(example.server.connections))
    http2 = protocol._http2
    assert http2 is not None
    written = protocol._transport.get_write_buffer_size()
    assert written <= example.server.limits.write_buffer_bytes + example.server.limits.write_turn_bytes + 2**20
    assert not http2.is_writable
    writer.transport.abort()
    await until(lambda: not example.server.connections)


async def test_a_peer_that_does_not_read_is_cut_when_the_connection_ends() -> None:
    example = Example()
    example.server = Server(example.routes(), limits=Limits(close_seconds=0.05))
    await example.server.start("127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", example.server.port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    wire = ServerWire()
    window = frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 2**31 - 1}) + frames.window_update_frame(0, 2**30)
    writer.write(frames.PREFACE + window)
    for index in range(20):
        writer.write(wire.request(1 + 2 * index, b"200 16000", path="/test.Example/Many"))
    writer.write(frames.frame(frames.PING, 0, 1, b"illegal!"))  # ends the connection, with answers still to be written
    await until(lambda: any(protocol._close_timer is not None for protocol in example.server.connections))
    await until(lambda: not example.server.connections)
    await example.server.stop()
    writer.transport.abort()


@pytest.mark.parametrize("by", ["keep-alive", "probe"])
async def test_a_silent_server_is_found_out(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvstore.rpc.channel.KEEPALIVE_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr("kvstore.rpc.channel.PROBE_TIMEOUT_SECONDS", 0.05)
    connected = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.settings_frame({}))
        connected.set()
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    channel = Channel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", keepalive_seconds=0.05 if by == "keep-alive" else 60.0)
    call = asyncio.create_task(channel.unary("/test.Example/Echo", b""))
    if by == "probe":
        with pytest.raises(RpcError):
            await channel.unary("/test.Example/Echo", b"", timeout=0.02)
        channel.probe()
        channel.probe()
    with pytest.raises(RpcError) as caught:
        await call
    assert (caught.value.code, caught.value.text) == (Code.UNAVAILABLE, "keepalive: the server does not answer")
    await channel.close()
    server.close()
    await server.wait_closed()


async def test_a_stream_of_the_server_waits_for_a_slow_client(example: Example) -> None:
    channel = Channel(example.target, limits=Limits(stream_window_bytes=65_535))
    stream = channel.stream("/test.Example/Stream")
    stream.send(b"x" * 60_000)
    assert await anext(stream) == b"x" * 60_000
    call = example.calls[-1]
    drained = asyncio.Event()
    for _ in range(200):
        call.send(b"y" * 60_000)
    assert call.pending_bytes > 5_000_000
    call.on_drain(drained.set)
    taken = 0
    while taken < 200:
        await anext(stream)
        taken += 1
    await drained.wait()
    assert call.pending_bytes == 0
    await channel.close()
