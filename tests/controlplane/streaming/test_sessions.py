"""Remote commands over WebSocket channels and over SPDY streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from controlplane.kubelet.streaming import remotecommand
from controlplane.kubelet.streaming.connection import SpdyConnection
from controlplane.kubelet.streaming.sessions import ChannelSession, Resize, SpdySession, Streams, parse_resize
from controlplane.kubelet.streaming.spdy import Codec, Data, GoAway, Ping, RstStream, SynReply, SynStream
from controlplane.kubelet.streaming.websocket import WebSocket
from tests.controlplane.streaming.memory import Pipes, Script, Wire, connected

ALL = Streams(stdin=True, stdout=True, stderr=True)


class Browser:
    """The client's end of a WebSocket."""

    def __init__(self, pipes: Pipes) -> None:
        self.reader, self.writer = pipes
        self.protocol = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN)
        self.messages: list[bytes] = []
        self.pongs = 0
        self.taken = 0

    async def flush(self) -> None:
        self.writer.write(b"".join(self.protocol.data_to_send()))
        await self.writer.drain()

    async def send(self, message: bytes) -> None:
        self.protocol.send_binary(message)
        await self.flush()

    async def read_one(self) -> bytes:
        """The next message; b"" when the server has closed."""
        while len(self.messages) == self.taken:
            data = await self.reader.read(65536) if self.protocol.state is State.OPEN else b""
            if not data:
                return b""
            self.protocol.receive_data(data)
            for event in self.protocol.events_received():
                assert isinstance(event, Frame)
                if event.opcode is Opcode.BINARY:
                    self.messages.append(bytes(event.data))
                self.pongs += event.opcode is Opcode.PONG
            await self.flush()
        self.taken += 1
        return self.messages[self.taken - 1]

    async def read_all(self) -> list[bytes]:
        """Until the server closes."""
        while await self.read_one():
            pass
        self.writer.close()
        return self.messages


@asynccontextmanager
async def channels(command: Script, streams: Streams = ALL, *, half_close: bool = True) -> AsyncIterator[Browser]:
    """A browser at a command; ends when the session has."""
    (reader, writer), client = await connected()
    session = ChannelSession(WebSocket(reader, writer), streams, half_close=half_close)
    await session.open()
    serving = asyncio.ensure_future(remotecommand.serve(session, command, streams, is_exec=True))
    browser = Browser(client)
    async with asyncio.timeout(5):
        yield browser
        browser.writer.close()
        await serving
    writer.close()


async def test_output_comes_on_channels_and_the_exit_code_at_the_end() -> None:
    command = Script({"stdout": [b"out"], "stderr": [b"err"]}, code=3)
    async with channels(command) as browser:
        messages = await browser.read_all()
    assert messages[0] == b"\x01" and {b"\x01out", b"\x02err"} < set(messages)
    status = json.loads(messages[-1][1:])
    assert messages[-1][0] == 3 and status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert command.closed


async def test_input_sizes_and_the_end_of_input_reach_the_command() -> None:
    command = Script({}, endless=True)
    async with channels(command) as browser:
        for message in (b"\x00abc", b"", b'\x04{"Width":80,"Height":24}', b"\x04{", b"\x09?", b"\xff\x00"):
            await browser.send(message)
        messages = await browser.read_all()
    assert (command.written, command.sizes) == ([b"abc"], [(80, 24)])
    assert json.loads(messages[-1][1:])["status"] == "Success"


async def test_before_version_five_nothing_ends_the_input() -> None:
    command = Script({}, endless=True)
    async with channels(command, half_close=False) as browser:
        await browser.send(b"\xff\x00")
        await browser.send(b"\x00last")
    assert command.written == [b"last"] and not command.input_ended.is_set() and command.closed


async def test_a_client_that_goes_ends_the_command() -> None:
    command = Script({}, endless=True)
    async with channels(command):
        pass
    assert command.closed


async def test_pings_are_answered_and_fragments_joined() -> None:
    command = Script({}, endless=True)
    async with channels(command) as browser:
        browser.protocol.send_ping(b"x")
        browser.protocol.send_binary(b"\x00ab", fin=False)
        browser.protocol.send_continuation(b"cd", fin=True)
        await browser.flush()
        await browser.send(b"\xff\x00")
        await browser.read_all()
    assert browser.pongs == 1 and command.written == [b"abcd"]


class Peer:
    """The client's end of a SPDY connection."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self.codec = wire, Codec()
        self.decoder = Codec()

    def say(self, *frames: Any) -> None:
        for frame in frames:
            self.wire.inward.put_nowait(self.codec.encode(frame))

    def heard(self) -> list[Any]:
        found: list[Any] = []
        while not self.wire.outward.empty():
            found.extend(self.decoder.feed(self.wire.outward.get_nowait()))
        return found


def stream(number: int, kind: str) -> SynStream:
    return SynStream(number, {"streamtype": kind})


async def test_a_command_over_spdy_has_a_stream_for_everything() -> None:
    wire = Wire()
    peer = Peer(wire)
    kinds = ("error", "stdin", "stdout", "stderr")
    peer.say(
        *(stream(2 * at + 1, kind) for at, kind in enumerate(kinds)), Ping(9), Data(3, b"in"), Data(3, b"", fin=True)
    )
    session = SpdySession(SpdyConnection(wire), ALL)
    assert await session.open()
    command = Script({"stdout": [b"out"]}, code=4, endless=True)
    await remotecommand.serve(session, command, ALL, is_exec=True)
    heard = peer.heard()
    assert heard[:4] == [SynReply(number) for number in (1, 3, 5, 7)]
    assert command.written == [b"in"] and command.closed
    assert Ping(9) in heard and Data(5, b"out") in heard and isinstance(heard[-1], GoAway)
    (error,) = (frame for frame in heard if isinstance(frame, Data) and frame.stream == 1)
    assert error.fin and json.loads(error.data)["details"]["causes"][0]["message"] == "4"
    assert Data(5, b"", fin=True) in heard and Data(7, b"", fin=True) in heard


async def test_a_terminal_has_no_stderr_and_is_resized() -> None:
    wire = Wire()
    peer = Peer(wire)
    tty = Streams(stdin=True, stdout=True, tty=True)
    peer.say(stream(1, "error"), stream(3, "stdin"), stream(5, "stdout"), stream(7, "resize"), stream(9, "stderr"))
    peer.say(Data(7, b'{"Width":10,"Height":20}\n{"Width":30,'), Data(7, b'"Height":40}\n'), RstStream(3, 5))
    session = SpdySession(SpdyConnection(wire), tty)
    assert await session.open()
    command = Script({}, endless=True)
    await remotecommand.serve(session, command, tty, is_exec=False)
    assert command.sizes == [(10, 20), (30, 40)]
    assert RstStream(9, 3) in peer.heard()


async def test_a_client_that_opens_no_streams_and_goes_is_no_session() -> None:
    wire = Wire()
    wire.inward.put_nowait(None)
    assert not await SpdySession(SpdyConnection(wire), ALL).open()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"Width":80,"Height":24}', Resize(80, 24)),
        (b'{"Width":0,"Height":24}', None),
        (b'{"Width":80}', None),
        (b"[]", None),
        (b'{"Width":70000,"Height":1}', None),
        (b"\xff", None),
    ],
)
def test_sizes_are_two_positive_numbers(text: bytes, expected: Resize | None) -> None:
    assert parse_resize(text) == expected
