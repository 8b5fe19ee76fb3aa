"""One remote command's streams, whatever protocol carries them.

Both forms take `Stdin` and `Resize` from the client and give it "stdout", "stderr" and, at the end, a Status.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from controlplane.kubelet.streaming.connection import SpdyConnection
from controlplane.kubelet.streaming.spdy import REFUSED_STREAM, Data, RstStream, SynStream
from controlplane.kubelet.streaming.websocket import WebSocket

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
STREAMS_SECONDS: Final = 30.0
MAX_RESIZE_BYTES: Final = 4096
MAX_SIDE: Final = 0xFFFF
_CHANNELS: Final = {"stdout": STDOUT, "stderr": STDERR}

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Streams:
    """What the client wants to be connected."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class Stdin:
    """Bytes for the command; none: its input ends."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """The terminal's size has changed."""

    columns: int
    rows: int


Input = Stdin | Resize


class Session(Protocol):
    """What a remote command is served over."""

    async def receive(self) -> Input | None:
        """What the client says next; None when it is gone."""

    async def send(self, stream: str, data: bytes) -> None:
        """Output of "stdout" or "stderr". OSError when the client is gone."""

    async def finish(self, status: Status) -> None:
        """How it ended; then the streams are closed."""


def parse_resize(text: bytes) -> Resize | None:
    """`{"Width": columns, "Height": rows}`; None for what is none."""
    try:
        found = json.loads(text)
        columns, rows = int(found["Width"]), int(found["Height"])
    except (ValueError, KeyError, TypeError):
        return None
    return Resize(columns, rows) if 0 < columns <= MAX_SIDE and 0 < rows <= MAX_SIDE else None


class ChannelSession:
    """WebSocket messages whose first byte is the channel. `half_close`: v5, where a client can end stdin."""

    def __init__(self, socket: WebSocket, streams: Streams, *, half_close: bool) -> None:
        self._socket = socket
        self._streams = streams
        self._half_close = half_close

    async def open(self) -> None:
        """An empty message on the first channel that can carry one tells the client that it is connected."""
        channel = STDOUT if self._streams.stdout else STDERR if self._streams.stderr else ERROR
        await self._socket.send(bytes([channel]))

    async def receive(self) -> Input | None:
        """See Session.receive."""
        while (message := await self._socket.receive()) is not None:
            if not message:
                continue
            channel, data = message[0], message[1:]
            if channel == STDIN and self._streams.stdin and data:
                return Stdin(data)
            if channel == CLOSE and self._half_close and data == bytes([STDIN]):
                return Stdin(b"")
            if channel == RESIZE and (size := parse_resize(data)) is not None:
                return size
        return None

    async def send(self, stream: str, data: bytes) -> None:
        """See Session.send."""
        await self._socket.send(bytes([_CHANNELS[stream]]) + data)

    async def finish(self, status: Status) -> None:
        """See Session.finish."""
        await self._socket.send(bytes([ERROR]) + json.dumps(status).encode())
        await self._socket.close()


class SpdySession:
    """A SPDY stream for each of error, stdin, stdout, stderr and resize; the client opens them."""

    def __init__(self, connection: SpdyConnection, streams: Streams) -> None:
        self._connection = connection
        wanted = {"error": True, "stdin": streams.stdin, "stdout": streams.stdout}
        wanted |= {"stderr": streams.stderr and not streams.tty, "resize": streams.tty}
        self._wanted = {name for name, needed in wanted.items() if needed}
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._sizes = b""
        self._early: deque[Data] = deque()

    async def open(self) -> bool:
        """Wait for the streams; False when the client is gone or opens others in STREAMS_SECONDS."""
        try:
            async with asyncio.timeout(STREAMS_SECONDS):
                while self._wanted - self._ids.keys():
                    frame = await self._connection.receive()
                    if frame is None:
                        return False
                    if isinstance(frame, SynStream):
                        await self._on_stream(frame)
                    elif isinstance(frame, Data):
                        self._early.append(frame)
        except TimeoutError:
            return False
        return True

    async def _on_stream(self, frame: SynStream) -> None:
        name = frame.headers.get("streamtype", "").lower()
        if name not in self._wanted or name in self._ids:
            await self._connection.send(RstStream(frame.stream, REFUSED_STREAM))
            return
        self._ids[name], self._names[frame.stream] = frame.stream, name
        await self._connection.accept(frame.stream)
        if frame.fin:
            self._early.append(Data(frame.stream, b"", fin=True))

    async def receive(self) -> Input | None:
        """See Session.receive."""
        while True:
            frame = self._early.popleft() if self._early else await self._connection.receive()
            if frame is None:
                return None
            if isinstance(frame, SynStream):
                await self._connection.send(RstStream(frame.stream, REFUSED_STREAM))
            if isinstance(frame, RstStream):
                frame = Data(frame.stream, b"", fin=True)
            if not isinstance(frame, Data):
                continue
            name = self._names.get(frame.stream)
            if name == "stdin" and (frame.data or frame.fin):
                if frame.data and frame.fin:
                    self._early.appendleft(Data(frame.stream, b"", fin=True))
                return Stdin(frame.data)
            if name == "resize" and (size := self._size(frame.data)) is not None:
                return size

    def _size(self, data: bytes) -> Resize | None:
        """The newest size among the JSON lines that are whole."""
        *lines, self._sizes = (self._sizes + data).split(b"\n")
        if len(self._sizes) > MAX_RESIZE_BYTES:
            self._sizes = b""
        whole = parse_resize(self._sizes)
        if whole is not None:  # a client that ends no line
            self._sizes = b""
            return whole
        sizes = [size for line in lines if (size := parse_resize(line)) is not None]
        return sizes[-1] if sizes else None

    async def send(self, stream: str, data: bytes) -> None:
        """See Session.send."""
        await self._connection.send(Data(self._ids[stream], data))

    async def finish(self, status: Status) -> None:
        """See Session.finish."""
        await self._connection.send(Data(self._ids["error"], json.dumps(status).encode(), fin=True))
        for name in ("stdout", "stderr"):
            if name in self._ids:
                await self._connection.end(self._ids[name])
        await self._connection.close()
