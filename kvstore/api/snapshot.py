"""Maintenance.Snapshot: the state in etcd's own file format, streamed from one consistent view while writes go on.

The file is made in slices of the loop, a piece at a time, as fast as the client takes it: what waits for the client is
bounded, and no request waits longer than a slice. Where the loop has other work between two slices they keep a distance,
because a request takes several rounds of the loop. The last message is the SHA-256 of all before it.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.node import Node
from kvstore.mvcc import wire
from kvstore.pb.rpc_pb2 import SnapshotRequest
from kvstore.rpc import Call, Receiver, Streaming, Unary
from kvstore.storage.etcd_snapshot import LAYOUT_VERSION, EtcdSnapshot

__all__ = ["SnapshotService"]

BLOB_BYTES = 32 << 10
SLICE_SECONDS = 0.0005  # of the loop's time for one snapshot between two looks at everybody else
BUSY_SECONDS = 0.0002  # of other work between two slices: the loop is in use
BUSY_PAUSE_SECONDS = 0.002  # between two slices then
SLICE_PIECES = 64  # in the same, where the clock stands still (simulation)
MAX_PENDING_BYTES = 1 << 20  # made, but not yet taken by the client
MAX_STREAMS = 4  # each holds a view, whose pages cannot be reused meanwhile


class Loop(Protocol):
    """What is needed of the running event loop."""

    def time(self) -> float: ...
    def call_soon(self, callback: Callable[[], object], /) -> object: ...
    def call_later(self, delay: float, callback: Callable[[], object], /) -> object: ...


class SnapshotService:
    """The handler of Maintenance.Snapshot."""

    def __init__(self, node: Node, loop: Loop) -> None:
        self.node = node
        self.loop = loop
        self._streams: set[_SnapshotStream] = set()

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handler by path."""
        return {"/etcdserverpb.Maintenance/Snapshot": Streaming(self.snapshot)}

    def snapshot(self, call: Call) -> Receiver:
        """Begin a stream; the file starts when the request is here."""
        return _SnapshotStream(self, call)

    def admit(self, stream: "_SnapshotStream") -> bool:
        """Count a stream in, unless there are too many."""
        if len(self._streams) >= MAX_STREAMS:
            return False
        self._streams.add(stream)
        return True

    def forget(self, stream: "_SnapshotStream") -> None:
        """Count it out."""
        self._streams.discard(stream)

    def stop(self) -> None:
        """End every stream: the store is about to close."""
        for stream in tuple(self._streams):
            stream.stop()


class _SnapshotStream:
    """One snapshot on its way to one client."""

    def __init__(self, service: SnapshotService, call: Call) -> None:
        self._service = service
        self._call = call
        self._snapshot: EtcdSnapshot | None = None
        self._messages: Iterator[bytes] = iter(())
        self._slice_ended = 0.0

    def on_message(self, message: bytes) -> None:
        """The request, which is empty: one for each stream."""
        node, call = self._service.node, self._call
        if self._snapshot is not None or decode(call, SnapshotRequest, message) is None or not node.admit(call):
            return
        if not self._service.admit(self):
            errors.refuse(call, errors.TOO_MANY_REQUESTS)
            return
        self._snapshot = EtcdSnapshot(node.state.view(), members=node.member.status().members)
        self._messages = _messages(self._snapshot)
        call.send_head()
        self._work()

    def on_half_close(self) -> None:
        """The client listens."""

    def on_cancel(self) -> None:
        """The client has enough."""
        self._close()

    def stop(self) -> None:
        """The member stops."""
        self._close()
        errors.refuse(self._call, errors.STOPPED)

    def _close(self) -> None:
        self._service.forget(self)
        self._messages = iter(())
        if self._snapshot is not None:
            self._snapshot.close()

    def _work(self) -> None:
        """Make pieces until the slice is over or the client has enough to read."""
        loop, call = self._service.loop, self._call
        now = loop.time()
        is_busy = BUSY_SECONDS < now - self._slice_ended < BUSY_PAUSE_SECONDS
        for _ in range(SLICE_PIECES):
            message = next(self._messages, None)
            if message is None:
                self._close()
                call.finish()
                return
            if message:
                call.send(message)
            if loop.time() >= now + SLICE_SECONDS:
                break
        self._slice_ended = loop.time()
        if not call.is_open:
            self._close()
        elif call.pending_bytes > MAX_PENDING_BYTES:
            call.on_drain(self._work)
        elif is_busy:
            loop.call_later(BUSY_PAUSE_SECONDS, self._work)
        else:
            loop.call_soon(self._work)


def _messages(snapshot: EtcdSnapshot) -> Iterator[bytes]:
    """Yield encoded SnapshotResponses; an empty piece is a pause. etcd's have no header either."""
    for _ in snapshot.prepare():
        yield b""
    version = wire.message_field(b"\x22", LAYOUT_VERSION.encode())
    remaining, buffer = snapshot.size_bytes, bytearray()
    for piece in snapshot.pieces():
        if remaining == len(buffer):  # the file is whole: this is its checksum
            if buffer:
                yield _response(0, bytes(buffer), version)
            yield _response(0, piece, version)
            return
        buffer += piece
        if len(buffer) < BLOB_BYTES:
            yield b""
        while len(buffer) >= BLOB_BYTES:
            remaining -= BLOB_BYTES
            yield _response(remaining, bytes(buffer[:BLOB_BYTES]), version)
            del buffer[:BLOB_BYTES]


def _response(remaining: int, blob: bytes, version: bytes) -> bytes:
    return wire.number_field(b"\x10", remaining) + wire.message_field(b"\x1a", blob) + version
