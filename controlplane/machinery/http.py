"""A small HTTP/1.1 client: a pool of kept-alive connections, streamed bodies.

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
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from controlplane.machinery.config import ResumingContext
from controlplane.machinery.connection import Connection, ConnectionLost, Exchange, Response, ResponseStream

__all__ = ["ConnectionLost", "Headers", "HttpClient", "Response", "ResponseStream"]

MAX_CONNECTIONS = 64  # exchanges in flight that are not streams; more wait for their turn
MAX_IDLE_CONNECTIONS = 32  # a new one costs both sides a TLS handshake; those that nobody needs go after a while
IDLE_LIMIT_SECONDS = 30.0  # a connection idle for longer is dropped when next looked at
IDLE_LIMIT_FOR_WRITES_SECONDS = 3.0  # below the keep-alive time-outs of servers (some have 5 s)
REPEATABLE_METHODS = frozenset({"GET", "OPTIONS"})


Headers = Mapping[str, str] | Sequence[tuple[str, str]]  # pairs where a name is repeated


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
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._closed = False

    async def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes = b"",
        timeout_seconds: float = 30.0,
    ) -> Response:
        """Send and read the whole answer. ConnectionLost when there is none in time."""
        async with self._slots:
            try:
                async with asyncio.timeout(timeout_seconds):
                    return await self._request(method, target, headers, body)
            except TimeoutError:
                raise ConnectionLost(f"{method} {target}: no answer in {timeout_seconds} s", sent=True) from None

    async def stream(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes = b"",
        timeout_seconds: float = 30.0,
    ) -> ResponseStream:
        """Send, wait for the head of the answer (that long at most), and hand out the body as a stream."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return ResponseStream(await self._exchange(method, target, headers, body))
        except TimeoutError:
            raise ConnectionLost(f"{method} {target}: no answer in {timeout_seconds} s", sent=True) from None

    def renew(self, ssl_context: ssl.SSLContext | None) -> None:
        """Open new connections with another context (a renewed certificate); those in use go on to their end."""
        self._ssl = ssl_context
        while self._idle:
            self._idle.pop().abort()

    async def close(self) -> None:
        """Drop all connections; exchanges in flight end in ConnectionLost."""
        self._closed = True
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        for _ in range(8):  # an aborted transport closes its socket a few turns of the loop later
            if self._open:
                await asyncio.sleep(0)

    async def _request(self, method: str, target: str, headers: Headers, body: bytes) -> Response:
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

    async def _exchange(self, method: str, target: str, headers: Headers, body: bytes) -> Exchange:
        """Send and wait for the head; sends again once where that is safe."""
        data = self._encode(method, target, headers, body)
        repeatable = method in REPEATABLE_METHODS
        connection = self._take_idle(repeatable) or await self._connect()
        while True:
            exchange = Exchange(asyncio.get_running_loop())
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

    def _encode(self, method: str, target: str, headers: Headers, body: bytes) -> bytes:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lines = [f"{method} {self._prefix}{target} HTTP/1.1", f"host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in pairs]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(body)}")
        assert not any("\r" in line or "\n" in line for line in lines), "a line break in a header or target"
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def _take_idle(self, repeatable: bool) -> Connection | None:
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

    async def _connect(self) -> Connection:
        if self._closed:
            raise ConnectionLost("the client is closed", sent=False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._open),
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

    def _give_back(self, exchange: Exchange) -> None:
        connection = exchange.connection
        exchange.connection = None
        if connection is None or not exchange.reusable or connection.closed or self._closed:
            return
        connection.reused = True
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        oldest = connection.idle_since - IDLE_LIMIT_SECONDS
        while len(self._idle) > MAX_IDLE_CONNECTIONS or self._idle[0].idle_since < oldest:
            self._idle.popleft().abort()

    def _drop(self, exchange: Exchange) -> None:
        connection = exchange.connection
        if connection is not None:
            connection.exchange = None
            connection.abort()
