"""The port: accepts connections, hands each to its protocol, sweeps idle ones, stops without cutting requests in flight."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from typing import Final, Protocol, cast

from controlplane.apiserver.http.exchange import Application
from controlplane.apiserver.http.http1 import Http1Session
from controlplane.apiserver.http.http2 import Http2Session
from controlplane.apiserver.http.tls import TlsTransport

BACKLOG: Final = 1024
SWEEP_SECONDS: Final = 5.0
HANDSHAKE_SWEEPS: Final = 4  # that a TLS handshake may take
KEEP_ALIVE_IDLE_SECONDS: Final = 60
KEEP_ALIVE_INTERVAL_SECONDS: Final = 10
KEEP_ALIVE_PROBES: Final = 3

logger = logging.getLogger(__name__)


class Session(Protocol):
    """What the listener asks of a connection's protocol."""

    transport: asyncio.Transport

    def sweep(self, now: float) -> None: ...
    def leave(self) -> None: ...
    def tasks(self) -> list[asyncio.Task[None]]: ...


def tls_context(certificate: str, key: str, *client_authorities: str) -> ssl.SSLContext:
    """TLS of the server; a client certificate is verified when one is shown. Raises ValueError for files that do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0  # clients of Kubernetes do not resume sessions
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(f"{certificate} and {key} are no certificate and its key: {error}") from error
    context.set_alpn_protocols(["h2", "http/1.1"])
    for path in client_authorities:
        context.load_verify_locations(path)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _raise_file_limit() -> None:
    """Let this process have as many connections as it may, as Go's programs do by themselves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out that the client's machine is gone (a simulated transport has no socket)."""
    endpoint = transport.get_extra_info("socket")
    if endpoint is not None and endpoint.family in (socket.AF_INET, socket.AF_INET6):
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_IDLE_SECONDS)
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_SECONDS)
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_ALIVE_PROBES)


class _Plain(asyncio.Protocol):
    """A connection without TLS turns into HTTP/1.1 as soon as it is made."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own
        session = Http1Session(self._server, transport)
        transport.set_protocol(session)
        session.connection_made(transport)


class HttpServer:
    """Listens, serves `application`, stops without cutting requests in flight."""

    def __init__(self, application: Application, context: ssl.SSLContext | None) -> None:
        self.application = application
        self.loop: asyncio.AbstractEventLoop
        self.port = 0
        self.sessions: dict[Session, None] = {}  # in the order of arrival: a simulation must replay
        self._context = context
        self._handshakes: dict[TlsTransport, int] = {}  # and the sweeps that each has seen
        self._taken: dict[asyncio.Task[None], asyncio.Transport] = {}
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int) -> None:
        """Bind and listen; raises OSError when the address is taken."""
        self.loop = asyncio.get_running_loop()
        _raise_file_limit()
        self._listener = await self.loop.create_server(self._accept, host, port, backlog=BACKLOG, reuse_address=True)
        self.port = self._listener.sockets[0].getsockname()[1]
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def _accept(self) -> asyncio.Protocol:
        if self._context is None:
            return _Plain(self)
        transport = TlsTransport(self._context, self._above, self._forget_handshake)
        self._handshakes[transport] = 0
        return transport

    def _above(self, transport: TlsTransport, alpn: str | None) -> asyncio.Protocol:
        self._forget_handshake(transport)
        _keep_alive(transport)
        return Http2Session(self, transport) if alpn == "h2" else Http1Session(self, transport)

    def _forget_handshake(self, transport: TlsTransport) -> None:
        self._handshakes.pop(transport, None)

    def _sweep(self) -> None:
        now = self.loop.time()
        for session in list(self.sessions):
            session.sweep(now)
        for transport, seen in list(self._handshakes.items()):
            self._handshakes[transport] = seen + 1
            if seen >= HANDSHAKE_SWEEPS:
                transport.abort()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def taken_over(self, task: asyncio.Task[None] | None, transport: asyncio.Transport) -> None:
        """A connection is no longer HTTP's; its task is still waited for at the end."""
        if task is not None:
            self._taken[task] = transport
            task.add_done_callback(lambda done: self._taken.pop(done, None))

    def stop_listening(self) -> None:
        """No new connections; idle ones close, busy ones close after their answer."""
        if self._listener is not None:
            self._listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for transport in list(self._handshakes):
            transport.abort()
        for session in list(self.sessions):
            session.leave()

    async def stop(self, grace_seconds: float) -> None:
        """Wait for requests in flight, at most so long; then cut what is left."""
        tasks = [task for session in self.sessions for task in session.tasks()] + list(self._taken)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                logger.warning("%d requests did not end within %.1f s", len(late), grace_seconds)
                await asyncio.gather(*late, return_exceptions=True)
        for session in list(self.sessions):
            session.transport.abort()
        for transport in list(self._taken.values()):
            transport.abort()
