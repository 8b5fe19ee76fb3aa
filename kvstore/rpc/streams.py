"""One stream of a connection: its two halves, its windows, and the data that waits for them (RFC 9113, sections 5.1, 5.2).

Sending: `write` and `write_trailers` never block and never fail; what the windows or the transport do not take waits in the
stream, and `on_drain` tells when nothing waits any more. Receiving: `consumed` gives window back to the peer; a receiver that
`hold`s gives none, so that at most one window of data is on its way to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from kvstore.rpc.frames import (
    DATA,
    END_STREAM,
    FRAME_HEADER,
    LARGEST_WINDOW_BYTES,
    ErrorCode,
    StreamFault,
    header_frames,
    window_update_frame,
)

if TYPE_CHECKING:
    from kvstore.rpc.connection import Connection

_pack_header = FRAME_HEADER.pack


@mypyc_attr(allow_interpreted_subclasses=True)  # the API server's HTTP/2 builds on it
class Stream:
    """Both halves of one stream. Subclasses are a server's call and a client's call."""

    __slots__ = (
        "_drain_callbacks",
        "_held",
        "_queue",
        "_trailers",
        "_unacknowledged",
        "connection",
        "local_closed",
        "pending_bytes",
        "receive_window",
        "remote_closed",
        "send_window",
        "stream_id",
    )

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.send_window = connection.peer_initial_window
        self.receive_window = connection.limits.stream_window_bytes
        self.remote_closed = False
        self.local_closed = False
        self.pending_bytes = 0  # written, not yet taken by the peer's windows and the transport
        self._queue: deque[bytes | memoryview] | None = None
        self._trailers: bytes | None = None
        self._unacknowledged = 0
        self._held = False
        self._drain_callbacks: list[Callable[[], None]] | None = None

    # What the connection tells a stream; subclasses answer.

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """Data arrived (without padding); it is within the window."""
        raise NotImplementedError

    def on_reset(self, code: int) -> None:
        """The peer reset the stream, or broke a rule on it; it is gone from the connection."""
        raise NotImplementedError

    def on_connection_lost(self, text: str) -> None:
        """The connection ended under the stream."""
        raise NotImplementedError

    # Sending.

    def write(self, data: bytes, end_stream: bool = False) -> None:
        """Send DATA, now as far as the windows allow, the rest when they do. `data` may be empty only with `end_stream`."""
        connection = self.connection
        size = len(data)
        if (
            self._queue is None
            and size <= self.send_window
            and size <= connection.send_window
            and size <= connection.peer_frame_bytes
            and size <= connection.turn_room
            and connection.is_writable
        ):
            self.send_window -= size
            connection.send_window -= size
            connection.turn_room -= size
            flags = END_STREAM if end_stream else 0
            connection.emit(_pack_header(size >> 8, size & 0xFF, DATA, flags, self.stream_id) + data)
            if end_stream:
                self._close_local()
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append(data)
        self.pending_bytes += size
        if end_stream:
            self._trailers = b""
        connection.blocked[self.stream_id] = self
        if connection.send_window > 0:
            connection.pump()

    def write_trailers(self, block: bytes) -> None:
        """Send the header block that ends the stream, after all data."""
        if self._queue is not None:
            self._trailers = block
            return
        connection = self.connection
        connection.emit(header_frames(self.stream_id, block, True, connection.peer_frame_bytes))
        self._close_local()

    def pump(self) -> bool:
        """Send one frame of what waits; False when nothing may go.

        Leaves `connection.blocked` when all is sent, and when only the stream's own window is in the way.
        """
        queue = self._queue
        connection = self.connection
        if queue is None or (self.send_window <= 0 and queue[0]):
            connection.blocked.pop(self.stream_id, None)
            return False
        data = queue[0]
        room = min(self.send_window, connection.send_window, connection.peer_frame_bytes)
        if room <= 0 and data:
            return False
        sent = min(len(data), max(room, 0))
        if sent == len(data):
            queue.popleft()
        else:
            rest = memoryview(data)  # a large message is not copied once for each of its frames
            queue[0] = rest[sent:]
            data = rest[:sent]
        self.send_window -= sent
        connection.send_window -= sent
        connection.turn_room -= sent
        self.pending_bytes -= sent
        is_last = not queue
        flags = END_STREAM if is_last and self._trailers == b"" else 0
        connection.emit(_pack_header(sent >> 8, sent & 0xFF, DATA, flags, self.stream_id) + data)
        if is_last:
            self._on_queue_empty()
        return True

    def widen(self, increment: int) -> None:
        """The peer gave the stream window (or took some: a negative increment, by SETTINGS). Raises StreamFault."""
        self.send_window += increment
        if self.send_window > LARGEST_WINDOW_BYTES:
            raise StreamFault(self.stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        if self._queue is not None:
            self.connection.blocked[self.stream_id] = self

    def _on_queue_empty(self) -> None:
        trailers, self._queue, self._trailers = self._trailers, None, None
        self.connection.blocked.pop(self.stream_id, None)
        if trailers is not None:
            if trailers:
                self.write_trailers(trailers)
            else:
                self._close_local()
        callbacks, self._drain_callbacks = self._drain_callbacks, None
        for callback in callbacks or ():
            callback()

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Call once when nothing is pending any more (now, if nothing is). Never called after the stream died."""
        if self._queue is None:
            callback()
        elif self._drain_callbacks is None:
            self._drain_callbacks = [callback]
        else:
            self._drain_callbacks.append(callback)

    def _close_local(self) -> None:
        self.local_closed = True
        if self.remote_closed:
            self.connection.forget(self)

    def drop_output(self) -> None:
        """The stream is dead: what waits will never be sent."""
        self.local_closed = True
        self._queue = None
        self._trailers = None
        self._drain_callbacks = None
        self.pending_bytes = 0

    # Receiving.

    def account(self, size: int) -> None:
        """Charge `size` bytes of DATA to the window of the stream. Raises StreamFault when it overflows."""
        self.receive_window -= size
        if self.receive_window < 0:
            raise StreamFault(self.stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        self._unacknowledged += size
        if not self._held:
            self._give_window()

    def hold(self) -> None:
        """Give the peer no more window until `release`."""
        self._held = True

    def release(self) -> None:
        """Take data again."""
        if self._held:
            self._held = False
            self._give_window()

    def _give_window(self) -> None:
        amount = self._unacknowledged
        if amount * 2 >= self.connection.limits.stream_window_bytes and not self.remote_closed:
            self._unacknowledged = 0
            self.receive_window += amount
            self.connection.emit(window_update_frame(self.stream_id, amount))
