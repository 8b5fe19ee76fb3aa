"""One HTTP/2 connection (RFC 9113), sans-IO: bytes in by `receive`, bytes out by `take_output`.

    Connection           what both ends share: frames, settings, windows, pings, faults, floods
    ServerConnection     kvstore.rpc.server_connection: streams opened by the peer
    ClientConnection     kvstore.rpc.client_connection: streams opened by us

`receive` never raises for anything that a peer may send: a broken stream is reset, a broken connection gets its GOAWAY into the
output and `is_closing` turns true; the owner writes the output and closes the transport.
Output gathers until `take_output`; `on_output` is called once for each batch that begins outside of `receive`.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from kvstore.rpc import frames
from kvstore.rpc.frames import ConnectionFault, ErrorCode, StreamFault
from kvstore.rpc.limits import Allowance, Limits
from kvstore.rpc.peer_settings import apply_setting
from kvstore.rpc.streams import Stream

_unpack_header = frames.FRAME_HEADER.unpack_from
_HEADER_BYTES = frames.HEADER_BYTES
_REMEMBERED_RESETS = 4_096


@mypyc_attr(allow_interpreted_subclasses=True)  # the API server's HTTP/2 builds on it
class Connection:
    """The part of a connection that servers and clients share."""

    def __init__(self, limits: Limits, clock: Callable[[], float], on_output: Callable[[], None]) -> None:
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.blocked: dict[int, Stream] = {}  # streams with data that waits, in the order of service
        self.send_window = frames.DEFAULT_WINDOW_BYTES
        self.turn_room = limits.write_turn_bytes  # DATA that may still go to the output before the next `take_output`
        self.peer_initial_window = frames.DEFAULT_WINDOW_BYTES
        self.peer_frame_bytes = frames.DEFAULT_FRAME_BYTES
        self.peer_concurrent_streams = 2**32 - 1
        self.last_stream_id = 0  # highest id that the peer opened (server) or we opened (client)
        self.is_writable = True
        self.is_closing = False
        self.close_reason = ""
        self.unfinished_bytes = 0  # parts of messages that wait for their rest, over all streams
        self.header_prefix = b""  # owed at the start of the next header block
        self._on_output = on_output
        self._output: list[bytes] = []
        self._output_announced = False
        self._tail = b""
        self._settings_seen = False
        self._special = True  # the next frame is restricted: first SETTINGS, or CONTINUATION
        self._block: bytearray | None = None
        self._block_stream_id = 0
        self._block_flags = 0
        self._block_frames = 0
        self._received = 0
        self._recently_reset: dict[int, None] = {}
        self._resets = Allowance(limits.resets_per_second, "too many resets", clock)
        self._control = Allowance(limits.control_frames_per_second, "too many control frames", clock)
        self._handlers: tuple[Callable[[int, int, bytes], None], ...] = (
            self._on_data,
            self._on_headers,
            self._on_priority,
            self._on_rst_stream,
            self._on_settings,
            self._on_push_promise,
            self._on_ping,
            self._on_goaway,
            self._on_window_update,
            self._on_continuation,
        )

    # Hooks of the two ends.

    def on_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """A whole header block arrived; it must pass the header memo even when the stream is dead."""
        raise NotImplementedError

    def is_idle(self, stream_id: int) -> bool:
        """Whether the stream was never opened (section 5.1)."""
        return stream_id > self.last_stream_id

    def on_goaway(self, last_stream_id: int, code: int, text: str) -> None:
        """The peer will take no new streams."""

    def on_settings_applied(self) -> None:
        """The peer's SETTINGS were applied."""

    # Output.

    def emit(self, data: bytes) -> None:
        """Queue bytes for the transport."""
        self._output.append(data)
        if not self._output_announced:
            self._output_announced = True
            self._on_output()

    def take_output(self) -> bytes:
        """All bytes that wait for the transport."""
        output = b"".join(self._output)
        self._output.clear()
        self._output_announced = False
        self.turn_room = self.limits.write_turn_bytes
        return output

    def announce_settings(self, settings: dict[int, int]) -> None:
        """Send our SETTINGS and open the connection window (the first thing either end sends)."""
        self.emit(frames.settings_frame(settings))
        more = self.limits.connection_window_bytes - frames.DEFAULT_WINDOW_BYTES
        if more > 0:
            self.emit(frames.window_update_frame(0, more))

    def set_writable(self, is_writable: bool) -> None:
        """The transport's buffer is full, or has room again."""
        self.is_writable = is_writable
        if is_writable:
            self.pump()

    def pump(self) -> None:
        """Move waiting data to the output, a frame of each stream in turn, as far as windows and one turn's budget allow."""
        blocked = self.blocked
        while blocked and self.turn_room > 0 and self.send_window > 0 and self.is_writable:
            stream_id = next(iter(blocked))
            stream = blocked[stream_id]
            if stream.pump() and stream_id in blocked:  # to the back of the line
                del blocked[stream_id]
                blocked[stream_id] = stream

    # Streams.

    def forget(self, stream: Stream) -> None:
        """Both halves are closed."""
        self.streams.pop(stream.stream_id, None)
        self.blocked.pop(stream.stream_id, None)

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream from our side: RST_STREAM, and silence for what the peer already sent."""
        stream.drop_output()
        stream.remote_closed = True
        self.forget(stream)
        self.refuse(stream.stream_id, code)

    def refuse(self, stream_id: int, code: int) -> None:
        """RST_STREAM for a stream that has no state (any more)."""
        self.emit(frames.rst_stream_frame(stream_id, code))
        self._recently_reset[stream_id] = None
        if len(self._recently_reset) > _REMEMBERED_RESETS:
            del self._recently_reset[next(iter(self._recently_reset))]

    def was_reset(self, stream_id: int) -> bool:
        """Whether we reset the stream lately, so that frames on it are no fault of the peer."""
        return stream_id in self._recently_reset

    def lose(self, text: str) -> None:
        """The transport is gone (or must go): tell every stream. Idempotent."""
        self.is_closing = True
        if not self.close_reason:
            self.close_reason = text
        streams = list(self.streams.values())
        self.streams.clear()
        self.blocked.clear()
        for stream in streams:
            stream.drop_output()
            stream.remote_closed = True
            stream.on_connection_lost(self.close_reason)

    def fail(self, code: ErrorCode, text: str) -> None:
        """End the connection: GOAWAY, then every stream learns of it."""
        if not self.is_closing:
            self.emit(frames.goaway_frame(self.last_stream_id, code, text))
            self.lose(f"{code.name}: {text}")

    # Input.

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer. The owner calls `take_output` afterwards, whatever was announced."""
        if self.is_closing:
            return
        self._output_announced = True
        try:
            self._receive(data)
        except ConnectionFault as fault:
            self.fail(fault.code, fault.text)

    def _receive(self, data: bytes) -> None:
        if self._tail:
            data = self._tail + data
            self._tail = b""
        position = 0
        size = len(data)
        handlers = self._handlers
        limit = self.limits.frame_bytes
        while size - position >= _HEADER_BYTES and not self.is_closing:
            high, low, kind, flags, stream_id = _unpack_header(data, position)
            length = high << 8 | low
            if length > limit:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} bytes, at most {limit} are taken")
            start = position + _HEADER_BYTES
            end = start + length
            if self._special:
                self._check_special(kind, stream_id)
            if end > size:
                break
            position = end
            if kind > frames.CONTINUATION:
                self._control.spend()  # unknown types are ignored (section 5.5)
                continue
            try:
                handlers[kind](flags, stream_id & 0x7FFFFFFF, data[start:end])
            except StreamFault as fault:
                self._on_stream_fault(fault)
        self._tail = data[position:]

    def _check_special(self, kind: int, stream_id: int) -> None:
        if self._block is not None:
            if kind != frames.CONTINUATION or stream_id & 0x7FFFFFFF != self._block_stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block must be continued at once")
        elif kind != frames.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")

    def _on_stream_fault(self, fault: StreamFault) -> None:
        self._resets.spend()  # a peer that makes us reset streams is no better than one that resets them
        stream = self.streams.get(fault.stream_id)
        if stream is None:
            self.refuse(fault.stream_id, fault.code)
            return
        self.reset(stream, fault.code)
        stream.on_reset(fault.code)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0")
        self._received += size
        if self._received * 2 >= self.limits.connection_window_bytes:
            self.emit(frames.window_update_frame(0, self._received))
            self._received = 0
        if flags & frames.PADDED:
            payload = frames.without_padding(flags, payload)
        end_stream = bool(flags & frames.END_STREAM)
        if not payload and not end_stream:
            self._control.spend()
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            self._on_stray_data(stream_id)
            return
        stream.account(size)
        if end_stream:
            stream.remote_closed = True
        stream.on_data(payload, end_stream)
        if end_stream and stream.local_closed:
            self.forget(stream)

    def _on_stray_data(self, stream_id: int) -> None:
        if self.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        if not self.was_reset(stream_id):
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.without_padding(flags, payload)
            if flags & frames.HAS_PRIORITY:
                if len(payload) < 5:
                    raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
                if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == stream_id:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream cannot depend on itself")
                payload = payload[5:]
        if flags & frames.END_HEADERS:
            self.on_block(stream_id, payload, bool(flags & frames.END_STREAM))
            return
        self._block = bytearray(payload)
        self._block_stream_id = stream_id
        self._block_flags = flags
        self._block_frames = 0
        self._special = True

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        block += payload
        self._block_frames += 1
        if len(block) > self.limits.header_list_bytes or self._block_frames > self.limits.continuation_frames:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block is too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._special = False
            self.on_block(stream_id, bytes(block), bool(self._block_flags & frames.END_STREAM))

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend()
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR)
        if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == stream_id:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0 or self.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM must have 4 bytes")
        self._resets.spend()
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.drop_output()
            stream.remote_closed = True
            self.forget(stream)
            stream.on_reset(int.from_bytes(payload, "big"))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend()
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ack with a payload")
            if not self._settings_seen:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS is not a list of pairs")
        for start in range(0, len(payload), 6):
            apply_setting(
                self, int.from_bytes(payload[start : start + 2], "big"), int.from_bytes(payload[start + 2 : start + 6], "big")
            )
        self._settings_seen = True
        self._special = False
        self.emit(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self.on_settings_applied()
        self.pump()

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is not wanted")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend()
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING must have 8 bytes")
        if not flags & frames.ACK:
            self.emit(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend()
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is too short")
        last = int.from_bytes(payload[:4], "big") & frames.STREAM_ID_MASK
        self.on_goaway(last, int.from_bytes(payload[4:8], "big"), payload[8:].decode("utf-8", "replace"))

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE must have 4 bytes")
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if stream_id == 0:
            if increment == 0:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self.send_window += increment
            if self.send_window > frames.LARGEST_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection window overflows")
        else:
            stream = self.streams.get(stream_id)
            if stream is None:
                if self.is_idle(stream_id):
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
                return
            if increment == 0:
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
            stream.widen(increment)
        if self.blocked:
            self.pump()
