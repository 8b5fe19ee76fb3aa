"""Peers that cost us more than themselves are bounded, and told to be calm."""

from collections.abc import Callable

import pytest

from kvstore.rpc import Limits, frames
from kvstore.rpc.frames import ErrorCode, frame
from tests.kvstore.rpc.wire import ServerWire, data, goaway, grpc, reset

LIMITS = Limits(resets_per_second=50, control_frames_per_second=50, header_list_bytes=4_096, unfinished_bytes=300_000)


def rapid_reset(wire: ServerWire, index: int) -> bytes:
    stream_id = 1 + 2 * index
    return wire.request(stream_id, path="/t/Wait") + frames.rst_stream_frame(stream_id, ErrorCode.CANCEL)


def made_you_reset(wire: ServerWire, index: int) -> bytes:
    stream_id = 1 + 2 * index
    return wire.request(stream_id, path="/t/Wait") + frame(frames.WINDOW_UPDATE, 0, stream_id, b"\0\0\0\0")


FLOODS: dict[str, Callable[[ServerWire, int], bytes]] = {
    "ping": lambda wire, index: frame(frames.PING, 0, 0, b"abcdefgh"),
    "settings": lambda wire, index: frames.settings_frame({}),
    "settings ack": lambda wire, index: frame(frames.SETTINGS, frames.ACK, 0),
    "priority": lambda wire, index: frame(frames.PRIORITY, 0, 1, b"\0\0\0\3\x10"),
    "unknown frame": lambda wire, index: frame(0x33, 0, 0, b"x"),
    "goaway": lambda wire, index: frames.goaway_frame(0, 0),
    "empty data": lambda wire, index: wire.headers(1, path="/t/Stream") if index == 0 else data(1, b""),
    "padded empty data": lambda wire, index: (
        wire.headers(1, path="/t/Stream") if index == 0 else frame(frames.DATA, frames.PADDED, 1, b"\x01\0")
    ),
    "rapid reset": rapid_reset,
    "made you reset": made_you_reset,
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_the_connection_soon(name: str) -> None:
    wire = ServerWire(LIMITS)
    wire.output()
    for index in range(200):
        answer = wire.send(FLOODS[name](wire, index))
        if goaway(answer) is not None:
            break
    assert goaway(answer) == ErrorCode.ENHANCE_YOUR_CALM
    assert 90 <= index <= 110
    assert wire.connection.streams == {}


@pytest.mark.parametrize("name", [name for name in FLOODS if "data" not in name])
def test_the_same_frames_at_a_decent_pace_are_fine(name: str) -> None:
    wire = ServerWire(LIMITS)
    wire.output()
    for index in range(400):
        wire.now += 0.05
        assert goaway(wire.send(FLOODS[name](wire, index))) is None
    assert wire.alive(2_001)


def test_an_endless_header_block_is_cut_by_its_size() -> None:
    wire = ServerWire(LIMITS)
    wire.send(frame(frames.HEADERS, 0, 1, wire.block()))
    answer = wire.send(frame(frames.CONTINUATION, 0, 1, b"\0" * 5_000))
    assert goaway(answer) == ErrorCode.ENHANCE_YOUR_CALM


def test_an_endless_header_block_is_cut_by_its_pieces() -> None:
    wire = ServerWire(LIMITS)
    wire.send(frame(frames.HEADERS, 0, 1, wire.block()))
    answer = wire.send(frame(frames.CONTINUATION, 0, 1, b"") * (LIMITS.continuation_frames + 1))
    assert goaway(answer) == ErrorCode.ENHANCE_YOUR_CALM


def test_a_header_bomb_is_not_unpacked() -> None:
    wire = ServerWire(LIMITS)
    insert = b"\x40\x01a" + b"\x7f\xd1\x0e" + b"v" * 2_000  # one large entry, then named again and again
    assert goaway(wire.send(frame(frames.HEADERS, frames.END_HEADERS, 1, wire.block() + insert))) is None
    assert goaway(wire.send(frame(frames.HEADERS, frames.END_HEADERS, 3, b"\xbe" * 10_000))) == ErrorCode.COMPRESSION_ERROR


def test_half_messages_on_many_streams_are_bounded_together() -> None:
    wire = ServerWire(LIMITS)
    prefix = b"\0" + (100_000).to_bytes(4, "big")
    for stream_id in (1, 3, 5):
        assert reset(wire.send(wire.headers(stream_id) + data(stream_id, prefix + b"x" * 90_000)), stream_id) is None
    answer = wire.send(wire.headers(7) + data(7, prefix + b"x" * 90_000))
    assert reset(answer, 7) == ErrorCode.NO_ERROR
    assert wire.connection.unfinished_bytes <= 300_000
    assert [f.kind for f in wire.send(data(1, b"x" * 10_000, end=True))][:1] == [frames.HEADERS]  # the others live
    for stream_id in (3, 5):
        wire.send(frames.rst_stream_frame(stream_id, ErrorCode.CANCEL))
    assert wire.connection.unfinished_bytes == 0


def test_a_peer_that_takes_no_answers_holds_no_more_than_its_streams() -> None:
    wire = ServerWire(Limits(concurrent_streams=10))
    wire.send(frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 0}))
    for index in range(100):
        wire.send(wire.request(1 + 2 * index, b"x" * 1_000))
    waiting = sum(stream.pending_bytes for stream in wire.connection.streams.values())
    assert len(wire.connection.streams) == 10
    assert waiting == 10 * len(grpc(b"x" * 1_000))
    wire.connection.receive(frames.rst_stream_frame(1, 8))
    assert len(wire.connection.streams) == 9


def test_a_window_opened_byte_by_byte_is_served_byte_by_byte() -> None:
    wire = ServerWire(greet=False)
    wire.send(frames.PREFACE + frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 0}))
    wire.send(wire.request(1, b"abc"))
    got = b"".join(f.payload for _ in range(8) for f in wire.send(frames.window_update_frame(1, 1)) if f.kind == 0)
    assert got == grpc(b"abc")
