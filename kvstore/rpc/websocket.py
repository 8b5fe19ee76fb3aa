"""WebSockets (RFC 6455) on a connection of HTTP/1.1. Framing is websockets' sans-IO protocol."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

logger = logging.getLogger("kvstore.rpc")

_VERSION: Final = "13"
_QUIET: Final = logging.getLogger("kvstore.rpc.websocket")
_QUIET.setLevel(logging.WARNING)  # websockets logs each frame when it may


@dataclass(frozen=True, slots=True)
class WebSocketResponse:
    """Open a WebSocket: `on_message` gets what the client says, message by message; `messages` are our answers, as text.

    The end of `messages` closes the WebSocket; `on_end` is called when it is over, whoever ended it. `start` is told how
    to hold the client: to read no more of it (True) and to read again (False).
    """

    on_message: Callable[[bytes], None]
    messages: AsyncIterator[bytes]
    on_end: Callable[[], None]
    headers: Mapping[str, str] = field(default_factory=dict)
    start: Callable[[Callable[[bool], None]], None] = lambda hold: None


class Owner(Protocol):
    """What a WebSocket needs of the protocol object that has the transport."""

    def write(self, data: bytes) -> None:
        """Write to the transport."""

    async def drained(self) -> None:
        """Return when the transport takes more; raise ConnectionError when it is gone."""

    def set_reading(self, is_reading: bool) -> None:
        """Read from the transport, or not."""

    def close(self) -> None:
        """Close after what is written."""


def key_of(method: str, headers: Mapping[str, str]) -> str:
    """Return the key of a request that asks for a WebSocket, or "": it does not, or not in the way of RFC 6455."""
    asks = (
        method == "GET"
        and headers.get("upgrade", "").lower() == "websocket"
        and "upgrade" in {part.strip().lower() for part in headers.get("connection", "").split(",")}
        and headers.get("sec-websocket-version") == _VERSION
    )
    return headers.get("sec-websocket-key", "") if asks else ""


class WebSocketSession:
    """The server's end of one WebSocket: from the handshake to the close."""

    def __init__(self, owner: Owner, response: WebSocketResponse, key: str, message_bytes: int) -> None:
        self._owner = owner
        self._response = response
        self._key = key
        self._message_bytes = message_bytes
        self._protocol = ServerProtocol(state=State.OPEN, max_size=message_bytes, logger=_QUIET)
        self._parts: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Shake hands and begin to answer."""
        headers = {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": accept_key(self._key),
            **self._response.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._owner.write(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode("latin-1"))
        self._response.start(lambda is_held: self._owner.set_reading(not is_held))
        self._task = asyncio.get_running_loop().create_task(self._answer())
        self._task.add_done_callback(lambda task: self._response.on_end())

    def _is_open(self) -> bool:
        return self._protocol.state is State.OPEN

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        if not self._is_open():
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._on_part(event)
        self._flush()
        if not self._is_open():
            self.lose()
            self._owner.close()

    def _on_part(self, frame: Frame) -> None:
        self._parts.append(bytes(frame.data))
        if frame.fin and self._is_open():
            message, self._parts = b"".join(self._parts), []
            self._response.on_message(message)

    def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data:
            self._owner.write(data)

    async def _answer(self) -> None:
        code = CloseCode.NORMAL_CLOSURE
        try:
            async for message in self._response.messages:
                self._protocol.send_text(message)
                self._flush()
                await self._owner.drained()
        except ConnectionError:
            return
        except Exception:
            logger.exception("WebSocket")
            code = CloseCode.INTERNAL_ERROR
        self._close(code)

    def _close(self, code: CloseCode) -> None:
        if self._is_open():
            self._protocol.send_close(code)
            self._flush()
        self._owner.close()

    def lose(self) -> None:
        """The client is gone."""
        if self._task is not None:
            self._task.cancel()

    def leave(self) -> None:
        """The server stops."""
        self.lose()
        self._close(CloseCode.GOING_AWAY)
