"""A small HTTP/1.1 client: httptools over asyncio transports, a pool of kept-alive connections, streamed bodies.

One connection carries one exchange at a time. An exchange ends in a `Response` (read whole) or is handed out as a
`ResponseStream` whose reader's pace holds the server back. Decisions:

- A request is sent again (once) only if no byte of an answer came on a *kept-alive* connection and the method is safe
  to repeat. Any other loss is `ConnectionLost`, whose `sent` says whether the server may have acted: unknown is an
  outcome.
- A kept-alive connection that idled long is not used for a write, because the server may be closing it just now.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self, cast
from urllib.parse import urlsplit

import httptools

from controlplane.machinery.config import ResumingContext

__all__ = ["ConnectionLost", "HttpClient", "Response", "ResponseStream"]

MAX_CONNECTIONS = 64  # exchanges in flight that are not streams; more wait for their turn
MAX_IDLE_CONNECTIONS = 8
IDLE_LIMIT_SECONDS = 50.0  # a connection idle for longer is dropped when next looked at
IDLE_LIMIT_FOR_WRITES_SECONDS = 3.0  # below the keep-alive time-outs of servers (uvicorn: 5)
STREAM_HIGH_WATER_BYTES = 1 << 20
STREAM_LOW_WATER_BYTES = 1 << 18
REPEATABLE_METHODS = frozenset({"GET", "OPTIONS"})


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


class _Connection(asyncio.Protocol):
    """One socket and its parser; `exchange` is what is being asked on it, if anything."""

    __slots__ = ("_open", "_parser", "closed", "exchange", "idle_since", "reused", "transport")

    def __init__(self, open_connections: set[_Connection]) -> None:
        self.transport: asyncio.Transport | None = None
        self._open = open_connections  # the client's: we are in it from connection_made to connection_lost
        self.exchange: _Exchange | None = None
        self.closed = False
        self.reused = False
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
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

    def send(self, exchange: _Exchange, data: bytes) -> None:
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


class _Exchange:
    """One request and what came back so far."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connection: _Connection | None = None
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

    def __init__(self, exchange: _Exchange) -> None:
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


class HttpClient:
    """Requests to one server. Not bound to a task: any task of the loop may use it at any time."""

    def __init__(
        self,
        server: str,
        ssl_context: ssl.SSLContext | None,
        *,
        server_name: str = "",
        connect_timeout_seconds: float = 5.0,
    ) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http or https address: {server!r}")
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._ssl = ssl_context
        self._server_name = (server_name or parts.hostname) if ssl_context else None
        self._connect_timeout_seconds = connect_timeout_seconds
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._closed = False

    async def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_seconds: float = 30.0,
    ) -> Response:
        """Send and read the whole answer. ConnectionLost when there is none in time."""
        async with self._slots:
            try:
                async with asyncio.timeout(timeout_seconds):
                    return await self._request(method, target, headers or {}, body)
            except TimeoutError:
                raise ConnectionLost(f"{method} {target}: no answer in {timeout_seconds} s", sent=True) from None

    async def stream(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_seconds: float = 30.0,
    ) -> ResponseStream:
        """Send, wait for the head of the answer (that long at most), and hand out the body as a stream."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return ResponseStream(await self._exchange(method, target, headers or {}, body))
        except TimeoutError:
            raise ConnectionLost(f"{method} {target}: no answer in {timeout_seconds} s", sent=True) from None

    async def close(self) -> None:
        """Drop all connections; exchanges in flight end in ConnectionLost."""
        self._closed = True
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        for _ in range(8):  # an aborted transport closes its socket a few turns of the loop later
            if self._open:
                await asyncio.sleep(0)

    async def _request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        exchange = await self._exchange(method, target, headers, body)
        parts: list[bytes] = []
        try:
            while (chunk := await exchange.next_chunk()) is not None:
                parts.append(chunk)
        except BaseException:
            self._drop(exchange)
            raise
        self._give_back(exchange)
        return Response(exchange.status, exchange.headers, b"".join(parts))

    async def _exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> _Exchange:
        """Send and wait for the head; sends again once where that is safe."""
        data = self._encode(method, target, headers, body)
        repeatable = method in REPEATABLE_METHODS
        connection = self._take_idle(repeatable) or await self._connect()
        while True:
            exchange = _Exchange(asyncio.get_running_loop())
            connection.send(exchange, data)
            try:
                await exchange.head
            except BaseException:
                self._drop(exchange)
                raise
            if exchange.error is None:
                if isinstance(self._ssl, ResumingContext) and not connection.reused:
                    self._ssl.remember(connection.ssl_object())
                return exchange
            if not (connection.reused and repeatable):
                raise ConnectionLost(f"{method} {target}: {exchange.error}", sent=True)
            connection = await self._connect()

    def _encode(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {self._prefix}{target} HTTP/1.1", f"host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(body)}")
        assert not any("\r" in line or "\n" in line for line in lines), "a line break in a header or target"
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def _take_idle(self, repeatable: bool) -> _Connection | None:
        limit = IDLE_LIMIT_SECONDS if repeatable else IDLE_LIMIT_FOR_WRITES_SECONDS
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()  # the youngest: the others may grow old and go
            transport = connection.transport
            if connection.closed or transport is None or transport.is_closing():
                continue
            if now - connection.idle_since > limit:
                connection.abort()
                continue
            return connection
        return None

    async def _connect(self) -> _Connection:
        if self._closed:
            raise ConnectionLost("the client is closed", sent=False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._open),
                    self._host,
                    self._port,
                    ssl=self._ssl,
                    server_hostname=self._server_name,
                )
        except TimeoutError:
            raise ConnectionLost(f"connect to {self._authority}: timed out", sent=False) from None
        except (OSError, ssl.SSLError) as error:
            raise ConnectionLost(f"connect to {self._authority}: {error}", sent=False) from error
        return connection

    def _give_back(self, exchange: _Exchange) -> None:
        connection = exchange.connection
        exchange.connection = None
        if connection is None or not exchange.reusable or connection.closed or self._closed:
            return
        connection.reused = True
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        while len(self._idle) > MAX_IDLE_CONNECTIONS:
            self._idle.popleft().abort()

    def _drop(self, exchange: _Exchange) -> None:
        connection = exchange.connection
        if connection is not None:
            connection.exchange = None
            connection.abort()
