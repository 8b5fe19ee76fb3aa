"""Connections to a pod's ports, over SPDY streams and over WebSocket channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controlplane.kubelet.streaming.connection import SpdyConnection
from controlplane.kubelet.streaming.portforward import Relay, SpdyForwarder, forward_channels
from controlplane.kubelet.streaming.spdy import Data, RstStream, SynReply, SynStream
from controlplane.kubelet.streaming.websocket import WebSocket
from tests.controlplane.streaming.memory import Pipes, Wire, connected
from tests.controlplane.streaming.test_sessions import Browser, Peer

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers what it is told in capitals, when it has been told everything."""
    writer.write((await reader.read()).upper())
    await writer.drain()
    writer.close()


@asynccontextmanager
async def pod(serve: Serve = shout) -> AsyncIterator[Callable[[int], Awaitable[Pipes]]]:
    """A pod that serves on port 80 only."""
    handled: list[asyncio.Task[None]] = []

    def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handled.append(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(handle, "127.0.0.1", 0)

    async def connect(port: int) -> Pipes:
        if port != 80:
            raise ConnectionRefusedError("connection refused")
        return await asyncio.open_connection(*server.sockets[0].getsockname()[:2])

    async with asyncio.timeout(10):
        yield connect
        server.close()
        await asyncio.gather(*handled, return_exceptions=True)


def opening(number: int, kind: str, request: str, port: str = "80") -> SynStream:
    return SynStream(number, {"streamtype": kind, "port": port, "requestid": request})


async def until(peer: Peer, heard: list[Any], wanted: Any) -> None:
    while wanted not in heard:
        heard.extend(peer.decoder.feed(await peer.wire.outward.get()))


async def test_two_connections_share_one_spdy_connection() -> None:
    wire = Wire()
    peer = Peer(wire)
    async with pod() as connect:
        serving = asyncio.ensure_future(SpdyForwarder(SpdyConnection(wire), connect, lambda port: "pod p").run())
        for error, data, request, text in ((1, 3, "0", b"one"), (5, 7, "1", b"two")):
            peer.say(opening(error, "error", request), opening(data, "data", request))
            peer.say(Data(data, text), Data(data, b"", fin=True))
        heard: list[Any] = []
        await until(peer, heard, Data(1, b"", fin=True))
        await until(peer, heard, Data(5, b"", fin=True))
        wire.inward.put_nowait(None)
        await serving
    assert [frame for frame in heard if isinstance(frame, SynReply)] == [SynReply(n) for n in (1, 3, 5, 7)]
    assert Data(3, b"ONE") in heard and Data(7, b"TWO") in heard
    assert Data(3, b"", fin=True) in heard and Data(7, b"", fin=True) in heard


async def test_a_port_that_nobody_serves_is_told_on_the_error_stream() -> None:
    wire = Wire()
    peer = Peer(wire)
    async with pod() as connect:
        serving = asyncio.ensure_future(SpdyForwarder(SpdyConnection(wire), connect, lambda port: "pod p").run())
        peer.say(opening(1, "error", "0", "81"), opening(3, "data", "0", "81"), Data(3, b"lost"))
        heard: list[Any] = []
        await until(peer, heard, Data(1, b"", fin=True))
        wire.inward.put_nowait(None)
        await serving
    assert Data(1, b"error forwarding port 81 to pod p: connection refused") in heard


@pytest.mark.parametrize("headers", [{"streamtype": "data", "port": "x"}, {"streamtype": "other", "port": "80"}, {}])
async def test_streams_that_mean_nothing_are_reset(headers: dict[str, str]) -> None:
    wire = Wire()
    peer = Peer(wire)
    async with pod() as connect:
        peer.say(SynStream(1, headers), Data(1, b"?"))
        wire.inward.put_nowait(None)
        await SpdyForwarder(SpdyConnection(wire), connect, lambda port: "pod p").run()
    assert peer.heard() == [RstStream(1, 1)]


async def test_a_reset_ends_the_connection_to_the_pod() -> None:
    wire = Wire()
    peer = Peer(wire)
    over = asyncio.Event()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read()
        over.set()
        writer.close()

    async with pod(wait_for_end) as connect:
        serving = asyncio.ensure_future(SpdyForwarder(SpdyConnection(wire), connect, lambda port: "pod p").run())
        peer.say(opening(1, "error", "0"), opening(3, "data", "0"))
        await until(peer, [], Data(3, b"hello"))
        peer.say(RstStream(3, 5))
        await over.wait()
        wire.inward.put_nowait(None)
        await serving


async def test_a_pod_that_does_not_read_holds_its_client_back_until_it_closes() -> None:
    closing = asyncio.Event()

    async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closing.wait()
        writer.transport.abort()

    async def drop(data: bytes) -> None:
        return

    async with pod(never_read) as connect:
        relay = Relay(connect, 80)
        running = asyncio.ensure_future(relay.run(drop))
        giving = asyncio.ensure_future(_give(relay, 1000))
        done, _ = await asyncio.wait([giving], timeout=0.3)
        assert not done, "60 MB were taken without being read"
        closing.set()
        await asyncio.gather(running, giving)


async def _give(relay: Relay, count: int) -> None:
    for _ in range(count):
        await relay.give(bytes(64 * 1024))


async def test_websocket_channels_begin_with_their_port_and_carry_errors_beside_data() -> None:
    (reader, writer), client = await connected()
    browser = Browser(client)
    async with pod(_one_line) as connect:
        await browser.send(b"\x00hello\n")
        serving = asyncio.ensure_future(
            forward_channels(WebSocket(reader, writer), [80, 81], connect, lambda port: "pod p")
        )
        messages = await browser.read_all()
        await serving
    writer.close()
    assert {b"\x00\x50\x00", b"\x01\x50\x00", b"\x02\x51\x00", b"\x03\x51\x00"} < set(messages)
    assert b"\x00HELLO\n" in messages
    assert b"\x03error forwarding port 81 to pod p: connection refused" in messages


async def _one_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()
