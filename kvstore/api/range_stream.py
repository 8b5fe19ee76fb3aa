"""Large ranges: read in slices from a view, so that nobody else waits; sent whole (Range) or in parts (RangeStream)."""

from collections.abc import Callable

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.node import Node
from kvstore.api.slices import Slices, Steps
from kvstore.mvcc import checks, wire
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.long_ranges import Pieces, Tail
from kvstore.mvcc.ranges import is_in_key_order
from kvstore.pb.rpc_pb2 import RangeRequest
from kvstore.rpc import Call, Code

__all__ = ["RangeStream", "gather"]

PART_BYTES = 256 << 10  # of one message of a stream, more or less
MAX_PENDING_BYTES = 1 << 20  # of a client that reads slowly
_NOT_STREAMED = Failure(
    Code.UNIMPLEMENTED, "etcdserver: range stream takes the default order, the present revision and no revision filters"
)


def gather(slices: Slices, pieces: Pieces, call: Call, header: bytes) -> None:
    """Answer a Range in slices: all of it is collected, then handed to the connection as it is, in its parts."""
    parts: list[bytes] = [header]

    def steps() -> Steps[bool]:
        try:
            for piece in pieces:
                parts.append(piece.encoded if isinstance(piece, Tail) else piece)
                yield None
            yield True
        finally:
            pieces.close()

    call.on_cancel(slices.run(steps(), lambda _: _reply_in_parts(call, parts)))


def _reply_in_parts(call: Call, parts: list[bytes]) -> None:
    """Reply with one message without joining it: to copy tens of megabytes is a pause that others would notice."""
    write: Callable[[bytes], None] | None = getattr(call, "write", None)
    if write is None:  # a LocalCall
        call.reply(b"".join(parts))
    elif call.is_open:
        call.send_head()
        write(b"\0" + sum(map(len, parts)).to_bytes(4, "big"))
        for part in parts:
            if part:
                write(part)
        call.finish()


class RangeStream:
    """One RangeStream: a Receiver."""

    def __init__(self, node: Node, slices: Slices, call: Call) -> None:
        self._node = node
        self._slices = slices
        self._call = call
        self._cancel: Callable[[], None] = lambda: None
        self._has_begun = False

    def on_message(self, message: bytes) -> None:
        """The one request."""
        request = decode(self._call, RangeRequest, message)
        if request is None or self._has_begun or not self._node.admit(self._call):
            return
        self._has_begun = True
        failure = checks.check_range(request)
        if failure is not None:
            errors.refuse(self._call, failure)
        elif request.serializable:
            self._node.access.settle(self._call, lambda: self._begin(request))
        else:
            self._node.read(self._call, lambda: self._begin(request))

    def on_half_close(self) -> None:
        """The client listens."""

    def on_cancel(self) -> None:
        """The client has enough."""
        self._cancel()

    def _begin(self, request: RangeRequest) -> None:
        state = self._node.state
        if not self._call.is_open or not self._node.may_read(
            self._call, lambda identity: state.guard.refuse_range(identity, request)
        ):
            return
        header = self._node.header(state.revision)
        if not request.range_end:
            found = state.range(request)
            if isinstance(found, Failure):
                errors.refuse(self._call, found)
            else:
                self._send(header + found.body())
                self._call.finish()
            return
        if is_in_key_order(request):
            steps = self._steps(state.range_pieces(request), header)
            self._cancel = self._slices.run(steps, lambda _: self._call.finish(), is_held=self._hold)
        else:
            errors.refuse(self._call, _NOT_STREAMED)

    def _steps(self, pieces: Pieces, header: bytes) -> Steps[bool]:
        parts: list[bytes] = []
        size = 0
        try:
            for piece in pieces:
                if isinstance(piece, Tail):
                    self._send(header + b"".join(parts) + piece.encoded)
                    yield True
                    return
                parts.append(piece)
                size += len(piece)
                if size >= PART_BYTES:
                    self._send(b"".join(parts))
                    parts, size = [], 0
                yield None
        finally:
            pieces.close()

    def _hold(self, resume: Callable[[], None]) -> bool:
        """Wait for a client that reads slowly; `resume` goes on."""
        if self._call.pending_bytes <= MAX_PENDING_BYTES:
            return False
        self._call.on_drain(resume)
        return True

    def _send(self, response: bytes) -> None:
        self._call.send(wire.message_field(b"\x0a", response))
