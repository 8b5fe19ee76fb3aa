"""One HTTP/1.1 connection and the exchange on it: httptools' parser over an asyncio transport."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self, cast

import httptools

__all__ = ["Connection", "ConnectionLost", "Exchange", "Response", "ResponseStream"]

KEEP_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, probes
STREAM_HIGH_WATER_BYTES = 1 << 20  # of a body that nobody has read yet: the server is held back


class ConnectionLost(Exception):
    """No (whole) answer came. `sent`: the request may have reached the server, so its outcome is unknown."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. Header names are lower case; the last of a repeated header counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """One socket and its parser; `exchange` is what is being asked on it, if anything."""

    __slots__ = ("_open", "_parser", "closed", "exchange", "idle_since", "reused", "transport")

    def __init__(self, open_connections: set[Connection]) -> None:
        self.transport: asyncio.Transport | None = None
        self._open = open_connections  # the client's: we are in it from connection_made to connection_lost
        self.exchange: Exchange | None = None
        self.closed = False
        self.reused = False
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        _keep_alive(transport)
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            self.abort()  # an answer that nobody asked for: the stream is out of step
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"malformed answer: {error}")

    def eof_received(self) -> None:
        return None  # the transport closes itself, and tells connection_lost

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._open.discard(self)
        if self.exchange is not None:
            self.exchange.on_connection_lost(str(exc) if exc else "the server closed the connection")
            self.exchange = None

    def send(self, exchange: Exchange, data: bytes) -> None:
        """Begin an exchange on this idle connection."""
        assert self.transport is not None and self.exchange is None
        self.exchange = exchange
        exchange.connection = self
        self.transport.write(data)

    def abort(self) -> None:
        """Close at once; a pending exchange learns of it."""
        if self.transport is not None:
            self.transport.abort()

    def ssl_object(self) -> ssl.SSLObject | None:
        """The TLS layer of the connection, if any."""
        found: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object") if self.transport else None
        return found

    def _fail(self, message: str) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_connection_lost(message)
        self.abort()

    # The parser's callbacks.
    def on_header(self, name: bytes, value: bytes) -> None:
        if self.exchange is not None:
            self.exchange.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.exchange is None:
            return
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer: the real one follows
            self.exchange.headers.clear()
        else:
            self.exchange.on_head(status)

    def on_body(self, body: bytes) -> None:
        if self.exchange is not None:
            self.exchange.on_body(body)

    def on_message_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or not exchange.head.done():
            return
        self.exchange = None
        keep = self._parser.should_keep_alive() and exchange.framed
        exchange.on_end(reusable=keep)
        if not keep:
            self.abort()


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the kernel notice a peer that vanished without a word: a quiet watch would wait for it for ever."""
    found = transport.get_extra_info("socket")
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE.items():
        if number := getattr(socket, option, None):
            found.setsockopt(socket.IPPROTO_TCP, number, value)


class Exchange:
    """One request and what came back so far."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connection: Connection | None = None
        self.headers: dict[str, str] = {}
        self.status = 0
        self.head: asyncio.Future[None] = loop.create_future()
        self.complete = False
        self.reusable = False
        self.error: str | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def framed(self) -> bool:
        """Whether the end of the body shows in the message; otherwise the connection's end is the body's."""
        headers = self.headers
        return "content-length" in headers or "transfer-encoding" in headers or self.status in (204, 304)

    def on_head(self, status: int) -> None:
        self.status = status
        if not self.head.done():
            self.head.set_result(None)

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > STREAM_HIGH_WATER_BYTES and self.connection is not None and self._waiter is None:
            transport = self.connection.transport
            if transport is not None and transport.is_reading():
                transport.pause_reading()
        self._wake()

    def on_end(self, *, reusable: bool) -> None:
        self.complete, self.reusable = True, reusable
        self._wake()

    def on_connection_lost(self, why: str) -> None:
        if self.complete:
            return
        if self.head.done() and not self.framed:
            self.on_end(reusable=False)
            return
        self.error = why
        if not self.head.done():
            self.head.set_result(None)
        self._wake()

    async def next_chunk(self) -> bytes | None:
        """The bytes that came since the last call; None at the end of the body. ConnectionLost when it broke off."""
        while not self._chunks:
            if self.error is not None:
                raise ConnectionLost(self.error, sent=True)
            if self.complete:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._resume()
        return data

    def _resume(self) -> None:
        transport = self.connection.transport if self.connection is not None else None
        if transport is not None and not transport.is_closing() and not transport.is_reading():
            transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ResponseStream:
    """An answer whose body is read as it comes: `async for chunk in stream`, then `close()` (or `async with`)."""

    __slots__ = ("_exchange", "headers", "status")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.status = exchange.status
        self.headers: Mapping[str, str] = exchange.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._exchange.next_chunk()) is not None:
            yield chunk

    async def read(self, limit_bytes: int = 1 << 26) -> bytes:
        """The rest of the body; ConnectionLost when it breaks off, ValueError when it is longer than the limit."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self:
            parts.append(chunk)
            if (size := size + len(chunk)) > limit_bytes:
                self.close()
                raise ValueError(f"answer longer than {limit_bytes} bytes")
        return b"".join(parts)

    def close(self) -> None:
        """Drop the connection: a stream that is left early cannot be used again."""
        if self._exchange.connection is not None:
            self._exchange.connection.exchange = None
            self._exchange.connection.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
