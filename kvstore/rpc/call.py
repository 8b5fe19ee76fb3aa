"""A call as the server sees it: a stream with a request head, messages and a status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from kvstore.rpc import frames
from kvstore.rpc.deadlines import Slot
from kvstore.rpc.frames import ErrorCode, StreamFault
from kvstore.rpc.hpack_memo import encode_field, encode_fields
from kvstore.rpc.messages import PREFIX_BYTES, Assembler, MessageFault
from kvstore.rpc.status import Code, encode_binary, encode_message
from kvstore.rpc.streams import Stream

if TYPE_CHECKING:
    from kvstore.rpc.server_connection import ServerConnection

logger = logging.getLogger("kvstore.rpc")

RESPONSE_HEAD: Final = encode_fields(((b":status", b"200"), (b"content-type", b"application/grpc")))
TRAILERS_OK: Final = encode_field(b"grpc-status", b"0")

# A unary answer that fits is three frames with known heads; the parts that do not vary are made once.
_HEAD_PREFIX: Final = frames.frame(frames.HEADERS, frames.END_HEADERS, 0, RESPONSE_HEAD)[:5]
_TRAILERS_PREFIX: Final = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 0, TRAILERS_OK)[:5]


class Receiver(Protocol):
    """What a streaming handler returns: the input side of its call. Called from the loop, never concurrently."""

    def on_message(self, message: bytes) -> None:
        """One whole message."""

    def on_half_close(self) -> None:
        """The client will send no more; the call goes on until `finish` or `fail`."""

    def on_cancel(self) -> None:
        """The call is over without us: cancelled, past its deadline, or the connection is lost. What we send is dropped."""


UnaryHandler = Callable[["Call", bytes], None]
StreamingHandler = Callable[["Call"], Receiver]


class Tally:
    """Calls of one method: begun, and ended by status."""

    def __init__(self) -> None:
        self.started = 0
        self.succeeded = 0
        self.failed: dict[int, int] = {}  # by gRPC status code

    def end(self, code: int) -> None:
        """Count a call that ended with `code`."""
        if code == 0:
            self.succeeded += 1
        else:
            self.failed[code] = self.failed.get(code, 0) + 1


@dataclass(frozen=True, slots=True)
class Unary:
    """One message in; the handler answers now or later with `reply` or `fail`."""

    handler: UnaryHandler
    tally: Tally = field(default_factory=Tally, compare=False)


@dataclass(frozen=True, slots=True)
class Streaming:
    """Any number of messages in; the handler sends any number with `send`, then `finish` or `fail`."""

    handler: StreamingHandler
    tally: Tally = field(default_factory=Tally, compare=False)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a request's header block means to this server. Shared by all calls that sent the same bytes: read only."""

    path: str
    route: Unary | Streaming | None
    metadata: dict[str, str]
    timeout_seconds: float | None
    encoding: str
    refusal: bytes | None  # header block of an answer that is known already
    fault: ErrorCode | None  # the block is malformed (RFC 9113, section 8.1.1)
    content_length: int | None = None  # what the DATA must add up to, when the client said so
    web_method: str = ""  # not gRPC: a request for the HTTP handler


class Call(Stream):
    """One call. All methods may be called at any time: after the end of the call they do nothing."""

    __slots__ = (
        "_assembler",
        "_body_bytes",
        "_cancel_callback",
        "_head_sent",
        "_message",
        "_receiver",
        "_server",
        "_slot",
        "_tally",
        "_unfinished_bytes",
        "deadline",
        "head",
    )

    def __init__(self, connection: ServerConnection, stream_id: int, head: RequestHead) -> None:
        super().__init__(connection, stream_id)
        self._server = connection
        self.head = head
        self.deadline: float | None = None
        self._slot: Slot | None = None
        self._assembler: Assembler | None = None
        self._receiver: Receiver | None = None
        self._cancel_callback: Callable[[], None] | None = None
        self._head_sent = False
        self._message: bytes | None = None
        self._body_bytes = 0
        self._unfinished_bytes = 0
        self._tally: Tally | None = None if head.route is None else head.route.tally
        if head.timeout_seconds is not None:
            self.deadline = connection.clock() + head.timeout_seconds
            self._slot = connection.deadlines.add(self, self.deadline)

    @property
    def path(self) -> str:
        """`/package.Service/Method`."""
        return self.head.path

    @property
    def metadata(self) -> dict[str, str]:
        """Lower-case names; values of repeated names joined with ","; `-bin` values still base64. Read only: calls share it."""
        return self.head.metadata

    @property
    def peer(self) -> str:
        """`address:port` of the client."""
        return self._server.peer

    @property
    def client_certificate(self) -> bytes | None:
        """DER, when the client showed one that the server's TLS context verified."""
        return self._server.client_certificate

    @property
    def is_open(self) -> bool:
        """Whether an answer may still reach the client."""
        return not self.local_closed

    # Answering.

    def reply(self, message: bytes) -> None:
        """`send` and `finish` in one."""
        if self.local_closed:
            return
        connection = self.connection
        size = len(message)
        framed = size + PREFIX_BYTES
        if (
            self._head_sent
            or self._queue is not None
            or framed > self.send_window
            or framed > connection.send_window
            or framed > connection.peer_frame_bytes
            or framed > connection.turn_room
            or not connection.is_writable
            or connection.header_prefix
        ):
            self.send(message)
            self.finish()
            return
        self._count(Code.OK)
        connection.send_window -= framed
        connection.turn_room -= framed
        name = self.stream_id.to_bytes(4, "big")
        connection.emit(
            b"".join(
                (
                    _HEAD_PREFIX,
                    name,
                    RESPONSE_HEAD,
                    framed.to_bytes(3, "big"),
                    b"\0\0",
                    name,
                    b"\0",
                    size.to_bytes(4, "big"),
                    message,
                    _TRAILERS_PREFIX,
                    name,
                    TRAILERS_OK,
                )
            )
        )
        self._close_local()

    def send(self, message: bytes) -> None:
        """Send one message; what the client's window does not take yet is counted in `pending_bytes`."""
        if self.local_closed or self._trailers is not None:
            return
        if not self._head_sent:
            self.send_head()
        self.write(b"\0" + len(message).to_bytes(4, "big") + message)

    def send_head(self) -> None:
        """Send the response's header block before the first message (streams that may stay silent for long)."""
        if self.local_closed or self._head_sent:
            return
        self._head_sent = True
        connection = self.connection
        block = self._server.take_header_prefix() + RESPONSE_HEAD
        connection.emit(frames.header_frames(self.stream_id, block, False, connection.peer_frame_bytes))

    def finish(self, metadata: Mapping[str, str | bytes] | None = None) -> None:
        """End the call with OK, after everything sent."""
        if self.local_closed or self._trailers is not None:
            return
        if not self._head_sent:
            self.send_head()
        self._count(Code.OK)
        block = TRAILERS_OK + _encode_metadata(metadata) if metadata else TRAILERS_OK
        self.write_trailers(self._server.take_header_prefix() + block)

    def fail(self, code: int, text: str, metadata: Mapping[str, str | bytes] | None = None) -> None:
        """End the call with a status other than OK, after everything sent. `text` is shown to the client as it is."""
        if self.local_closed or self._trailers is not None:
            return
        self._count(code)
        block = encode_field(b"grpc-status", b"%d" % code) + encode_field(b"grpc-message", encode_message(text))
        if metadata:
            block += _encode_metadata(metadata)
        if not self._head_sent:
            self._head_sent = True
            block = RESPONSE_HEAD + block
        self.write_trailers(self._server.take_header_prefix() + block)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call once if the call ends without us (for unary handlers that wait; streaming ones have their receiver)."""
        self._cancel_callback = callback

    def _count(self, code: int) -> None:
        """Count the end of the call, once."""
        tally, self._tally = self._tally, None
        if tally is not None:
            tally.end(code)

    def _close_local(self) -> None:
        self.local_closed = True
        self._release()
        if self.remote_closed:
            self.connection.forget(self)
        else:
            self.connection.reset(self, ErrorCode.NO_ERROR)  # the answer is complete: the rest of the request is not wanted

    def _release(self) -> None:
        if self._slot is not None:
            self._slot.pop(self, None)
            self._slot = None
        if self._unfinished_bytes:
            self.connection.unfinished_bytes -= self._unfinished_bytes
            self._unfinished_bytes = 0

    # What the connection and the clock tell.

    def start(self) -> None:
        """The head arrived: a streaming handler begins."""
        route = self.head.route
        if self._tally is not None:
            self._tally.started += 1
        if isinstance(route, Streaming):
            try:
                self._receiver = route.handler(self)
            except Exception:
                self._on_handler_bug()

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """Cut messages and hand them over."""
        if self.head.content_length is not None:
            self._check_length(len(data), end_stream)
        if (
            end_stream
            and self._assembler is None
            and self._receiver is None
            and len(data) >= PREFIX_BYTES
            and data[0] == 0
            and int.from_bytes(data[1:PREFIX_BYTES], "big") == len(data) - PREFIX_BYTES <= self.connection.limits.message_bytes
        ):
            self._deliver_unary(data[PREFIX_BYTES:])
            return
        try:
            messages = self._assemble(data, end_stream)
            if self._receiver is None:
                self._collect_unary(messages, end_stream)
                return
        except MessageFault as fault:
            self.fail(fault.code, fault.text)
            self._tell_cancelled()
            return
        self._deliver_streaming(self._receiver, messages, end_stream)

    def _assemble(self, data: bytes, end_stream: bool) -> list[bytes]:
        connection = self.connection
        assembler = self._assembler
        if assembler is None:
            assembler = self._assembler = Assembler(connection.limits.message_bytes, self.head.encoding)
        messages = assembler.feed(data)
        if end_stream and not assembler.is_empty:
            raise MessageFault(Code.INTERNAL, "grpc: the stream ended inside a message")
        connection.unfinished_bytes += assembler.size - self._unfinished_bytes
        self._unfinished_bytes = assembler.size
        if connection.unfinished_bytes > connection.limits.unfinished_bytes:
            raise MessageFault(Code.RESOURCE_EXHAUSTED, "grpc: too many unfinished messages on one connection")
        return messages

    def _check_length(self, size: int, end_stream: bool) -> None:
        """RFC 9113, section 8.1.1: content-length and the DATA must agree."""
        self._body_bytes += size
        declared = self.head.content_length or 0
        if self._body_bytes > declared or (end_stream and self._body_bytes != declared):
            raise StreamFault(self.stream_id, ErrorCode.PROTOCOL_ERROR)

    def _collect_unary(self, messages: list[bytes], end_stream: bool) -> None:
        if len(messages) + (self._message is not None) > 1:
            raise MessageFault(Code.INTERNAL, "grpc: more than one message for a unary method")
        if messages:
            self._message = messages[0]
        if end_stream:
            if self._message is None:
                raise MessageFault(Code.INTERNAL, "grpc: no message for a unary method")
            self._deliver_unary(self._message)

    def _deliver_unary(self, message: bytes) -> None:
        route = self.head.route
        if isinstance(route, Unary) and not self.local_closed:
            try:
                route.handler(self, message)
            except Exception:
                self._on_handler_bug()

    def _deliver_streaming(self, receiver: Receiver, messages: list[bytes], end_stream: bool) -> None:
        try:
            for message in messages:
                if self.local_closed:
                    return
                receiver.on_message(message)
            if end_stream and not self.local_closed:
                receiver.on_half_close()
        except Exception:
            self._on_handler_bug()

    def _on_handler_bug(self) -> None:
        logger.exception("handler of %s", self.head.path)
        self.fail(Code.UNKNOWN, "internal error in the handler; the server's log has it")

    def on_reset(self, code: int) -> None:
        """The client cancelled."""
        self._release()
        self._tell_cancelled()

    def on_connection_lost(self, text: str) -> None:
        """The client is gone."""
        self._release()
        self._tell_cancelled()

    def on_deadline(self) -> None:
        """The client's deadline passed; it knows already, the status is for tools that look."""
        if self._queue is not None:
            self._slot = None
            self.connection.reset(self, ErrorCode.CANCEL)
        else:
            self.fail(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
        self._tell_cancelled()

    def _tell_cancelled(self) -> None:
        self._count(Code.CANCELLED)
        receiver, self._receiver = self._receiver, None
        callback, self._cancel_callback = self._cancel_callback, None
        try:
            if receiver is not None:
                receiver.on_cancel()
            if callback is not None:
                callback()
        except Exception:
            logger.exception("cancellation of %s", self.head.path)


def _encode_metadata(metadata: Mapping[str, str | bytes]) -> bytes:
    return b"".join(
        encode_field(name.encode("ascii"), (encode_binary(value) if isinstance(value, bytes) else value).encode("utf-8"))
        for name, value in metadata.items()
    )
