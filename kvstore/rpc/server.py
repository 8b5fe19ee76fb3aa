"""The asyncio server: one protocol object a connection, one write a turn, HTTP/1.1 and HTTP/2 on the same port."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import cast

from kvstore.rpc import frames
from kvstore.rpc.deadlines import Deadlines
from kvstore.rpc.http1 import Http1Handler, Http1Session
from kvstore.rpc.limits import Limits
from kvstore.rpc.server_connection import RequestHeads, Routes, ServerConnection

ALPN_PROTOCOLS = ("h2", "http/1.1")
KEEP_ALIVE_IDLE_SECONDS = 60
KEEP_ALIVE_INTERVAL_SECONDS = 10
KEEP_ALIVE_PROBES = 3


def peer_name(transport: asyncio.BaseTransport) -> str:
    """`address:port` of the other end ("" for one that has none)."""
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple) and len(name) >= 2:
        host = f"[{name[0]}]" if ":" in str(name[0]) else str(name[0])
        return f"{host}:{name[1]}"
    return str(name or "")


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out that the other end's machine is gone (a simulated transport has no socket)."""
    endpoint = transport.get_extra_info("socket")
    if endpoint is not None and endpoint.family in (socket.AF_INET, socket.AF_INET6):
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_IDLE_SECONDS)
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_SECONDS)
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_ALIVE_PROBES)


class Server:
    """Handlers by path on one or more listening sockets."""

    def __init__(self, routes: Routes, http1: Http1Handler | None = None, *, limits: Limits | None = None) -> None:
        self.routes = routes
        self.heads = RequestHeads(routes)
        self.http1 = http1
        self.limits = limits or Limits()
        self.port = 0
        self.received_bytes = self.sent_bytes = 0  # of HTTP/2, as it is before TLS
        self.connections: dict[_ServerProtocol, None] = {}  # in the order of arrival: a simulation must replay
        self._listeners: list[asyncio.Server] = []
        self._deadlines: Deadlines | None = None
        self._idle: asyncio.Event | None = None

    async def start(self, host: str, port: int, ssl_context: ssl.SSLContext | None = None) -> None:
        """Listen (again on another address when called again); `self.port` is the port of the first listener."""
        loop = asyncio.get_running_loop()
        if self._deadlines is None:
            self._deadlines = Deadlines(loop)
        if ssl_context is not None:
            ssl_context.set_alpn_protocols(list(ALPN_PROTOCOLS))
        deadlines = self._deadlines
        listener = await loop.create_server(
            lambda: _ServerProtocol(self, loop, deadlines), host, port, ssl=ssl_context, backlog=1024
        )
        self._listeners.append(listener)
        if not self.port:
            self.port = listener.sockets[0].getsockname()[1]

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """Stop listening, let running calls end for `grace_seconds`, then cut the connections."""
        for listener in self._listeners:
            listener.close()
        for protocol in list(self.connections):
            protocol.leave()
        if self.connections:
            self._idle = asyncio.Event()
            try:
                await asyncio.wait_for(self._idle.wait(), grace_seconds)
            except TimeoutError:
                for protocol in list(self.connections):
                    protocol.abort()
                await self._idle.wait()
        self._listeners.clear()
        if self._deadlines is not None:
            self._deadlines.close()
            self._deadlines = None

    def on_connection_closed(self, protocol: _ServerProtocol) -> None:
        """Bookkeeping of the protocol's end."""
        self.connections.pop(protocol, None)
        if self._idle is not None and not self.connections:
            self._idle.set()


class _ServerProtocol(asyncio.Protocol):
    """Bytes between one transport and one ServerConnection, or one Http1Session: the first bytes decide."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._server = server
        self._loop = loop
        self._deadlines = deadlines
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._http2: ServerConnection | None = None
        self._http1: Http1Session | None = None
        self._start = b""
        self._is_leaving = False
        self._is_lost = False
        self._drain: asyncio.Future[None] | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._server.limits.write_buffer_bytes)
        self._server.connections[self] = None
        self._hello_timer = self._loop.call_later(self._server.limits.hello_seconds, self._on_no_hello)
        keep_alive(transport)

    def _on_no_hello(self) -> None:
        self._transport.abort()  # connected, and said nothing that chooses a protocol

    def data_received(self, data: bytes) -> None:
        """Feed the connection, then write all that it answered at once."""
        http2 = self._http2
        if http2 is not None:
            self._server.received_bytes += len(data)
            http2.receive(data)
            self._flush()
        elif self._http1 is not None:
            self._http1.receive(data)
        else:
            self._choose(data)

    def _choose(self, data: bytes) -> None:
        start = self._start = self._start + data
        preface = frames.PREFACE
        security = self._transport.get_extra_info("ssl_object")
        certificate = security.getpeercert(True) if security is not None else None
        peer = peer_name(self._transport)
        server = self._server
        if start.startswith(preface):
            self._end_hello()
            self._http2 = ServerConnection(
                server.heads,
                server.limits,
                self._loop.time,
                self._on_output,
                self._deadlines,
                peer,
                certificate,
                server.http1,
            )
            self.data_received(start)
        elif not preface.startswith(start):
            self._end_hello()
            if server.http1 is None:
                self._transport.close()
                return
            is_secure = security is not None
            self._http1 = Http1Session(server.http1, self, server.limits, peer, certificate, is_secure=is_secure)
            self._http1.receive(start)

    def _end_hello(self) -> None:
        self._start = b""
        if self._hello_timer is not None:
            self._hello_timer.cancel()
            self._hello_timer = None

    def _on_output(self) -> None:
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        http2 = self._http2
        if http2 is None:
            return
        output = http2.take_output()
        if output:
            self._server.sent_bytes += len(output)
            self._transport.write(output)
            if http2.blocked and http2.is_writable:
                http2.pump()
        if http2.is_closing or (self._is_leaving and not http2.streams):
            self.close()

    def pause_writing(self) -> None:
        """The client does not read: leave data in the streams, and take no more requests from it."""
        self._drain = self._loop.create_future()
        if self._http2 is not None:
            self._http2.set_writable(False)
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._wake_drain()
        if self._http2 is not None:
            self._transport.resume_reading()
            self._http2.set_writable(True)

    def _wake_drain(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._is_lost = True
        self._end_hello()
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._wake_drain()
        http2, self._http2 = self._http2, None
        http1, self._http1 = self._http1, None
        if http2 is not None:
            http2.lose("connection lost" if error is None else f"connection lost: {error}")
        if http1 is not None:
            http1.lose()
        self._server.on_connection_closed(self)

    def leave(self) -> None:
        """Finish what runs, then close."""
        self._is_leaving = True
        if self._http2 is not None:
            self._http2.leave()
            self._flush()
        elif self._http1 is not None:
            self._http1.leave()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # What the HTTP/1.1 session needs of us.

    def write(self, data: bytes) -> None:
        """Write to the transport."""
        if not self._is_lost:
            self._transport.write(data)

    async def drained(self) -> None:
        """Return when the transport takes more; raise ConnectionError when it is gone."""
        if self._drain is not None:
            await self._drain
        if self._is_lost:
            raise ConnectionResetError("the client is gone")

    def set_reading(self, is_reading: bool) -> None:
        """Read from the transport, or not."""
        if not self._is_lost and not self._transport.is_closing():
            if is_reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def close(self) -> None:
        """Close after what is written, but not wait for ever for a peer that does not read."""
        self._transport.close()
        if self._close_timer is None and not self._is_lost:
            self._close_timer = self._loop.call_later(self._server.limits.close_seconds, self._transport.abort)
