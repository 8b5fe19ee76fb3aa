"""Connections to the ports of a pod.

SPDY: for every connection the client opens two streams with the same request id, "error" and "data"; as many as it likes.
WebSocket channels: one connection to each port that the request named, on channels 2n (data) and 2n + 1 (error), each of which
begins with the port in two bytes, low one first. What goes wrong is told on the error stream or channel.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.kubelet.streaming.connection import SpdyConnection
from controlplane.kubelet.streaming.spdy import PROTOCOL_ERROR, REFUSED_STREAM, Data, Frame, RstStream, SynStream
from controlplane.kubelet.streaming.websocket import WebSocket

READ_BYTES: Final = 32 * 1024
CONNECT_SECONDS: Final = 10.0
MAX_WAITING_FRAMES: Final = 16  # not yet taken by the pod; then the whole connection waits
MAX_CONNECTIONS: Final = 1024  # of one client

Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Send = Callable[[bytes], Awaitable[None]]


class Relay:
    """One connection to a port. `give` what the client says (b"": it says no more); `run` until both sides are done."""

    def __init__(self, connect: Connect, port: int) -> None:
        self._connect = connect
        self._port = port
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING_FRAMES)
        self._over = asyncio.Event()

    async def give(self, data: bytes) -> None:
        """Pass on; waits while the pod does not read. Dropped when the connection is over."""
        if self._over.is_set():
            return
        if not self._waiting.full():
            self._waiting.put_nowait(data)
            return
        putting = asyncio.ensure_future(self._waiting.put(data))
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait([putting, over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()
            over.cancel()

    async def run(self, send: Send) -> str:
        """Carry bytes until the pod closes; "" or what went wrong."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await self._connect(self._port)
        except (OSError, TimeoutError) as error:
            self._over.set()
            return str(error) or "timed out"
        inward = asyncio.ensure_future(self._inward(writer))
        try:
            while data := await reader.read(READ_BYTES):
                await send(data)
        except OSError as error:
            return str(error)
        finally:
            self._over.set()
            inward.cancel()
            await asyncio.gather(inward, return_exceptions=True)
            writer.close()
        return ""

    async def _inward(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await self._waiting.get():
                writer.write(data)
                await writer.drain()
            writer.write_eof()


@dataclass(slots=True)
class _Pair:
    """The two streams of one connection."""

    port: int
    error: int = 0
    data: int = 0
    relay: Relay | None = None
    early: list[bytes] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class SpdyForwarder:
    """Serves one client's SPDY connection. `describe(port)`: how a failure's text names what was dialled."""

    def __init__(self, connection: SpdyConnection, connect: Connect, describe: Callable[[int], str]) -> None:
        self._connection = connection
        self._connect = connect
        self._describe = describe
        self._pairs: dict[str, _Pair] = {}
        self._by_stream: dict[int, str] = {}

    async def run(self) -> None:
        """Until the client is gone."""
        try:
            while (frame := await self._connection.receive()) is not None:
                await self._on_frame(frame)
        except OSError:
            pass
        finally:
            tasks = [pair.task for pair in self._pairs.values() if pair.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _on_frame(self, frame: Frame) -> None:
        if isinstance(frame, SynStream):
            await self._on_stream(frame)
            return
        if not isinstance(frame, Data | RstStream):
            return
        pair = self._pairs.get(self._by_stream.get(frame.stream, ""))
        if pair is None:
            return
        if isinstance(frame, RstStream):
            self._cancel(pair)
        elif frame.stream == pair.data and pair.relay is not None:
            if frame.data:
                await pair.relay.give(frame.data)
            if frame.fin:
                await pair.relay.give(b"")

    def _cancel(self, pair: _Pair) -> None:
        """The client gave the connection up."""
        if pair.task is not None:
            pair.task.cancel()

    async def _on_stream(self, frame: SynStream) -> None:
        request = frame.headers.get("requestid") or f"port-{frame.headers.get('port', '')}"
        kind, port = frame.headers.get("streamtype", ""), frame.headers.get("port", "")
        if kind not in ("error", "data") or not port.isdigit() or not 0 < int(port) < 65536:
            await self._connection.send(RstStream(frame.stream, PROTOCOL_ERROR))
            return
        pair = self._pairs.get(request)
        if pair is None and len(self._pairs) >= MAX_CONNECTIONS:
            await self._connection.send(RstStream(frame.stream, REFUSED_STREAM))
            return
        if pair is None:
            pair = self._pairs[request] = _Pair(int(port))
        self._by_stream[frame.stream] = request
        await self._connection.accept(frame.stream)
        if kind == "error":
            pair.error = frame.stream
        else:
            pair.data, pair.relay = frame.stream, Relay(self._connect, pair.port)
        if pair.error and pair.data and pair.task is None:
            pair.task = asyncio.get_running_loop().create_task(self._serve(request, pair))

    async def _serve(self, request: str, pair: _Pair) -> None:
        assert pair.relay is not None
        try:
            trouble = await pair.relay.run(lambda data: self._connection.send(Data(pair.data, data)))
            if trouble:
                text = f"error forwarding port {pair.port} to {self._describe(pair.port)}: {trouble}"
                await self._connection.send(Data(pair.error, text.encode()))
            await self._connection.end(pair.data)
            await self._connection.end(pair.error)
        except OSError:
            pass  # the client went; `run` notices too
        finally:
            self._pairs.pop(request, None)
            for stream in (pair.data, pair.error):
                self._by_stream.pop(stream, None)


async def forward_channels(
    socket: WebSocket, ports: Sequence[int], connect: Connect, describe: Callable[[int], str]
) -> None:
    """Serve the WebSocket form until the client has gone or all connections are over."""
    relays = [Relay(connect, port) for port in ports]

    async def serve(index: int) -> None:
        data, error, port = bytes([2 * index]), bytes([2 * index + 1]), ports[index]
        for channel in (data, error):
            await socket.send(channel + port.to_bytes(2, "little"))
        trouble = await relays[index].run(lambda chunk: socket.send(data + chunk))
        if trouble:
            await socket.send(error + f"error forwarding port {port} to {describe(port)}: {trouble}".encode())

    async def receive() -> None:
        while (message := await socket.receive()) is not None:
            index, is_error = divmod(message[0], 2) if message else (0, 1)
            if not is_error and index < len(relays) and len(message) > 1:
                await relays[index].give(message[1:])

    tasks = [asyncio.ensure_future(serve(index)) for index in range(len(ports))]
    serving, receiving = asyncio.gather(*tasks, return_exceptions=True), asyncio.ensure_future(receive())
    both: list[asyncio.Future[Any]] = [serving, receiving]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        receiving.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    await socket.close()
