"""HTTP/2 for the application, on kvstore.rpc's connection: frames, windows, limits and floods are its affair.

A watch of ten thousand on a hundred connections costs its task and two small objects; the events of one turn of the loop go
out in one write a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from controlplane.apiserver.connection import Connection, Peer
from controlplane.apiserver.http import head as heads
from controlplane.apiserver.http.exchange import BODY_HIGH_BYTES, Exchange
from controlplane.apiserver.http.head import Header, Scope
from controlplane.apiserver.http.http1 import KEEP_ALIVE_SECONDS, STALE_SWEEPS, WRITE_HIGH_BYTES
from kvstore.rpc import frames
from kvstore.rpc.connection import Connection as FrameConnection
from kvstore.rpc.frames import ConnectionFault, ErrorCode, StreamFault
from kvstore.rpc.hpack_decoder import Fields
from kvstore.rpc.hpack_memo import HeaderMemo, encode_field
from kvstore.rpc.limits import Limits
from kvstore.rpc.server_connection import is_well_formed
from kvstore.rpc.streams import Stream

if TYPE_CHECKING:
    from controlplane.apiserver.http.listener import HttpServer

LIMITS: Final = Limits(
    concurrent_streams=1000, stream_window_bytes=256 * 1024, connection_window_bytes=1024 * 1024, resets_per_second=1000
)
PENDING_HIGH_BYTES: Final = 256 * 1024  # of an answer, not yet taken by the client's windows

_known_field = lru_cache(maxsize=1024)(encode_field)
_UNIQUE: Final = frozenset({b"audit-id", b"content-length", b"etag"})


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a header block means; `fault` when it is malformed. Shared by all requests that sent the same bytes."""

    method: str = ""
    target: bytes = b""
    headers: tuple[Header, ...] = ()
    fault: bool = False


def interpret(fields: Fields) -> RequestHead:
    """Fields to a request's head."""
    if not is_well_formed(fields):
        return RequestHead(fault=True)
    pseudo = {name: value for name, value in fields if name[0] == 0x3A}
    headers = [(name, value) for name, value in fields if name[0] != 0x3A]
    if b":authority" in pseudo:
        headers.insert(0, (b"host", pseudo[b":authority"]))
    if not heads.is_plain(pseudo[b":method"], pseudo[b":path"], headers):
        return RequestHead(fault=True)
    try:
        heads.path_and_query(pseudo[b":path"])
    except heads.MalformedTarget:
        return RequestHead(fault=True)
    return RequestHead(pseudo[b":method"].decode("latin-1"), pseudo[b":path"], tuple(headers))


class RequestStream(Stream):
    """The stream of one request."""

    __slots__ = ("exchange",)

    connection: RequestConnection

    def __init__(self, connection: RequestConnection, stream_id: int) -> None:
        super().__init__(connection, stream_id)
        self.exchange: Http2Exchange

    def on_data(self, data: bytes, end_stream: bool) -> None:
        exchange = self.exchange
        if data and not exchange.ended:
            exchange.feed(data)
            if exchange.unread_bytes > BODY_HIGH_BYTES:
                self.hold()
        if end_stream:
            exchange.feed_end()

    def on_reset(self, code: int) -> None:
        self.exchange.gone()

    def on_connection_lost(self, text: str) -> None:
        self.exchange.gone()

    def _close_local(self) -> None:
        self.local_closed = True
        if self.remote_closed:
            self.connection.forget(self)
        else:
            self.connection.reset(
                self, ErrorCode.NO_ERROR
            )  # the answer is whole: the rest of the request is not wanted


class Http2Exchange(Exchange):
    """A request on a stream."""

    __slots__ = ("_connection", "_drain", "_silent", "_stream")

    def __init__(self, stream: RequestStream, scope: Scope, connection: Connection) -> None:
        super().__init__(scope)
        self._stream = stream
        self._connection = connection
        self._drain: asyncio.Future[None] | None = None
        self._silent = scope["method"] == "HEAD"

    def head(self, code: int, headers: list[Header], body: bytes, more: bool) -> None:
        stream = self._stream
        if stream.local_closed:
            return
        if code in heads.WITHOUT_BODY:
            self._silent = True
        connection = stream.connection
        parts = [connection.take_header_prefix(), _known_field(b":status", b"%d" % code)]
        parts += [
            (encode_field if name in _UNIQUE else _known_field)(name, value)
            for name, value in headers
            if name not in (b"connection", b"transfer-encoding")
        ]
        ends = not more and (self._silent or not body)
        connection.emit(frames.header_frames(stream.stream_id, b"".join(parts), ends, connection.peer_frame_bytes))
        if ends:
            stream._close_local()
        elif body and not self._silent:
            stream.write(body, not more)

    def data(self, body: bytes | memoryview, more: bool) -> None:
        stream = self._stream
        if stream.local_closed:
            return
        if self._silent:
            body = b""
        if body or not more:
            stream.write(bytes(body) if isinstance(body, memoryview) else body, not more)

    def wants_body(self) -> None:
        self._stream.release()

    async def drained(self) -> None:
        if self._stream.pending_bytes <= PENDING_HIGH_BYTES or self.is_gone:
            return
        self._drain = asyncio.get_running_loop().create_future()
        self._stream.on_drain(self._wake_drain)
        await self._drain

    def _wake_drain(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    def gone(self) -> None:
        super().gone()
        self._wake_drain()
        self._connection.lost()

    def abort(self) -> None:
        """Reset the stream: its client is too slow, or its answer cannot be ended."""
        if not self._stream.local_closed:
            self._stream.connection.reset(self._stream, ErrorCode.INTERNAL_ERROR)
        if not self.is_gone:
            self.gone()

    def fail(self) -> None:
        if not self.started and not self.is_gone:
            self.started = True
            self.head(500, [(b"content-type", b"text/plain; charset=utf-8")], b"500 Internal Server Error", False)
        else:
            self.abort()

    def finished(self) -> None:
        self._stream.connection.session.on_finished()


class RequestConnection(FrameConnection):
    """Streams opened by the client become requests."""

    def __init__(self, session: Http2Session, clock: Callable[[], float], on_output: Callable[[], None]) -> None:
        super().__init__(LIMITS, clock, on_output)
        self.session = session
        self._heads = HeaderMemo(interpret, LIMITS.header_list_bytes)
        self._preface = frames.PREFACE
        self.is_leaving = False
        self.announce_settings(
            {
                frames.SETTING_MAX_CONCURRENT_STREAMS: LIMITS.concurrent_streams,
                frames.SETTING_INITIAL_WINDOW_SIZE: LIMITS.stream_window_bytes,
                frames.SETTING_MAX_HEADER_LIST_SIZE: LIMITS.header_list_bytes,
                frames.SETTING_MAX_FRAME_SIZE: LIMITS.frame_bytes,
            }
        )

    def take_header_prefix(self) -> bytes:
        """What must stand at the start of the next header block (a table size update), once."""
        prefix, self.header_prefix = self.header_prefix, b""
        return prefix

    def _receive(self, data: bytes) -> None:
        if self._preface:
            expected = self._preface
            if not data.startswith(expected[: len(data)]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "bad connection preface")
            self._preface = expected[len(data) :]
            data = data[len(expected) :]
        super()._receive(data)

    def on_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """A request begins, or a client ends its body with trailers."""
        head = self._heads.get(block)
        if stream_id <= self.last_stream_id:
            self._on_trailers(stream_id, end_stream)
            return
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients open streams with odd ids")
        self.last_stream_id = stream_id
        if head.fault:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        if self.is_leaving or len(self.streams) >= self.limits.concurrent_streams:
            self.refuse(stream_id, ErrorCode.REFUSED_STREAM)
            return
        stream = RequestStream(self, stream_id)
        self.streams[stream_id] = stream
        self.session.begin(stream, head)
        if end_stream:
            stream.remote_closed = True
            stream.on_data(b"", True)

    def _on_trailers(self, stream_id: int, end_stream: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            if not self.was_reset(stream_id):
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
            return
        if stream.remote_closed:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        if not end_stream:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        stream.remote_closed = True
        stream.on_data(b"", True)

    def leave(self) -> None:
        """Take no new streams; those that run may end (GOAWAY)."""
        if not self.is_leaving and not self.is_closing:
            self.is_leaving = True
            self.emit(frames.goaway_frame(self.last_stream_id, ErrorCode.NO_ERROR))


class Http2Session(asyncio.Protocol):
    """One connection: bytes between a transport and its frames."""

    __slots__ = ("_frames", "_peer", "_server", "_stale_sweeps", "quiet_since", "transport")

    def __init__(self, server: HttpServer, transport: asyncio.Transport) -> None:
        self._server = server
        self.transport = transport
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(True) if tls is not None else None
        self._peer = Peer(certificate, transport.get_extra_info("peername"))
        self.quiet_since: float | None = server.loop.time()
        self._stale_sweeps = 0
        self._frames = RequestConnection(self, server.loop.time, self._on_output)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.sessions[self] = None
        self.transport.set_write_buffer_limits(WRITE_HIGH_BYTES)

    def begin(self, stream: RequestStream, head: RequestHead) -> None:
        """Serve a request."""
        self.quiet_since = None
        connection = Connection(self._peer, self.transport.abort)
        scope = heads.scope_of("2", head.method, head.target, list(head.headers), {"connection": connection})
        stream.exchange = Http2Exchange(stream, scope, connection)
        connection.abort = stream.exchange.abort
        stream.exchange.begin(self._server.loop, self._server.application)

    def on_finished(self) -> None:
        """An application returned."""
        if not self._frames.streams:
            self.quiet_since = self._server.loop.time()
            if self._frames.is_leaving:
                self._on_output()

    def data_received(self, data: bytes) -> None:
        self._frames.receive(data)
        self._flush()

    def _on_output(self) -> None:
        self._server.loop.call_soon(self._flush)

    def _flush(self) -> None:
        link = self._frames
        output = link.take_output()
        if output:
            self.transport.write(output)
            if link.blocked and link.is_writable:
                link.pump()
        if link.is_closing or (link.is_leaving and not link.streams):
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read: leave data in the streams, and take no more requests from it."""
        self._frames.set_writable(False)
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()
        self._frames.set_writable(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.sessions.pop(self, None)
        self._frames.lose("connection lost" if exc is None else f"connection lost: {exc}")

    def sweep(self, now: float) -> None:
        """Now and then: close what nobody uses, cut what does not end."""
        if self.transport.is_closing():
            self._stale_sweeps += 1
            if self._stale_sweeps > STALE_SWEEPS:
                self.transport.abort()
        elif self.quiet_since is not None and now - self.quiet_since > KEEP_ALIVE_SECONDS:
            self.leave()

    def leave(self) -> None:
        """Finish what runs, then close."""
        self._frames.leave()
        self._flush()

    def tasks(self) -> list[asyncio.Task[None]]:
        """Of requests that are being served."""
        found = [stream.exchange.task for stream in self._frames.streams.values() if isinstance(stream, RequestStream)]
        return [task for task in found if task is not None]
