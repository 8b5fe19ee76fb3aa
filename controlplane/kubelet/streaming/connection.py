"""A SPDY connection, server side: frames over a byte stream of any kind."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from controlplane.kubelet.streaming.spdy import Codec, Data, Frame, GoAway, Ping, SpdyError, SynReply
from controlplane.kubelet.streaming.websocket import CLOSE_SECONDS, WebSocket

READ_BYTES: Final = 64 * 1024


class Bytes(Protocol):
    """A byte stream in both directions."""

    async def receive(self) -> bytes | None:
        """Some bytes; None at the end."""

    async def send(self, message: bytes) -> None:
        """Send all; waits while the peer does not read. OSError when it is gone."""

    async def close(self) -> None:
        """End it."""


class RawBytes:
    """The upgraded connection itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()

    async def receive(self) -> bytes | None:
        """See Bytes.receive."""
        try:
            return await self._reader.read(READ_BYTES) or None
        except OSError:
            return None

    async def send(self, message: bytes) -> None:
        """See Bytes.send."""
        async with self._sending:
            self._writer.write(message)
            await self._writer.drain()

    async def close(self) -> None:
        """Wait for the peer to close first. Closing while it still sends (a ping is enough) would reset the connection,
        and what it has not read yet would be lost."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while await self._reader.read(READ_BYTES):
                    pass
        except (OSError, TimeoutError):
            return


_: type[Bytes] = WebSocket  # SPDY inside binary messages: a message is some bytes, wherever frames begin


class SpdyConnection:
    """One task receives; any task sends."""

    def __init__(self, stream: Bytes) -> None:
        self._stream = stream
        self._codec = Codec()
        self._frames: deque[Frame] = deque()
        self._last_stream = 0

    async def receive(self) -> Frame | None:
        """The next frame that matters to streams; pings are answered. None when the peer has gone or made no sense."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if isinstance(frame, Ping):
                    await self._stream.send(self._codec.encode(frame))
                elif isinstance(frame, GoAway):
                    return None
                else:
                    return frame
            data = await self._stream.receive()
            if data is None:
                return None
            try:
                self._frames.extend(self._codec.feed(data))
            except SpdyError:
                return None

    async def accept(self, stream: int) -> None:
        """Answer the peer's SYN_STREAM."""
        self._last_stream = max(self._last_stream, stream)
        await self.send(SynReply(stream))

    async def send(self, frame: Frame) -> None:
        """Send a frame. OSError when the peer is gone."""
        await self._stream.send(self._codec.encode(frame))

    async def end(self, stream: int) -> None:
        """No more data from us on this stream."""
        await self.send(Data(stream, b"", fin=True))

    async def close(self) -> None:
        """Say that nothing more comes."""
        try:
            await self.send(GoAway(self._last_stream))
        except OSError:
            return
        await self._stream.close()
