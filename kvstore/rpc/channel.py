"""The asyncio client: a channel is one address, connected when first needed and again after each loss."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final, cast

from kvstore.rpc import frames
from kvstore.rpc.client_connection import CallReceiver, ClientCall, ClientConnection
from kvstore.rpc.client_stream import ClientStream
from kvstore.rpc.deadlines import Deadlines
from kvstore.rpc.hpack_memo import encode_field
from kvstore.rpc.limits import CLIENT_LIMITS, Limits
from kvstore.rpc.status import Code, RpcError, encode_binary, encode_timeout

Metadata = Mapping[str, str | bytes]

CONNECT_TIMEOUT_SECONDS: Final = 5.0
KEEPALIVE_SECONDS: Final = 5.5  # of silence while calls run; etcd's servers allow one ping every 5 s
KEEPALIVE_TIMEOUT_SECONDS: Final = 4.0
PROBE_TIMEOUT_SECONDS: Final = 2.0
HEAD_MEMO_ENTRIES: Final = 1_024
_ALPN_PROTOCOLS: Final = ("h2",)


def split_target(target: str) -> tuple[str, int]:
    """(host, port) of `host:port`, `[v6]:port`, with or without a scheme."""
    address = target.split("://", 1)[-1].rstrip("/")
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError(f"not host:port: {target!r}")
    return host.strip("[]"), int(port)


class _UnaryReceiver:
    """The future of a unary call."""

    __slots__ = ("future", "message")

    def __init__(self, future: asyncio.Future[bytes]) -> None:
        self.future = future
        self.message: bytes | None = None

    def on_message(self, message: bytes) -> None:
        self.message = message

    def on_end(self, error: RpcError | None) -> None:
        future = self.future
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        elif self.message is None:
            future.set_exception(RpcError(Code.INTERNAL, "the server answered OK without a message"))
        else:
            future.set_result(self.message)


class Channel:
    """Calls to one server. All methods belong to the loop that made the channel. Sets ALPN "h2" on the TLS context."""

    def __init__(
        self,
        target: str,
        ssl_context: ssl.SSLContext | None = None,
        *,
        limits: Limits | None = None,
        server_hostname: str | None = None,
        authority: str | None = None,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        self.target = target
        self.host, self.port = split_target(target)
        self.limits = limits or CLIENT_LIMITS
        self._ssl_context = ssl_context
        if ssl_context is not None:
            ssl_context.set_alpn_protocols(list(_ALPN_PROTOCOLS))
        self._server_hostname = server_hostname or (self.host if ssl_context is not None else None)
        self._authority = (authority or target.split("://", 1)[-1].rstrip("/")).encode("ascii")
        self._connect_timeout_seconds = connect_timeout_seconds
        self.keepalive_seconds = keepalive_seconds
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self._heads: dict[tuple[str, tuple[tuple[str, str | bytes], ...] | None, float | None], bytes] = {}
        self._protocol: _ClientProtocol | None = None
        self._protocols: dict[_ClientProtocol, None] = {}
        self._connecting: asyncio.Task[ClientConnection] | None = None
        self._is_closed = False

    @property
    def is_connected(self) -> bool:
        """Whether a call would go out at once."""
        return self._protocol is not None and self._protocol.connection.is_usable

    async def connect(self) -> None:
        """Connect now (calls do it by themselves). Raises RpcError(UNAVAILABLE, sent=False)."""
        await self._usable_connection()

    async def unary(
        self, path: str, message: bytes, metadata: Metadata | None = None, timeout: float | None = None  # noqa: ASYNC109
    ) -> bytes:
        """One message for one message. `timeout` in seconds covers connecting too. Raises RpcError."""
        deadline = None if timeout is None else self._loop.time() + timeout
        protocol = self._protocol
        if protocol is not None and protocol.connection.is_usable:
            connection = protocol.connection
        else:
            connection = await self._usable_connection(deadline)
        if not connection.has_room:
            connection = await self._wait_for_room(connection, deadline)
        future: asyncio.Future[bytes] = self._loop.create_future()
        call = connection.open(self._head(path, metadata, timeout), _UnaryReceiver(future), message)
        if deadline is not None:
            call.set_deadline(deadline)
        try:
            return await future
        except asyncio.CancelledError:
            call.cancel()
            raise

    def stream(self, path: str, metadata: Metadata | None = None) -> ClientStream:
        """A streaming call; it opens (and connects) when first used. Fails at the iteration, never at `send`."""
        return ClientStream(self, path, metadata)

    async def open(self, path: str, metadata: Metadata | None, receiver: CallReceiver) -> ClientCall:
        """A streaming call with callbacks. Raises RpcError(UNAVAILABLE, sent=False) when there is no connection."""
        connection = await self._usable_connection()
        if not connection.has_room:
            connection = await self._wait_for_room(connection, None)
        return connection.open(self._head(path, metadata, None), receiver)

    def flush(self) -> None:
        """Write what waits now, not at the next round of the loop: for a caller that is going to be busy."""
        if self._protocol is not None:
            self._protocol.flush()

    def probe(self) -> None:
        """Ping the server; without an answer in PROBE_TIMEOUT_SECONDS all calls of the connection end (UNAVAILABLE)."""
        if self._protocol is not None:
            self._protocol.probe()

    async def close(self) -> None:
        """End all calls (CANCELLED) and the connections."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._deadlines.close()
        for protocol in list(self._protocols):
            protocol.close()
            await protocol.closed.wait()

    async def _wait_for_room(self, connection: ClientConnection, deadline: float | None) -> ClientConnection:
        while not connection.has_room:
            turn: asyncio.Future[None] = self._loop.create_future()
            connection.waiting.append(lambda turn=turn: turn.done() or turn.set_result(None))  # type: ignore[misc]
            try:
                async with asyncio.timeout_at(deadline):
                    await turn
            except TimeoutError:
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded", sent=False) from None
            if not connection.is_usable:
                connection = await self._usable_connection(deadline)
        return connection

    def _head(self, path: str, metadata: Metadata | None, timeout: float | None) -> bytes:
        key = (path, tuple(metadata.items()) if metadata else None, timeout)
        block = self._heads.get(key)
        if block is None:
            block = self._encode_head(path, metadata, timeout)
            if len(self._heads) >= HEAD_MEMO_ENTRIES:
                self._heads.clear()
            self._heads[key] = block
        return block

    def _encode_head(self, path: str, metadata: Metadata | None, timeout: float | None) -> bytes:
        scheme = b"http" if self._ssl_context is None else b"https"
        parts = [
            encode_field(b":method", b"POST"),
            encode_field(b":scheme", scheme),
            encode_field(b":path", path.encode("ascii")),
            encode_field(b":authority", self._authority),
            encode_field(b"te", b"trailers"),
            encode_field(b"content-type", b"application/grpc"),
            encode_field(b"user-agent", b"grpc-python-pilothouse/1"),
            encode_field(b"grpc-accept-encoding", b"identity,gzip"),
        ]
        if timeout is not None:
            parts.append(encode_field(b"grpc-timeout", encode_timeout(timeout).encode("ascii")))
        for name, value in (metadata or {}).items():
            text = encode_binary(value) if isinstance(value, bytes) else value
            parts.append(encode_field(name.lower().encode("ascii"), text.encode("utf-8")))
        return b"".join(parts)

    async def _usable_connection(self, deadline: float | None = None) -> ClientConnection:
        if self._is_closed:
            raise RpcError(Code.CANCELLED, "the channel is closed", sent=False)
        if self._protocol is not None and self._protocol.connection.is_usable:
            return self._protocol.connection
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())
            self._connecting.add_done_callback(self._on_connected)
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(self._connecting)
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded", sent=False) from None

    def _on_connected(self, task: asyncio.Task[ClientConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # every waiter has it; a task without waiters is no error

    async def _connect(self) -> ClientConnection:
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                _, protocol = await self._loop.create_connection(
                    lambda: _ClientProtocol(self, self._loop, self._deadlines),
                    self.host,
                    self.port,
                    ssl=self._ssl_context,
                    server_hostname=self._server_hostname,
                )
                self._protocol = protocol
                await protocol.ready.wait()
        except TimeoutError:
            self._drop_protocol()
            raise RpcError(Code.UNAVAILABLE, f"connection to {self.target} timed out", sent=False) from None
        except OSError as error:
            raise RpcError(Code.UNAVAILABLE, f"connection to {self.target} failed: {error}", sent=False) from None
        if not protocol.connection.is_usable:
            text = f"connection to {self.target} failed: {protocol.connection.close_reason}"
            raise RpcError(Code.UNAVAILABLE, text, sent=False)
        return protocol.connection

    def _drop_protocol(self) -> None:
        if self._protocol is not None:
            self._protocol.close()
            self._protocol = None

    def on_protocol_made(self, protocol: _ClientProtocol) -> None:
        """A transport is up."""
        self._protocols[protocol] = None

    def on_protocol_lost(self, protocol: _ClientProtocol) -> None:
        """A transport is gone."""
        self._protocols.pop(protocol, None)
        if self._protocol is protocol:
            self._protocol = None


class _ClientProtocol(asyncio.Protocol):
    """Bytes between one transport and one ClientConnection, and the keep-alive."""

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._channel = channel
        self._loop = loop
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._timer: asyncio.TimerHandle | None = None
        self._heard = False
        self._is_probing = False
        self.ready = asyncio.Event()  # the server's SETTINGS came, or the connection ended before
        self.closed = asyncio.Event()
        self.connection = ClientConnection(channel.limits, loop.time, self._on_output, deadlines.add)
        self.connection.is_writable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: say hello."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._channel.limits.write_buffer_bytes)
        self.connection.is_writable = True
        self._channel.on_protocol_made(self)
        self.flush()
        self._timer = self._loop.call_later(self._channel.keepalive_seconds, self._on_keepalive)

    def data_received(self, data: bytes) -> None:
        """Feed the connection, then write all that it answered at once."""
        self._heard = True
        self.connection.receive(data)
        if not self.ready.is_set():
            self.ready.set()
        self.flush()

    def _on_output(self) -> None:
        self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        connection = self.connection
        if self._transport is None or self.closed.is_set():
            return
        output = connection.take_output()
        if output:
            self._transport.write(output)
            if connection.blocked and connection.is_writable:
                connection.pump()
        if connection.is_closing or (connection.is_leaving and not connection.streams):
            self._transport.close()

    def pause_writing(self) -> None:
        """The server does not read: leave data in the streams. (We go on reading, or two ends could wait for each other.)"""
        self.connection.set_writable(False)

    def resume_writing(self) -> None:
        """The server reads again."""
        self.connection.set_writable(True)

    def _on_keepalive(self) -> None:
        if self._heard or not self.connection.streams:
            self._heard = False
            self._timer = self._loop.call_later(self._channel.keepalive_seconds, self._on_keepalive)
        else:
            self._ping(KEEPALIVE_TIMEOUT_SECONDS)

    def _ping(self, timeout_seconds: float) -> None:
        self._heard = False
        self._is_probing = True
        self.connection.emit(frames.frame(frames.PING, 0, 0, b"pilothse"))
        self._timer = self._loop.call_later(timeout_seconds, self._on_ping_timeout)

    def _on_ping_timeout(self) -> None:
        self._is_probing = False
        if self._heard:
            self._on_keepalive()
            return
        self.connection.lose("keepalive: the server does not answer")
        self._transport.abort()

    def probe(self) -> None:
        """Someone waited in vain: find out now whether the server is there."""
        if not self._is_probing and self._timer is not None and not self.closed.is_set():
            self._timer.cancel()
            self._ping(PROBE_TIMEOUT_SECONDS)

    def close(self) -> None:
        """End all calls and close the transport."""
        for stream in list(self.connection.streams.values()):
            if isinstance(stream, ClientCall):
                stream.cancel(Code.CANCELLED, "the channel is closed")
        self.connection.emit(frames.goaway_frame(0, frames.ErrorCode.NO_ERROR))
        self.flush()
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._channel.on_protocol_lost(self)
        self.closed.set()
        self.ready.set()
        self.connection.lose("connection lost" if error is None else f"connection lost: {error}")
        self.connection.on_call_ended()
