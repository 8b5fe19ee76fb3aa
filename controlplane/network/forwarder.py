"""An L4 forwarder: a listener, a choice of backend for each connection, and two pumps with back-pressure.

    forwarder = Forwarder(balancer, limits=Limits())
    forwarder.listen(sock)            takes a bound socket; any number of them      forwarder.stop_listening(sock)
    forwarder.reset_backend(backend)  resets the connections to one backend
    await forwarder.close()           stops listening and resets everything

A client costs no connect error while any backend answers: backends that refuse are reported to the balancer and the next one
is tried. A side that half-closes is half-closed on the other side too. A reset on one side is a reset on the other. Nothing is
read from a side while the other does not take it, so a connection holds at most two transport buffers.

With `replay_bytes` a backend that dies before it has said anything costs the client nothing either: what the client has sent goes
to another backend. That is right where the server speaks before it acts (TLS), not for protocols in general.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, cast

log = logging.getLogger("controlplane.network")

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close sends RST
BACKLOG: Final = 1024


class Backend(NamedTuple):
    """Where a connection can go; equal to the plain tuple."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one forwarder. `patience_seconds`: how long a client waits while no backend answers (0: no second round).

    `replay_bytes`: what is kept of a client's first flight (0: nothing; see the module).
    """

    connections: int = 20_000
    connect_seconds: float = 3.0
    patience_seconds: float = 0.0
    replay_bytes: int = 0
    retry_seconds: float = 0.05
    half_closed_seconds: float = 300.0
    idle_seconds: float = 24 * 3600.0


class Balancer(Protocol):
    """Chooses backends; told how that went."""

    def choose(self, client_host: str, tried: frozenset[Backend]) -> Backend | None:
        """A backend that was not tried for this connection yet; None when there is none."""

    def connected(self, backend: Backend) -> None:
        """A connection to the backend stands."""

    def disconnected(self, backend: Backend) -> None:
        """A connection that stood has ended."""

    def refused(self, backend: Backend) -> None:
        """The backend did not take a connection."""

    def fell_silent(self, backend: Backend) -> None:
        """A connection ended before the backend had said anything."""


class Forwarder:
    """Connections of any number of listening sockets, all to the backends of one balancer."""

    def __init__(self, balancer: Balancer, limits: Limits | None = None) -> None:
        self.balancer = balancer
        self.limits = limits or Limits()
        self._servers: dict[socket.socket, asyncio.Server] = {}
        self._connections: set[Connection] = set()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing = False

    def __len__(self) -> int:
        """Connections that stand or are being made."""
        return len(self._connections)

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a bound socket, which is closed with the listener."""
        loop = asyncio.get_running_loop()
        self._servers[sock] = await loop.create_server(lambda: Connection(self).client, sock=sock, backlog=BACKLOG)

    def stop_listening(self, sock: socket.socket) -> None:
        """Close the listener; its connections go on."""
        self._servers.pop(sock).close()

    def reset_backend(self, backend: Backend) -> None:
        """Reset every connection to the backend, so that clients come again."""
        for connection in [c for c in self._connections if c.backend == backend]:
            if not connection.fail_over():
                connection.reset()

    async def drained(self) -> None:
        """Return when no connection stands."""
        await self._empty.wait()

    async def close(self) -> None:
        """Stop listening, reset all connections; return when they are gone."""
        self._closing = True
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        tasks = [connection.connecting for connection in self._connections if connection.connecting is not None]
        for connection in list(self._connections):
            connection.reset()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.drained()

    # --- for connections

    def admit(self, connection: Connection) -> bool:
        """Count a new connection in, unless there are too many."""
        if self._closing or len(self._connections) >= self.limits.connections:
            return False
        self._connections.add(connection)
        self._empty.clear()
        if self._idle_timer is None:
            self._look_for_idle()
        return True

    def ended(self, connection: Connection) -> None:
        """Both sides are closed."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _look_for_idle(self) -> None:
        for connection in list(self._connections):
            if not connection.was_active:
                connection.reset()
            connection.was_active = False
        self._idle_timer = None
        if self._connections:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self.limits.idle_seconds / 2, self._look_for_idle)


class Connection:
    """A client's connection and its counterpart to a backend."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.forwarder = forwarder
        self.client = Side(self)
        self.server = Side(self)
        self.client.other, self.server.other = self.server, self.client
        self.backend: Backend | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.was_active = True
        self.is_joined = False
        self._first_flight: list[bytes] | None = [] if forwarder.limits.replay_bytes else None
        self._silent: frozenset[Backend] = frozenset()
        self._half_closed_timer: asyncio.TimerHandle | None = None

    def on_made(self, side: Side) -> None:
        """The client is there: find it a backend."""
        if side is not self.client:
            return
        if not self.forwarder.admit(self):
            log.debug("a connection is reset: %d stand", len(self.forwarder))
            side.reset()
            return
        self.connecting = asyncio.get_running_loop().create_task(self._connect())

    def on_data(self, side: Side, data: bytes) -> None:
        """Bytes of one side for the other."""
        self.was_active = True
        if self._first_flight is not None:
            self._remember(side, data)
        if self.is_joined or side is self.server:
            side.other.transport.write(data)
        else:
            # Pausing before the first bytes does not work everywhere: uvloop starts to read after connection_made.
            side.early.append(data)
            side.transport.pause_reading()

    def on_eof(self, side: Side) -> None:
        """A side will send nothing more."""
        if not self.is_joined and side is self.client:
            return  # `_join` passes it on
        if side is self.server and self.fail_over():
            return
        if side.other.saw_eof:
            self.close()
            return
        if side.other.transport.can_write_eof():
            side.other.transport.write_eof()
        delay = self.forwarder.limits.half_closed_seconds
        self._half_closed_timer = asyncio.get_running_loop().call_later(delay, self._half_closed_for_long)

    def on_lost(self, side: Side, exc: Exception | None) -> None:
        """A side is gone: so must be the other, unless it can go on elsewhere."""
        if side is not self.client and (side is not self.server or self.fail_over()):
            return
        if self._half_closed_timer is not None:
            self._half_closed_timer.cancel()
        if side is self.client and self.connecting is not None:
            self.connecting.cancel()
        if side is self.server and self.backend is not None:
            self.forwarder.balancer.disconnected(self.backend)
        if side.other.is_open:
            if exc is None:
                side.other.transport.close()
            else:
                side.other.reset()
        else:
            self.forwarder.ended(self)

    def close(self) -> None:
        """Close both sides after what is buffered has been sent."""
        for side in (self.client, self.server):
            if side.is_open:
                side.transport.close()

    def reset(self) -> None:
        """Close both sides at once, with a reset."""
        for side in (self.client, self.server):
            if side.is_open:
                side.reset()

    def fail_over(self) -> bool:
        """Leave a backend that has not said anything for another; False when that cannot be."""
        backend = self.backend
        if not self._first_flight or backend is None or not self.client.is_open or backend in self._silent:
            return False
        left, self.server, self.backend, self.is_joined = self.server, Side(self), None, False
        self.server.other, self.client.other = self.client, self.server
        if left.is_open:
            left.transport.abort()
        self._silent |= {backend}
        self.forwarder.balancer.disconnected(backend)
        self.forwarder.balancer.fell_silent(backend)
        self.client.early = list(self._first_flight)
        self.client.transport.pause_reading()
        self.connecting = asyncio.get_running_loop().create_task(self._connect())
        return True

    def _remember(self, side: Side, data: bytes) -> None:
        assert self._first_flight is not None
        self._first_flight.append(data)
        if side is self.server or sum(map(len, self._first_flight)) > self.forwarder.limits.replay_bytes:
            self._first_flight = None

    def _half_closed_for_long(self) -> None:
        if self.was_active:
            self.was_active = False
            delay = self.forwarder.limits.half_closed_seconds
            self._half_closed_timer = asyncio.get_running_loop().call_later(delay, self._half_closed_for_long)
        else:
            self.reset()

    async def _connect(self) -> None:
        limits, loop = self.forwarder.limits, asyncio.get_running_loop()
        give_up_at = loop.time() + limits.patience_seconds
        while not await self._try_backends():
            if loop.time() + limits.retry_seconds > give_up_at:
                self.client.reset()
                return
            await asyncio.sleep(limits.retry_seconds)
        self.connecting = None
        self._join()

    def _join(self) -> None:
        self.is_joined = True
        if self.client.early:
            self.server.transport.write(b"".join(self.client.early))
            self.client.early.clear()
        if self.client.saw_eof:
            self.on_eof(self.client)
        else:
            self.client.transport.resume_reading()

    async def _try_backends(self) -> bool:
        balancer, loop = self.forwarder.balancer, asyncio.get_running_loop()
        tried = self._silent
        while (backend := balancer.choose(self.client.peer_host(), tried)) is not None:
            tried |= {backend}
            try:
                async with asyncio.timeout(self.forwarder.limits.connect_seconds):
                    await loop.create_connection(lambda: self.server, backend.host, backend.port)
            except (OSError, TimeoutError) as error:
                log.debug("%s: %s", backend, error)
                balancer.refused(backend)
                continue
            self.backend = backend
            balancer.connected(backend)
            return True
        return False


class Side(asyncio.Protocol):
    """One end of a connection; what it receives goes out at the other."""

    __slots__ = ("connection", "early", "is_open", "other", "saw_eof", "transport")

    transport: asyncio.Transport
    other: Side

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_open = False
        self.saw_eof = False
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self.transport = cast(asyncio.Transport, transport)
        self.is_open = True
        self.connection.on_made(self)

    def data_received(self, data: bytes) -> None:
        """Bytes for the other side."""
        self.connection.on_data(self, data)

    def pause_writing(self) -> None:
        """This side does not take more: stop reading from the other."""
        if self.other.is_open:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """This side takes more again."""
        if self.other.is_open:
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """Half closed by the peer; True keeps our half open."""
        self.saw_eof = True
        self.connection.on_eof(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self.is_open = False
        self.connection.on_lost(self, exc)

    def peer_host(self) -> str:
        """The peer's address, "" when it is gone already."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    def reset(self) -> None:
        """Close at once and have the peer see a reset, not an orderly end."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            except OSError as error:
                log.debug("no reset: %s", error)
        self.transport.abort()


def listening_socket(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    """A bound TCP socket (IPv4 or IPv6 by the address). Raises OSError: in use, not permitted, no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
