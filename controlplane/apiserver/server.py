"""uvicorn's HTTP/1.1 protocol on the running loop, with TLS and the client's certificate.

uvicorn's own `Server` is not used: it owns signals and polls ten times a second. Its protocol class is what we want:
httptools, back-pressure, keep-alive; one subclass adds the client certificate and the news of a lost connection.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from controlplane.apiserver.connection import Connection, Pipes

KEEP_ALIVE_SECONDS: Final = 185  # longer than client-go's 90 s, so that clients close idle connections, not we
BACKLOG: Final = 1024
TLS_BUFFER_BYTES: Final = 16 * 1024
STREAM_BUFFER_BYTES: Final = 64 * 1024
MOST_EARLY_BYTES: Final = 64 * 1024

logger = logging.getLogger(__name__)


class JoiningTransport:
    """A transport whose writes can be held back for a moment and go out as one."""

    __slots__ = ("_held", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] | None = None

    def hold(self) -> None:
        self._held = []

    def release(self) -> None:
        held, self._held = self._held, None
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    def write(self, data: bytes) -> None:
        if self._held is None:
            self._transport.write(data)
        else:
            self._held.append(data)

    def close(self) -> None:
        self.release()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol plus `scope["state"]["connection"]`, through which a handler can take the connection over.

    A request to upgrade (WebSocket, SPDY) is served like any other; only after its answer nothing else follows.
    """

    _early: bytearray | None = None  # what came after a request to upgrade, before somebody took over

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        tls = transport.get_extra_info("ssl_object")
        joining = JoiningTransport(transport)
        certificate = tls.getpeercert(True) if tls is not None else None
        self._connection = Connection(certificate, joining, self._take_over)
        self._raw = transport
        self.app_state = {"connection": self._connection}
        super().connection_made(cast(asyncio.Transport, joining))

    def data_received(self, data: bytes) -> None:
        if self._early is None:
            super().data_received(data)
        elif len(self._early) + len(data) <= MOST_EARLY_BYTES:
            self._early += data
        else:
            self._raw.abort()

    def _should_upgrade(self) -> bool:
        return False  # the application decides, with authentication and authorization like for any request

    def _unsupported_upgrade_warning(self) -> None:
        self._early = bytearray()
        self.cycle.keep_alive = False

    def _take_over(self) -> Pipes:
        loop = asyncio.get_running_loop()
        self.cycle.disconnected = True  # uvicorn sends nothing for this request any more
        self.connections.discard(self)
        reader = asyncio.StreamReader(limit=STREAM_BUFFER_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        self._raw.set_protocol(protocol)
        protocol.connection_made(self._raw)
        self._raw.resume_reading()
        if self._early:
            reader.feed_data(bytes(self._early))
        return reader, asyncio.StreamWriter(self._raw, protocol, reader, loop)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connection.lost()


def tls_context(certificate: str, key: str, *client_authorities: str) -> ssl.SSLContext:
    """TLS of the server; a client certificate is verified when one is shown. Raises ValueError for files that do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(f"{certificate} and {key} are no certificate and its key: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    for path in client_authorities:
        context.load_verify_locations(path)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class HttpServer:
    """Listens, serves `app`, stops without cutting requests in flight."""

    def __init__(self, app: Callable[..., Any], context: ssl.SSLContext | None) -> None:
        self._config = uvicorn.Config(
            app,
            interface="asgi3",
            lifespan="off",
            ws="none",  # upgraded connections are passed to kubelets as they are, see tunnel.py
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            date_header=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._context = context
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Bind and listen; raises OSError when the address is taken."""
        self._config.load()
        self._state.default_headers = self._config.encoded_headers
        # asyncio's TLS gives every connection a 256 KiB buffer; thousands of idle watches need it smaller.
        cast(Any, asyncio.sslproto.SSLProtocol).max_size = TLS_BUFFER_BYTES
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol, host, port, ssl=self._context, backlog=BACKLOG, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _protocol(self) -> Protocol:
        return Protocol(self._config, self._state, {}, _loop=asyncio.get_running_loop())

    def stop_listening(self) -> None:
        """No new connections; idle ones close, busy ones close after their answer."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Wait for requests in flight, at most so long; then cut what is left."""
        tasks = list(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                logger.warning("%d requests did not end within %.1f s", len(late), grace_seconds)
                await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
