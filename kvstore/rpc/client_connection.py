"""The client's end of a connection, sans-IO: calls as streams that we open, and what their answers mean."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from kvstore.rpc import frames
from kvstore.rpc.connection import Connection
from kvstore.rpc.deadlines import Slot
from kvstore.rpc.frames import ConnectionFault, ErrorCode, StreamFault
from kvstore.rpc.hpack_decoder import Fields
from kvstore.rpc.hpack_memo import HeaderMemo
from kvstore.rpc.limits import Limits
from kvstore.rpc.messages import PREFIX_BYTES, Assembler, MessageFault
from kvstore.rpc.status import HTTP_STATUS_TO_CODE, Code, RpcError, decode_message
from kvstore.rpc.streams import Stream

logger = logging.getLogger("kvstore.rpc")

_RESET_CODES: Final[Mapping[int, Code]] = {
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
_RESERVED: Final = frozenset((b"content-type", b"grpc-encoding", b"grpc-accept-encoding", b"grpc-status", b"grpc-message"))


class CallReceiver(Protocol):
    """What hears of a call that we made. Called from the loop, `on_end` exactly once and last."""

    def on_message(self, message: bytes) -> None:
        """One whole message."""

    def on_end(self, error: RpcError | None) -> None:
        """The call ended; None is OK."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What a response's header block (head or trailers) means. Shared by calls: read only."""

    http_status: str
    is_grpc: bool
    encoding: str
    status: int | None
    text: str
    metadata: dict[str, str]


def interpret_response(fields: Fields) -> ResponseHead:
    """What a response's fields mean; nothing is refused here."""
    values = dict(fields)
    metadata: dict[str, str] = {}
    for raw_name, raw_value in fields:
        if raw_name[:1] == b":" or raw_name in _RESERVED:
            continue
        name = raw_name.decode("latin-1")
        value = raw_value.decode("utf-8", "surrogateescape")
        metadata[name] = f"{metadata[name]},{value}" if name in metadata else value
    status = values.get(b"grpc-status")
    return ResponseHead(
        http_status=values.get(b":status", b"").decode("latin-1"),
        is_grpc=values.get(b"content-type", b"").startswith(b"application/grpc"),
        encoding=values.get(b"grpc-encoding", b"").decode("latin-1"),
        status=None if status is None else int(status) if status.isdigit() else int(Code.UNKNOWN),
        text=decode_message(values.get(b"grpc-message", b"").decode("latin-1")),
        metadata=metadata,
    )


class ClientCall(Stream):
    """One call that we made."""

    __slots__ = ("_assembler", "_client", "_head", "_receiver", "_slot")

    def __init__(self, connection: ClientConnection, stream_id: int, receiver: CallReceiver) -> None:
        super().__init__(connection, stream_id)
        self._client = connection
        self._receiver: CallReceiver | None = receiver
        self._assembler: Assembler | None = None
        self._head: ResponseHead | None = None
        self._slot: Slot | None = None

    def send(self, message: bytes) -> None:
        """Send one message."""
        if not self.local_closed and self._trailers is None:
            self.write(b"\0" + len(message).to_bytes(4, "big") + message)

    def half_close(self) -> None:
        """Send no more messages."""
        if not self.local_closed and self._trailers is None:
            self.write(b"", True)

    def cancel(self, code: Code = Code.CANCELLED, text: str = "the caller cancelled the call") -> None:
        """End the call now; the receiver hears of it (once)."""
        if self._receiver is not None:
            if not (self.remote_closed and self.local_closed):
                self.connection.reset(self, ErrorCode.CANCEL)
            self.end(RpcError(code, text))

    def set_deadline(self, deadline: float) -> None:
        """End the call with DeadlineExceeded when the loop's time passes `deadline`."""
        self._slot = self._client.add_deadline(self, deadline)

    def on_deadline(self) -> None:
        """The deadline passed."""
        self._slot = None
        self.cancel(Code.DEADLINE_EXCEEDED, "context deadline exceeded")

    def end(self, error: RpcError | None) -> None:
        """Tell the receiver, once."""
        receiver, self._receiver = self._receiver, None
        if self._slot is not None:
            self._slot.pop(self, None)
            self._slot = None
        if receiver is not None:
            try:
                receiver.on_end(error)
            except Exception:
                logger.exception("the receiver of a call raised at its end")
            self._client.on_call_ended()

    def on_head(self, head: ResponseHead, end_stream: bool) -> None:
        """A header block: informational, the response's head, or its trailers."""
        if self._head is None and not end_stream:
            if head.http_status[:1] == "1":
                return
            self._head = head
            if head.http_status != "200" or not head.is_grpc:
                self._fail(self._http_error(head))
            return
        if not end_stream:
            raise StreamFault(self.stream_id, ErrorCode.PROTOCOL_ERROR)
        self.remote_closed = True
        if self.local_closed:
            self.connection.forget(self)
        else:
            self.connection.reset(self, ErrorCode.NO_ERROR)  # the server wants no more of us
        if head.status is None:
            self.end(self._http_error(head if self._head is None else self._head))
        elif head.status:
            self.end(RpcError(head.status, head.text, head.metadata))
        elif self._assembler is not None and not self._assembler.is_empty:
            self.end(RpcError(Code.INTERNAL, "the stream ended inside a message"))
        else:
            self.end(None)

    @staticmethod
    def _http_error(head: ResponseHead) -> RpcError:
        if head.http_status == "200":
            return RpcError(Code.UNKNOWN if not head.is_grpc else Code.INTERNAL, "the server sent no grpc-status")
        code = HTTP_STATUS_TO_CODE.get(head.http_status, Code.UNKNOWN)
        return RpcError(code, f"unexpected HTTP status {head.http_status} of the server")

    def _fail(self, error: RpcError) -> None:
        self.connection.reset(self, ErrorCode.CANCEL)
        self.end(error)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """Cut messages and hand them over."""
        receiver = self._receiver
        if receiver is None:
            return
        if self._head is None:
            raise StreamFault(self.stream_id, ErrorCode.PROTOCOL_ERROR)
        assembler = self._assembler
        if (
            assembler is None
            and len(data) >= PREFIX_BYTES
            and data[0] == 0
            and int.from_bytes(data[1:PREFIX_BYTES], "big") == len(data) - PREFIX_BYTES <= self.connection.limits.message_bytes
        ):
            self._deliver(receiver, data[PREFIX_BYTES:])
        else:
            if assembler is None:
                assembler = self._assembler = Assembler(self.connection.limits.message_bytes, self._head.encoding)
            try:
                for message in assembler.feed(data):
                    if self._receiver is not None:
                        self._deliver(self._receiver, message)
            except MessageFault as fault:
                self._fail(RpcError(fault.code, fault.text))
                return
            if assembler.is_empty:
                self._assembler = None
        if end_stream and self._receiver is not None:
            self._fail(RpcError(Code.INTERNAL, "the server ended the stream without trailers"))

    def _deliver(self, receiver: CallReceiver, message: bytes) -> None:
        try:
            receiver.on_message(message)
        except Exception:  # a message that the receiver cannot read must not end the connection of all the other calls
            logger.exception("the receiver of a call refused a message")
            self._fail(RpcError(Code.INTERNAL, "the receiver of the call refused a message"))

    def on_reset(self, code: int) -> None:
        """The server reset the stream."""
        if code == ErrorCode.NO_ERROR:
            text = "the server ended the stream without trailers"
        else:
            name = ErrorCode(code).name if code in ErrorCode._value2member_map_ else str(code)
            text = f"stream terminated by RST_STREAM with error code: {name}"
        self.end(RpcError(_RESET_CODES.get(code, Code.INTERNAL), text, sent=code != ErrorCode.REFUSED_STREAM))

    def on_connection_lost(self, text: str) -> None:
        """The connection ended under the call."""
        self.end(RpcError(Code.UNAVAILABLE, text))

    def on_not_processed(self, text: str) -> None:
        """GOAWAY says that the server never saw this call."""
        self.drop_output()
        self.remote_closed = True
        self.connection.forget(self)
        self.end(RpcError(Code.UNAVAILABLE, text, sent=False))


class ClientConnection(Connection):
    """Streams opened by us. `add_deadline` is the owner's Deadlines.add; `on_idle` is told when a leaving connection is empty."""

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float],
        on_output: Callable[[], None],
        add_deadline: Callable[[ClientCall, float], Slot],
    ) -> None:
        super().__init__(limits, clock, on_output)
        self.add_deadline = add_deadline
        self.is_leaving = False
        self.activity = 0  # frames of answers seen, for the keep-alive
        self.waiting: deque[Callable[[], None]] = deque()  # calls beyond the peer's limit of concurrent streams
        self._heads = HeaderMemo(interpret_response, limits.header_list_bytes)
        self._known_heads = self._heads.memo
        self._next_stream_id = 1
        self._is_draining = False
        self.emit(frames.PREFACE)
        self.announce_settings(
            {
                frames.SETTING_ENABLE_PUSH: 0,
                frames.SETTING_INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                frames.SETTING_MAX_FRAME_SIZE: limits.frame_bytes,
                frames.SETTING_MAX_HEADER_LIST_SIZE: limits.header_list_bytes,
            }
        )

    @property
    def is_usable(self) -> bool:
        """Whether new calls may be opened."""
        return not (self.is_leaving or self.is_closing)

    @property
    def has_room(self) -> bool:
        """Whether the server takes one more stream now."""
        return len(self.streams) < self.peer_concurrent_streams

    def open(self, block: bytes, receiver: CallReceiver, message: bytes | None = None) -> ClientCall:
        """Open a stream: its head, and for unary calls the one message with END_STREAM. The caller checked `is_usable`."""
        stream_id = self._next_stream_id
        self._next_stream_id = stream_id + 2
        if stream_id >= frames.STREAM_ID_MASK - 2:
            self.is_leaving = True
        self.last_stream_id = stream_id
        call = ClientCall(self, stream_id, receiver)
        self.streams[stream_id] = call
        if self.header_prefix:
            block, self.header_prefix = self.header_prefix + block, b""
        self.emit(frames.header_frames(stream_id, block, False, self.peer_frame_bytes))
        if message is not None:
            call.write(b"\0" + len(message).to_bytes(4, "big") + message, True)
        return call

    def on_call_ended(self) -> None:
        """A stream became free."""
        if self.waiting and not self._is_draining:
            self._is_draining = True
            try:
                while self.waiting and (self.has_room or not self.is_usable):
                    self.waiting.popleft()()
            finally:
                self._is_draining = False

    def on_settings_applied(self) -> None:
        """The server may take more streams now."""
        self.on_call_ended()

    def on_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """A response's head or trailers."""
        head = self._known_heads.get(block) or self._heads.get(block)
        self.activity += 1
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id) or not stream_id & 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on an idle stream")
            return
        assert isinstance(stream, ClientCall)
        if stream.remote_closed:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        stream.on_head(head, end_stream)

    def on_goaway(self, last_stream_id: int, code: int, text: str) -> None:
        """New calls need another connection; those above the mark never reached the server."""
        self.is_leaving = True
        reason = f"the server is going away: {text or code}"
        for stream_id, stream in list(self.streams.items()):
            if stream_id > last_stream_id and isinstance(stream, ClientCall):
                stream.on_not_processed(reason)
        self.on_call_ended()
