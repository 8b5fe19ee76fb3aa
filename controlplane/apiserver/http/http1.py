"""HTTP/1.1 on httptools: requests one after another, answers in their order.

A request to upgrade (WebSocket, SPDY) is served like any other; only after its answer nothing else follows, unless the
application takes the connection over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

from controlplane.apiserver.connection import Connection, Peer, Pipes
from controlplane.apiserver.http import head as heads
from controlplane.apiserver.http.exchange import BODY_HIGH_BYTES, Exchange
from controlplane.apiserver.http.head import Header, Scope

if TYPE_CHECKING:
    from controlplane.apiserver.http.listener import HttpServer

KEEP_ALIVE_SECONDS: Final = 185  # longer than client-go's 90 s, so that clients close idle connections, not we
STALE_SWEEPS: Final = 6  # that a head may take to be whole, or a closing connection to end
HEADER_BYTES: Final = 1 << 20  # of a request's head, as Go's server has it
PIPELINED_REQUESTS: Final = 64  # that wait for the one before; then the client is read no further
STREAM_BUFFER_BYTES: Final = 64 * 1024
MOST_EARLY_BYTES: Final = 64 * 1024
WRITE_HIGH_BYTES: Final = 256 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Final = b"connection: close\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"


class Http1Exchange(Exchange):
    """A request on a connection."""

    __slots__ = ("_chunked", "_session", "_silent", "expects", "keep_alive")

    def __init__(self, session: Http1Session, scope: Scope, keep_alive: bool, expects: bool) -> None:
        super().__init__(scope)
        self._session = session
        self.keep_alive = keep_alive
        self.expects = expects  # it holds its body back until somebody asks for it
        self._chunked = False
        self._silent = scope["method"] == "HEAD"  # the answer has no body, whatever the application sends

    def head(self, code: int, headers: list[Header], body: bytes, more: bool) -> None:
        lines = []
        if code in heads.WITHOUT_BODY:
            self._silent = True
        elif not any(name == b"content-length" for name, _ in headers):
            if self.scope["http_version"] == "1.1":
                lines.append(CHUNKED)
                self._chunked = True
            else:
                self.keep_alive = False  # the end of the connection is the end of the body
        if not self.keep_alive or self._session.is_leaving:
            self.keep_alive = False
            lines.append(CLOSE)
        encoded = heads.encode_head(code, headers, *lines)
        if self._silent:
            body = b""
        elif self._chunked:
            body = self._chunk(body, more)
        self._session.transport.write(encoded + body if body else encoded)

    def data(self, body: bytes | memoryview, more: bool) -> None:
        if self._silent:
            return
        transport = self._session.transport
        if self._chunked:
            transport.write(self._chunk(body, more))
        elif body:
            transport.write(body)

    @staticmethod
    def _chunk(body: bytes | memoryview, more: bool) -> bytes:
        end = b"" if more else b"0\r\n\r\n"
        return b"".join((b"%x\r\n" % len(body), body, b"\r\n", end)) if body else end

    def wants_body(self) -> None:
        if self.expects:
            self.expects = False
            self._session.transport.write(CONTINUE)
        self._session.read_on()

    async def drained(self) -> None:
        await self._session.drained()

    def fail(self) -> None:
        self.keep_alive = False
        if not self.started and not self.is_gone:
            self._session.transport.write(heads.refusal(500, ""))

    def finished(self) -> None:
        self._session.on_finished(self)


class Http1Session(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_drain",
        "_early",
        "_exchange",
        "_head_bytes",
        "_headers",
        "_is_paused",
        "_parser",
        "_reading",
        "_server",
        "_stale_sweeps",
        "_state",
        "_target",
        "_waiting",
        "connection",
        "is_leaving",
        "quiet_since",
        "transport",
    )

    def __init__(self, server: HttpServer, transport: asyncio.Transport) -> None:
        self._server = server
        self.transport = transport
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(True) if tls is not None else None
        peer = Peer(certificate, transport.get_extra_info("peername"))
        self.connection = Connection(peer, transport.abort, self._take_over)
        self._state = {"connection": self.connection}
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._reading: Http1Exchange | None = None  # its body is still to come
        self._exchange: Http1Exchange | None = None  # it is being served
        self._waiting: deque[Http1Exchange] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._is_paused = False
        self._early: bytearray | None = None  # what came after a request to upgrade, before somebody took over
        self.is_leaving = False
        self._stale_sweeps = 0
        self.quiet_since: float | None = server.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.sessions[self] = None
        self.transport.set_write_buffer_limits(WRITE_HIGH_BYTES)

    def sweep(self, now: float) -> None:
        """Now and then: close what nobody uses, cut what does not end."""
        if self.transport.is_closing() or (self.quiet_since is not None and self._head_bytes):
            self._stale_sweeps += 1
            if self._stale_sweeps > STALE_SWEEPS:
                self.transport.abort()
            return
        self._stale_sweeps = 0
        if self.quiet_since is not None and now - self.quiet_since > KEEP_ALIVE_SECONDS:
            self.transport.close()

    # What the client sends.

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early += data
            if len(self._early) > MOST_EARLY_BYTES:
                self.transport.abort()
            return
        if self._reading is None:
            self._head_bytes += len(data)
            if self._head_bytes > HEADER_BYTES:
                self._refuse(431)
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._early = bytearray(data[upgrade.args[0] :])
        except (httptools.HttpParserError, heads.MalformedHead):
            self._refuse(400)

    def _refuse(self, code: int) -> None:
        self.is_leaving = True
        if self._exchange is None:
            self.transport.write(heads.refusal(code, ""))
            self.transport.close()
        else:
            self._exchange.keep_alive = False

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is None:  # else it is a trailer, which nobody asked for
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        target, self._target, self._headers, self._head_bytes = self._target, b"", [], 0
        version = parser.get_http_version()
        scope = heads.scope_of(version, parser.get_method().decode(), target, headers, self._state)
        expects = heads.expects_continue(version, headers)
        keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        exchange = self._reading = Http1Exchange(self, scope, keep_alive, expects)
        if self._exchange is None:
            self._begin(exchange)
        else:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(exchange)
            if len(self._waiting) >= PIPELINED_REQUESTS:
                self._read_no_further()

    def on_body(self, body: bytes) -> None:
        exchange = self._reading
        if exchange is None or exchange.ended:
            return  # answered already: what is left of the body is dropped
        exchange.feed(body)
        if exchange.unread_bytes > BODY_HIGH_BYTES:
            self._read_no_further()

    def on_message_complete(self) -> None:
        exchange, self._reading = self._reading, None
        if exchange is not None:
            exchange.feed_end()

    def _read_no_further(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()

    def read_on(self) -> None:
        """The application wants more of the body."""
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()

    # Requests, one after another.

    def _begin(self, exchange: Http1Exchange) -> None:
        self._exchange = exchange
        self.quiet_since = None
        exchange.begin(self._server.loop, self._server.application)

    def on_finished(self, exchange: Http1Exchange) -> None:
        """The application returned; the next request, or the end."""
        if exchange is not self._exchange:
            return  # the connection was taken over
        self._exchange = None
        if exchange.is_gone:
            return
        if not exchange.keep_alive or self.is_leaving or exchange.expects:
            self.transport.close()
            return
        self.read_on()  # what is left of its body is dropped
        if self._waiting:
            self._begin(self._waiting.popleft())
        else:
            self.quiet_since = self._server.loop.time()

    # The transport.

    def pause_writing(self) -> None:
        self._drain = self._server.loop.create_future()

    def resume_writing(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    async def drained(self) -> None:
        """Return when the client takes more, or is gone."""
        if self._drain is not None:
            await asyncio.shield(self._drain)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.sessions.pop(self, None)
        self.resume_writing()
        for exchange in (self._exchange, self._reading, *(self._waiting or ())):
            if exchange is not None:
                exchange.gone()
        self._waiting = None
        self.connection.lost()

    def leave(self) -> None:
        """Finish what runs, then close."""
        self.is_leaving = True
        if self._exchange is None:
            self.transport.close()
        else:
            self._exchange.keep_alive = False

    def tasks(self) -> list[asyncio.Task[None]]:
        """Of requests that are being served."""
        task = self._exchange.task if self._exchange is not None else None
        return [task] if task is not None else []

    def _take_over(self) -> Pipes:
        loop = self._server.loop
        exchange, self._exchange = cast(Http1Exchange, self._exchange), None
        exchange.is_gone = True  # nothing is sent for this request any more
        self._server.sessions.pop(self, None)
        self._server.taken_over(exchange.task, self.transport)
        reader = asyncio.StreamReader(limit=STREAM_BUFFER_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        self._is_paused = False
        self.transport.resume_reading()
        if self._early:
            reader.feed_data(bytes(self._early))
        return reader, asyncio.StreamWriter(self.transport, protocol, reader, loop)
