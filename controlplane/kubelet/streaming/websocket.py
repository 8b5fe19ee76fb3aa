"""A WebSocket, server side, on asyncio streams: whole messages in and out (RFC 6455)."""

from __future__ import annotations

import asyncio
from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

READ_BYTES: Final = 64 * 1024
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
NORMAL_CLOSURE: Final = 1000
CLOSE_SECONDS: Final = 60.0  # a slow client may have as long to take what is still on its way


def handshake(key: str, subprotocol: str) -> bytes:
    """The answer that opens the WebSocket which `Sec-WebSocket-Key: key` asked for."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class WebSocket:
    """One task receives; any task sends. Pings are answered while somebody receives."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = ServerProtocol(state=State.OPEN, max_size=MAX_MESSAGE_BYTES)
        self._messages: list[bytes] = []
        self._parts: list[bytes] = []
        self._sending = asyncio.Lock()

    async def receive(self) -> bytes | None:
        """The next message, text or binary; None when the peer has closed or broken the protocol."""
        while not self._messages:
            if self._protocol.state is not State.OPEN:
                return None
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError:
                data = b""
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._on_frame(event)
            await self._flush()
            if not data:
                return None
        return self._messages.pop(0)

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._parts.append(bytes(frame.data))
        if frame.fin:
            self._messages.append(b"".join(self._parts))
            self._parts = []

    async def send(self, message: bytes) -> None:
        """Send one binary message; waits while the peer does not read. ConnectionError when it is gone."""
        if self._protocol.state is not State.OPEN:
            raise ConnectionResetError("the WebSocket is closed")
        self._protocol.send_binary(message)
        await self._flush()

    async def close(self) -> None:
        """Say good-bye and wait for the peer's, which comes when it has read all; what it says before is dropped."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._protocol.state is State.OPEN:
                    self._protocol.send_close(NORMAL_CLOSURE)
                    await self._flush()
                while self._protocol.close_rcvd is None and (data := await self._reader.read(READ_BYTES)):
                    self._protocol.receive_data(data)
                    self._protocol.events_received()
                    await self._flush()
        except (OSError, TimeoutError, ProtocolError):
            return

    async def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if not data:
            return
        async with self._sending:
            self._writer.write(data)
            await self._writer.drain()
