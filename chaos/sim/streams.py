"""Streams of a client on the simulated network: in order, and broken for good by the first packet that is lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kvstore.api.local_call import LocalCall
from kvstore.rpc import Streaming

if TYPE_CHECKING:
    from chaos.sim.host import Host, Process
    from chaos.sim.store import StoreWorld

__all__ = ["ClientStream"]

NOTICE_SECONDS = 1.0  # until a member knows that its client has gone


class ClientStream:
    """One stream from a client's host to a member's: `on_message(bytes)` until `on_broken()`, which comes once.

    `read_seconds()` is how long the client reads at a message: meanwhile later ones wait at the member. A packet that was
    lost shows as a gap in the numbers of those that follow; where none follows, only the client's patience helps.
    """

    def __init__(
        self, world: StoreWorld, name: str, host: Host, path: str, *,
        on_message: Callable[[bytes], None], on_broken: Callable[[], None], read_seconds: Callable[[], float],
    ) -> None:
        self.world, self.path, self.read_seconds = world, path, read_seconds
        self._name, self._host = name, host
        self._on_message, self._on_broken = on_message, on_broken
        self._server: _ServerEnd | None = None
        self._asked = self._taken = self._answered = self._received = 0
        self.is_open = True

    def send(self, message: bytes) -> None:
        """Send one request; the first opens the stream."""
        if self.is_open:
            self._asked += 1
            deliver = partial(self._reach, self._asked, message)
            self.world.network.send(self._name, self._host.name, "stream request", deliver, in_order=True)

    def _reach(self, number: int, message: bytes) -> None:
        process = self._host.process
        has_changed = self._server is not None and self._server.process is not process
        if process is None or has_changed or number != self._taken + 1:
            self.world.network.send(self._host.name, self._name, "reset", self.break_off, in_order=True)
            return
        self._taken = number
        process.run(partial(self._take, process, message))

    def _take(self, process: Process, message: bytes) -> None:
        if self._server is None:
            self._server = _ServerEnd(self, process)
        self._server.take(message)

    def break_off(self) -> None:
        """Give the connection up; the member notices in its own time."""
        if self.is_open:
            self.is_open = False
            if self._server is not None:
                self._server.notice_later()
            self._on_broken()

    def answer(self, message: bytes) -> None:
        """Called at the member's end: send one message to the client."""
        self._answered += 1
        deliver = partial(self._deliver, self._answered, message)
        self.world.network.send(self._host.name, self._name, "stream answer", deliver, in_order=True)

    def _deliver(self, number: int, message: bytes) -> None:
        if not self.is_open:
            return
        if number != self._received + 1:
            self.break_off()
            return
        self._received = number
        self._on_message(message)


class _ServerEnd:
    """The member's end: a call as the services see it; what its client has not read waits here."""

    def __init__(self, stream: ClientStream, process: Process) -> None:
        self._stream, self.process = stream, process
        self._waiting: list[bytes] = []
        self._is_reading = False
        self._call = LocalCall(stream.path, {}, on_message=self._on_message, on_end=self._on_end)
        route = process.routes[stream.path]
        assert isinstance(route, Streaming)
        self._receiver = route.handler(self._call.as_call())

    def take(self, message: bytes) -> None:
        if self._call.is_open:
            self._receiver.on_message(message)

    def _on_message(self, message: bytes) -> None:
        self.process.boundaries.passed("stream answer sent")
        self._waiting.append(message)
        self._call.pending_bytes += len(message)
        if not self._is_reading:
            self._read()

    def _read(self) -> None:
        seconds = self._stream.read_seconds()
        if seconds:
            self._is_reading = True
            self._stream.world.heap.after(seconds, lambda: self.process.run(self._flush))
        else:
            self._flush()

    def _flush(self) -> None:
        self._is_reading = False
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._stream.answer(message)
        self._call.drained()

    def _on_end(self, code: int, text: str) -> None:
        self._stream.world.heap.after(0.0, self._stream.break_off)

    def notice_later(self) -> None:
        self._stream.world.heap.after(NOTICE_SECONDS, lambda: self.process.run(self._cancel))

    def _cancel(self) -> None:
        if self._call.is_open:
            self._call.cancel()
            self._receiver.on_cancel()
