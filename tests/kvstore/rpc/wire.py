"""A hand-driven HTTP/2 peer of a sans-IO connection: frames in, frames out, time by hand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hpack import Decoder, Encoder

from kvstore.rpc import Call, Limits, RpcError, Streaming, Unary, frames
from kvstore.rpc.client_connection import ClientConnection
from kvstore.rpc.connection import Connection
from kvstore.rpc.deadlines import Deadlines, Slot
from kvstore.rpc.server_connection import RequestHeads, ServerConnection

REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/t/Echo"),
    (":authority", "here"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


@dataclass(frozen=True)
class Frame:
    """One frame as received."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """Error code of a RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == frames.GOAWAY else self.payload[:4], "big")


def parse(data: bytes) -> list[Frame]:
    """All frames of `data`, which must end at a frame's end."""
    found = []
    while data:
        high, low, kind, flags, stream_id = frames.FRAME_HEADER.unpack_from(data)
        end = 9 + (high << 8 | low)
        assert len(data) >= end, "output ends inside a frame"
        found.append(Frame(kind, flags, stream_id, data[9:end]))
        data = data[end:]
    return found


class EchoReceiver:
    """Streams: each message back; what happened in `log`."""

    def __init__(self, call: Call, log: list[str]) -> None:
        self.call = call
        self.log = log

    def on_message(self, message: bytes) -> None:
        self.log.append(f"message {len(message)}")
        self.call.send(message)

    def on_half_close(self) -> None:
        self.log.append("half-close")
        self.call.finish()

    def on_cancel(self) -> None:
        self.log.append("cancel")


class ServerWire:
    """A client's end, by hand, of a ServerConnection."""

    def __init__(self, limits: Limits | None = None, *, greet: bool = True) -> None:
        self.now = 0.0
        self.log: list[str] = []
        self.calls: list[Call] = []
        self.encoder = Encoder()
        self.decoder = Decoder()
        loop = asyncio.new_event_loop()
        self.deadlines = Deadlines(loop)
        loop.close()
        routes = {
            "/t/Echo": Unary(lambda call, message: call.reply(message)),
            "/t/Wait": Unary(self._wait),
            "/t/Stream": Streaming(self._stream),
        }
        heads = RequestHeads(routes)
        self.connection = ServerConnection(heads, limits or Limits(), lambda: self.now, lambda: None, self.deadlines)
        if greet:
            self.send(frames.PREFACE + frames.settings_frame({}))

    def _wait(self, call: Call, message: bytes) -> None:
        self.calls.append(call)
        call.on_cancel(lambda: self.log.append("cancel"))

    def _stream(self, call: Call) -> EchoReceiver:
        self.calls.append(call)
        return EchoReceiver(call, self.log)

    def send(self, data: bytes) -> list[Frame]:
        """Give bytes to the server; what it answers."""
        self.connection.receive(data)
        return parse(self.connection.take_output())

    def output(self) -> list[Frame]:
        """What the server wants to say by now."""
        return parse(self.connection.take_output())

    def block(self, *extra: tuple[str, str], path: str = "/t/Echo", without: str = "") -> bytes:
        """A request's header block."""
        fields = [(name, path if name == ":path" else value) for name, value in REQUEST if name != without]
        return self.encoder.encode([*fields, *extra])

    def headers(self, stream_id: int, *extra: tuple[str, str], path: str = "/t/Echo", end: bool = False) -> bytes:
        """A whole HEADERS frame of a request."""
        return frames.header_frames(stream_id, self.block(*extra, path=path), end, 16_384)

    def request(self, stream_id: int, message: bytes = b"hi", path: str = "/t/Echo") -> bytes:
        """A whole unary request."""
        return self.headers(stream_id, path=path) + data(stream_id, grpc(message), end=True)

    def alive(self, stream_id: int) -> bool:
        """Whether the connection still serves: one echo on a new stream."""
        answer = self.send(self.request(stream_id))
        return [frame.kind for frame in answer if frame.stream_id == stream_id] == [1, 0, 1]

    def fields(self, frame: Frame) -> dict[str, str]:
        """The decoded fields of a HEADERS frame (blocks must pass in order)."""
        return dict(self.decoder.decode(frame.payload))


def grpc(message: bytes) -> bytes:
    """A message with gRPC's prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def data(stream_id: int, payload: bytes, *, end: bool = False) -> bytes:
    """DATA frames."""
    parts = [payload[start : start + 16_384] for start in range(0, len(payload), 16_384)] or [b""]
    out = b"".join(frames.frame(frames.DATA, 0, stream_id, part) for part in parts[:-1])
    return out + frames.frame(frames.DATA, frames.END_STREAM if end else 0, stream_id, parts[-1])


def goaway(answer: list[Frame]) -> int | None:
    """The code of the GOAWAY in an answer, or None."""
    return next((frame.code for frame in answer if frame.kind == frames.GOAWAY), None)


def reset(answer: list[Frame], stream_id: int) -> int | None:
    """The code of the RST_STREAM of that stream, or None."""
    return next((f.code for f in answer if f.kind == frames.RST_STREAM and f.stream_id == stream_id), None)


@dataclass
class Outcome:
    """What a client's call heard."""

    messages: list[bytes] = field(default_factory=list)
    ended: bool = False
    error: RpcError | None = None

    def on_message(self, message: bytes) -> None:
        assert not self.ended
        self.messages.append(message)

    def on_end(self, error: RpcError | None) -> None:
        assert not self.ended
        self.ended = True
        self.error = error


class ClientWire:
    """A server's end, by hand, of a ClientConnection."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = 0.0
        self.encoder = Encoder()
        slot: Slot = {}
        add: Callable[..., Slot] = lambda call, deadline: slot  # noqa: E731
        self.connection = ClientConnection(limits or Limits(), lambda: self.now, lambda: None, add)
        hello = self.connection.take_output()
        assert hello.startswith(frames.PREFACE)
        self.hello = parse(hello[len(frames.PREFACE) :])
        self.send(frames.settings_frame({}))

    def send(self, data: bytes) -> list[Frame]:
        """Give bytes to the client; what it answers."""
        self.connection.receive(data)
        return parse(self.connection.take_output())

    def call(self, message: bytes | None = b"hi") -> Outcome:
        """Open a call."""
        outcome = Outcome()
        self.connection.open(b"\x83", outcome, message)
        return outcome

    def head(self, stream_id: int, *fields: tuple[str, str], end: bool = False) -> bytes:
        """A header block as frames."""
        return frames.header_frames(stream_id, self.encoder.encode(fields), end, 16_384)

    def answer(self, stream_id: int, message: bytes) -> bytes:
        """A whole OK answer."""
        return (
            self.head(stream_id, (":status", "200"), ("content-type", "application/grpc"))
            + data(stream_id, grpc(message))
            + self.head(stream_id, ("grpc-status", "0"), end=True)
        )


def output_of(connection: Connection) -> list[Frame]:
    """What a connection wants to say."""
    return parse(connection.take_output())
