"""The server's end of a connection, sans-IO: preface, request heads, new streams, graceful end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kvstore.rpc import frames
from kvstore.rpc.call import RESPONSE_HEAD, Call, RequestHead, Streaming, Unary
from kvstore.rpc.connection import Connection
from kvstore.rpc.deadlines import Deadlines
from kvstore.rpc.frames import ConnectionFault, ErrorCode, StreamFault
from kvstore.rpc.hpack_decoder import Fields
from kvstore.rpc.hpack_memo import HeaderMemo, encode_field, encode_fields
from kvstore.rpc.http1 import Http1Handler
from kvstore.rpc.limits import Limits
from kvstore.rpc.status import Code, decode_timeout, encode_message
from kvstore.rpc.web_exchange import WebExchange

Routes = Mapping[str, Unary | Streaming]

KNOWN_HEADS: Final = 1_024
KNOWN_HEAD_BYTES: Final = 1_024

_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_CONNECTION_SPECIFIC = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_NOT_METADATA = frozenset((b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding", b"content-length"))
_UPPER = frozenset(range(ord("A"), ord("Z") + 1))
_FORBIDDEN_IN_VALUE = frozenset(b"\0\r\n")


def is_well_formed(fields: Fields) -> bool:
    """RFC 9113, sections 8.2 and 8.3.1: names in lower case, pseudo fields known, once each, and first."""
    seen: set[bytes] = set()
    regular = False
    for name, value in fields:
        if not name or not _UPPER.isdisjoint(name) or not _FORBIDDEN_IN_VALUE.isdisjoint(value):
            return False
        if name[0] == 0x3A:
            if regular or name in seen or name not in _PSEUDO:
                return False
            seen.add(name)
        else:
            regular = True
            if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
                return False
    return {b":method", b":scheme", b":path"} <= seen


def _trailers_only(code: Code, text: str) -> bytes:
    status = encode_field(b"grpc-status", b"%d" % code)
    return RESPONSE_HEAD + status + encode_field(b"grpc-message", encode_message(text))


def _is_grpc(values: Mapping[bytes, bytes]) -> bool:
    content_type = values.get(b"content-type", b"")
    return content_type.startswith(b"application/grpc") and content_type[16:17] in (b"", b"+", b";")


def _refusal(routes: Routes, values: Mapping[bytes, bytes], path: str) -> bytes | None:
    """The answer to a request that no handler will see, or None."""
    if values[b":method"] != b"POST" and _is_grpc(values):
        return encode_fields(((b":status", b"405"), (b"allow", b"POST")))
    if not _is_grpc(values):
        return encode_fields(((b":status", b"415"),))
    timeout = values.get(b"grpc-timeout")
    if timeout is not None and decode_timeout(timeout.decode("latin-1")) is None:
        return _trailers_only(Code.INTERNAL, f"malformed grpc-timeout: {timeout.decode('latin-1')}")
    if path in routes:
        return None
    if path.count("/") < 2 or path[0] != "/":
        return _trailers_only(Code.UNIMPLEMENTED, f'malformed method name: "{path}"')
    service, _, method = path[1:].rpartition("/")
    if any(known.startswith(f"/{service}/") for known in routes):
        return _trailers_only(Code.UNIMPLEMENTED, f"unknown method {method} for service {service}")
    return _trailers_only(Code.UNIMPLEMENTED, f"unknown service {service}")


def interpret_request(routes: Routes, fields: Fields) -> RequestHead:
    """What a request's fields mean to a server with these routes."""
    if not is_well_formed(fields):
        return RequestHead("", None, {}, None, "", None, ErrorCode.PROTOCOL_ERROR)
    values = dict(fields)
    path = values[b":path"].decode("utf-8", "surrogateescape")
    metadata: dict[str, str] = {}
    for raw_name, raw_value in fields:
        if raw_name[0] == 0x3A or raw_name in _NOT_METADATA:
            continue
        name = raw_name.decode("latin-1")
        value = raw_value.decode("utf-8", "surrogateescape")
        metadata[name] = f"{metadata[name]},{value}" if name in metadata else value
    refusal = _refusal(routes, values, path)
    timeout = values.get(b"grpc-timeout")
    seconds = None if timeout is None else decode_timeout(timeout.decode("latin-1"))
    encoding = values.get(b"grpc-encoding", b"").decode("latin-1")
    length = values.get(b"content-length")
    if length is not None and not length.isdigit():
        return RequestHead(path, None, {}, None, "", None, ErrorCode.PROTOCOL_ERROR)
    web_method = ""
    if not _is_grpc(values):
        web_method = values[b":method"].decode("latin-1")
        metadata["content-type"] = values.get(b"content-type", b"").decode("latin-1")
    return RequestHead(
        path=path,
        route=routes.get(path),
        metadata=metadata,
        timeout_seconds=seconds,
        encoding=encoding,
        refusal=refusal,
        fault=None,
        content_length=None if length is None else int(length),
        web_method=web_method,
    )


class RequestHeads:
    """Fields -> RequestHead, remembered without the timeout, which differs from call to call. A server's connections share it."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._known: dict[Fields, RequestHead] = {}

    def interpret(self, fields: Fields) -> RequestHead:
        """What a request's fields mean."""
        position = next((index for index, field in enumerate(fields) if field[0] == b"grpc-timeout"), None)
        if position is None:
            return self._remembered(fields)
        head = self._remembered(fields[:position] + fields[position + 1 :])
        seconds = decode_timeout(fields[position][1].decode("latin-1"))
        pseudo_follows = fields[position + 1 : position + 2] and fields[position + 1][0][:1] == b":"
        if seconds is None or pseudo_follows or head.timeout_seconds is not None:
            return interpret_request(self._routes, fields)  # rare and odd: no short cut
        return RequestHead(
            head.path,
            head.route,
            head.metadata,
            seconds,
            head.encoding,
            head.refusal,
            head.fault,
            head.content_length,
            head.web_method,
        )

    def _remembered(self, fields: Fields) -> RequestHead:
        head = self._known.get(fields)
        if head is None:
            head = interpret_request(self._routes, fields)
            if len(self._known) >= KNOWN_HEADS:
                self._known.clear()
            if sum(len(name) + len(value) for name, value in fields) <= KNOWN_HEAD_BYTES:
                self._known[fields] = head
        return head


class ServerConnection(Connection):
    """Streams opened by the client become `Call`s."""

    def __init__(
        self,
        heads: RequestHeads,
        limits: Limits,
        clock: Callable[[], float],
        on_output: Callable[[], None],
        deadlines: Deadlines,
        peer: str = "",
        client_certificate: bytes | None = None,
        http1: Http1Handler | None = None,
    ) -> None:
        super().__init__(limits, clock, on_output)
        self._http1 = http1
        self.clock = clock
        self.deadlines = deadlines
        self.peer = peer
        self.client_certificate = client_certificate
        self._heads = HeaderMemo(heads.interpret, limits.header_list_bytes)
        self._known_heads = self._heads.memo
        self._preface = frames.PREFACE
        self._is_leaving = False
        self.announce_settings(
            {
                frames.SETTING_MAX_CONCURRENT_STREAMS: limits.concurrent_streams,
                frames.SETTING_INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                frames.SETTING_MAX_HEADER_LIST_SIZE: limits.header_list_bytes,
                frames.SETTING_MAX_FRAME_SIZE: limits.frame_bytes,
            }
        )

    def take_header_prefix(self) -> bytes:
        """What must stand at the start of the next header block (a table size update), once."""
        prefix = self.header_prefix
        if prefix:
            self.header_prefix = b""
        return prefix

    def _receive(self, data: bytes) -> None:
        if self._preface:
            expected = self._preface
            if not data.startswith(expected[: len(data)]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "bad connection preface")
            self._preface = expected[len(data) :]
            data = data[len(expected) :]
        super()._receive(data)

    def on_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """A request begins, or a client ends its stream with trailers."""
        head = self._known_heads.get(block) or self._heads.get(block)
        if stream_id <= self.last_stream_id:
            self._on_trailers(stream_id, end_stream)
            return
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients open streams with odd ids")
        self.last_stream_id = stream_id
        if head.fault is not None:
            raise StreamFault(stream_id, head.fault)
        if self._is_leaving or len(self.streams) >= self.limits.concurrent_streams:
            self.refuse(stream_id, ErrorCode.REFUSED_STREAM)
            return
        if head.web_method and self._http1 is not None:
            self._open(WebExchange(self, stream_id, head, self._http1), end_stream)
            return
        if head.refusal is not None:
            self._answer_at_once(stream_id, head.refusal, end_stream)
            return
        call = Call(self, stream_id, head)
        self._open(call, end_stream)

    def _open(self, call: Call | WebExchange, end_stream: bool) -> None:
        self.streams[call.stream_id] = call
        call.start()
        if end_stream:
            call.remote_closed = True
            call.on_data(b"", True)

    def _on_trailers(self, stream_id: int, end_stream: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            if not self.was_reset(stream_id):
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
            return
        if stream.remote_closed:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        if not end_stream:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR)
        stream.remote_closed = True
        stream.on_data(b"", True)

    def _answer_at_once(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        block = self.take_header_prefix() + block
        self.emit(frames.header_frames(stream_id, block, True, self.peer_frame_bytes))
        if not end_stream:
            self.refuse(stream_id, ErrorCode.NO_ERROR)

    def leave(self) -> None:
        """Take no new streams; those that run may end (GOAWAY)."""
        if not self._is_leaving and not self.is_closing:
            self._is_leaving = True
            self.emit(frames.goaway_frame(self.last_stream_id, ErrorCode.NO_ERROR, "server is stopping"))
