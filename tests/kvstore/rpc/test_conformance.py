"""RFC 9113 section by section: what a server must do with each kind of peer.  Sans-IO: no sockets, no clock."""

import pytest

from kvstore.rpc import Limits, frames
from kvstore.rpc.frames import ErrorCode, frame
from tests.kvstore.rpc.wire import ServerWire, data, goaway, grpc, reset


@pytest.fixture
def wire() -> ServerWire:
    return ServerWire()


# Section 3.4: the preface.


def test_3_4_the_first_thing_we_send_is_settings() -> None:
    wire = ServerWire(greet=False)
    first = wire.output()[0]
    assert (first.kind, first.flags, first.stream_id) == (frames.SETTINGS, 0, 0)


def test_3_4_a_bad_preface_ends_the_connection() -> None:
    wire = ServerWire(greet=False)
    assert goaway(wire.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")) == ErrorCode.PROTOCOL_ERROR
    assert wire.connection.is_closing


def test_3_4_the_preface_may_arrive_byte_by_byte() -> None:
    wire = ServerWire(greet=False)
    wire.output()
    for byte in frames.PREFACE + frames.settings_frame({}):
        wire.send(bytes([byte]))
    assert wire.alive(1)


def test_3_4_a_preface_without_settings_ends_the_connection() -> None:
    wire = ServerWire(greet=False)
    assert goaway(wire.send(frames.PREFACE + frame(frames.PING, 0, 0, b"8 bytes!"))) == ErrorCode.PROTOCOL_ERROR


# Section 4: frames and header blocks.


def test_4_1_unknown_frame_types_and_flags_are_ignored(wire: ServerWire) -> None:
    assert wire.send(frame(0x16, 0xFF, 3, b"whatever")) == []
    assert wire.send(frame(frames.PING, 0xFE, 0, b"8 bytes!"))[0].payload == b"8 bytes!"
    assert wire.alive(1)


def test_4_1_the_reserved_bit_of_a_stream_id_is_ignored(wire: ServerWire) -> None:
    assert wire.send(frame(frames.PING, 0, 0x80000000, b"8 bytes!"))[0].flags == frames.ACK


def test_4_2_a_frame_above_the_limit_is_a_frame_size_error_before_it_arrives(wire: ServerWire) -> None:
    assert goaway(wire.send(frames.FRAME_HEADER.pack(0, 0xFF, 0, 0, 1) + b"x")) is None
    wire = ServerWire()
    assert goaway(wire.send(b"\x00\x40\x01\x00\x00\x00\x00\x00\x01")) == ErrorCode.FRAME_SIZE_ERROR


def test_4_2_a_frame_of_exactly_the_limit_is_taken(wire: ServerWire) -> None:
    wire.send(wire.headers(1))
    assert goaway(wire.send(data(1, grpc(b"x" * 16_379), end=True))) is None


def test_4_3_a_broken_header_block_is_a_compression_error(wire: ServerWire) -> None:
    answer = wire.send(frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, b"\xff\xff\xff\xff\xff\xff"))
    assert goaway(answer) == ErrorCode.COMPRESSION_ERROR


# Section 5.1: stream states.


def test_5_1_data_on_an_idle_stream_is_a_protocol_error(wire: ServerWire) -> None:
    assert goaway(wire.send(data(1, b"x"))) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("kind", [frames.RST_STREAM, frames.WINDOW_UPDATE])
def test_5_1_reset_and_window_update_on_an_idle_stream_are_protocol_errors(wire: ServerWire, kind: int) -> None:
    assert goaway(wire.send(frame(kind, 0, 1, b"\0\0\0\1"))) == ErrorCode.PROTOCOL_ERROR


def test_5_1_data_after_the_end_of_the_stream_is_stream_closed(wire: ServerWire) -> None:
    wire.send(wire.request(1, path="/t/Wait"))
    assert reset(wire.send(data(1, b"x")), 1) == ErrorCode.STREAM_CLOSED
    assert wire.log == ["cancel"]
    assert wire.alive(3)


def test_5_1_data_on_a_stream_that_is_over_is_stream_closed(wire: ServerWire) -> None:
    wire.send(wire.request(1))
    assert reset(wire.send(data(1, b"x")), 1) == ErrorCode.STREAM_CLOSED
    assert wire.alive(3)


def test_5_1_headers_on_a_stream_that_is_over_end_the_connection(wire: ServerWire) -> None:
    wire.send(wire.request(1))
    assert goaway(wire.send(wire.headers(1))) == ErrorCode.STREAM_CLOSED


def test_5_1_second_headers_without_end_of_stream_are_a_stream_error(wire: ServerWire) -> None:
    wire.send(wire.headers(1))
    assert reset(wire.send(wire.headers(1)), 1) == ErrorCode.PROTOCOL_ERROR
    assert wire.alive(3)


def test_5_1_frames_after_our_own_reset_are_swallowed(wire: ServerWire) -> None:
    answer = wire.send(wire.headers(1, path="/t/None"))
    assert reset(answer, 1) == ErrorCode.NO_ERROR
    assert wire.send(data(1, b"late") + wire.headers(1, end=True) + frames.rst_stream_frame(1, 8)) == []
    assert wire.alive(3)


def test_5_1_window_updates_and_priorities_on_a_closed_stream_are_ignored(wire: ServerWire) -> None:
    wire.send(wire.request(1))
    assert wire.send(frames.window_update_frame(1, 5) + frame(frames.PRIORITY, 0, 1, b"\0\0\0\3\x10")) == []
    assert wire.alive(3)


def test_5_1_1_even_ids_are_not_the_clients(wire: ServerWire) -> None:
    assert goaway(wire.send(wire.headers(2))) == ErrorCode.PROTOCOL_ERROR


def test_5_1_1_ids_must_grow(wire: ServerWire) -> None:
    wire.send(wire.request(5))
    assert goaway(wire.send(wire.headers(3))) == ErrorCode.STREAM_CLOSED


def test_5_1_1_skipped_ids_are_fine_and_closed(wire: ServerWire) -> None:
    wire.send(wire.request(101))
    assert reset(wire.send(data(7, b"x")), 7) == ErrorCode.STREAM_CLOSED
    assert wire.alive(103)


def test_5_1_2_streams_above_the_limit_are_refused_and_may_come_again() -> None:
    wire = ServerWire(Limits(concurrent_streams=2))
    wire.send(wire.request(1, path="/t/Wait") + wire.request(3, path="/t/Wait"))
    assert reset(wire.send(wire.request(5)), 5) == ErrorCode.REFUSED_STREAM
    wire.calls[0].reply(b"")
    wire.output()
    assert wire.alive(7)


# Section 5.2 and 6.9: flow control.


def test_5_2_answers_stop_at_the_streams_window_and_go_on_with_it() -> None:
    wire = ServerWire(greet=False)
    wire.send(frames.PREFACE + frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 10}))
    first = wire.send(wire.request(1, b"x" * 25))
    assert [(f.kind, len(f.payload)) for f in first[1:]] == [(frames.DATA, 10)]
    assert wire.connection.streams[1].pending_bytes == 20
    assert [len(f.payload) for f in wire.send(frames.window_update_frame(1, 15))] == [15]
    rest = wire.send(frames.window_update_frame(1, 100))
    assert [(f.kind, len(f.payload)) for f in rest][:1] == [(frames.DATA, 5)]
    assert (rest[-1].kind, rest[-1].flags & frames.END_STREAM) == (frames.HEADERS, 1)


def test_5_2_answers_stop_at_the_connections_window_and_share_it() -> None:
    wire = ServerWire()
    sent = wire.send(wire.request(1, b"x" * 60_000) + wire.request(3, b"y" * 60_000))
    assert sum(len(f.payload) for f in sent if f.kind == frames.DATA) == 65_535
    more = wire.send(frames.window_update_frame(0, 10_000) + frames.window_update_frame(0, 60_000))
    assert sum(len(f.payload) for f in more if f.kind == frames.DATA) == 120_010 - 65_535
    assert {f.stream_id for f in more if f.flags & frames.END_STREAM and f.kind == frames.HEADERS} == {1, 3} - {
        f.stream_id for f in sent if f.flags & frames.END_STREAM and f.kind == frames.HEADERS
    }


def test_6_9_2_a_smaller_initial_window_makes_windows_negative(wire: ServerWire) -> None:
    wire.send(wire.headers(1, path="/t/Stream"))
    wire.send(data(1, grpc(b"x" * 1_000)))
    wire.send(frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 500}))
    assert wire.connection.streams[1].send_window == 500 - 1_005
    assert wire.send(data(1, grpc(b"y"))) == []
    assert wire.send(frames.window_update_frame(1, 505)) == []
    assert [len(f.payload) for f in wire.send(frames.window_update_frame(1, 6))] == [6]


def test_6_9_2_a_larger_initial_window_moves_what_waits() -> None:
    wire = ServerWire(greet=False)
    wire.send(frames.PREFACE + frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 0}))
    assert [f.kind for f in wire.send(wire.request(1))] == [frames.HEADERS]
    answer = wire.send(frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 100}))
    assert [f.kind for f in answer] == [frames.SETTINGS, frames.DATA, frames.HEADERS]


def test_6_9_1_data_above_the_streams_window_is_a_flow_control_error() -> None:
    wire = ServerWire(Limits(stream_window_bytes=1_000))
    wire.send(wire.headers(1, path="/t/Stream"))
    wire.calls[0].hold()
    wire.send(data(1, grpc(b"x" * 995)))
    assert reset(wire.send(data(1, b"y")), 1) == ErrorCode.FLOW_CONTROL_ERROR
    assert wire.log == ["message 995", "cancel"]
    assert wire.alive(3)


def test_6_9_1_padding_counts_against_the_window() -> None:
    wire = ServerWire(Limits(stream_window_bytes=200))
    wire.send(wire.headers(1, path="/t/Stream"))
    wire.calls[0].hold()
    padded = frame(frames.DATA, frames.PADDED, 1, b"\x64" + b"\0" * 100)
    assert reset(wire.send(padded), 1) is None
    assert reset(wire.send(padded), 1) == ErrorCode.FLOW_CONTROL_ERROR


def test_6_9_window_is_given_back_while_data_is_taken() -> None:
    wire = ServerWire(Limits(stream_window_bytes=1_000, connection_window_bytes=70_000))
    wire.send(wire.headers(1, path="/t/Stream"))
    given = {0: 0, 1: 0}
    for _ in range(200):
        for f in wire.send(data(1, grpc(b"x" * 495)) + frames.window_update_frame(1, 500) + frames.window_update_frame(0, 500)):
            if f.kind == frames.WINDOW_UPDATE:
                given[f.stream_id] += int.from_bytes(f.payload, "big")
    assert given[1] >= 100_000 - 1_000
    assert given[0] >= 100_000 - 70_000


@pytest.mark.parametrize("stream_id", [0, 1])
def test_6_9_an_increment_of_zero_is_an_error(wire: ServerWire, stream_id: int) -> None:
    wire.send(wire.headers(1))
    answer = wire.send(frame(frames.WINDOW_UPDATE, 0, stream_id, b"\0\0\0\0"))
    assert (goaway(answer) if stream_id == 0 else reset(answer, 1)) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("stream_id", [0, 1])
def test_6_9_1_a_window_must_not_overflow(wire: ServerWire, stream_id: int) -> None:
    wire.send(wire.headers(1))
    answer = wire.send(frames.window_update_frame(stream_id, 2**31 - 1))
    assert (goaway(answer) if stream_id == 0 else reset(answer, 1)) == ErrorCode.FLOW_CONTROL_ERROR


def test_6_9_2_settings_must_not_overflow_a_window(wire: ServerWire) -> None:
    wire.send(wire.headers(1) + frames.window_update_frame(1, 2**31 - 1 - 65_535))
    answer = wire.send(frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 65_536}))
    assert goaway(answer) == ErrorCode.FLOW_CONTROL_ERROR


def test_6_9_a_window_update_of_the_wrong_size_is_a_frame_size_error(wire: ServerWire) -> None:
    assert goaway(wire.send(frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\1"))) == ErrorCode.FRAME_SIZE_ERROR


# Sections 6.1 to 6.8: the frame types.


def test_6_1_data_on_stream_0_is_a_protocol_error(wire: ServerWire) -> None:
    assert goaway(wire.send(data(0, b"x"))) == ErrorCode.PROTOCOL_ERROR


def test_6_1_padding_is_removed_from_data(wire: ServerWire) -> None:
    wire.send(wire.headers(1))
    body = grpc(b"padded")
    answer = wire.send(frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\x07" + body + b"\0" * 7))
    assert answer[1].payload == body


def test_6_1_padding_longer_than_the_frame_is_a_protocol_error(wire: ServerWire) -> None:
    wire.send(wire.headers(1))
    assert goaway(wire.send(frame(frames.DATA, frames.PADDED, 1, b"\x05abcd"))) == ErrorCode.PROTOCOL_ERROR


def test_6_1_a_padded_frame_needs_its_pad_length(wire: ServerWire) -> None:
    wire.send(wire.headers(1))
    assert goaway(wire.send(frame(frames.DATA, frames.PADDED, 1))) == ErrorCode.FRAME_SIZE_ERROR


def test_6_2_headers_on_stream_0_are_a_protocol_error(wire: ServerWire) -> None:
    assert goaway(wire.send(wire.headers(0))) == ErrorCode.PROTOCOL_ERROR


def test_6_2_padding_and_priority_are_removed_from_headers(wire: ServerWire) -> None:
    block = wire.block()
    flags = frames.END_HEADERS | frames.PADDED | frames.HAS_PRIORITY
    wire.send(frame(frames.HEADERS, flags, 1, b"\x03" + b"\0\0\0\0\x0f" + block + b"\0\0\0"))
    assert [f.kind for f in wire.send(data(1, grpc(b""), end=True))] == [1, 0, 1]


def test_6_2_headers_too_short_for_their_priority_are_a_frame_size_error(wire: ServerWire) -> None:
    answer = wire.send(frame(frames.HEADERS, frames.END_HEADERS | frames.HAS_PRIORITY, 1, b"\0\0\0"))
    assert goaway(answer) == ErrorCode.FRAME_SIZE_ERROR


def test_6_3_priority_is_checked_and_otherwise_ignored(wire: ServerWire) -> None:
    assert wire.send(frame(frames.PRIORITY, 0, 1, b"\0\0\0\3\x10")) == []
    assert reset(wire.send(frame(frames.PRIORITY, 0, 1, b"\0\0\0\3")), 1) == ErrorCode.FRAME_SIZE_ERROR
    assert goaway(wire.send(frame(frames.PRIORITY, 0, 0, b"\0\0\0\3\x10"))) == ErrorCode.PROTOCOL_ERROR


def test_6_4_a_reset_cancels_the_call(wire: ServerWire) -> None:
    wire.send(wire.request(1, path="/t/Wait") + frames.rst_stream_frame(1, ErrorCode.CANCEL))
    assert wire.log == ["cancel"]
    wire.calls[0].reply(b"nobody listens")
    assert wire.output() == []


def test_6_4_reset_of_stream_0_or_of_the_wrong_size_ends_the_connection() -> None:
    assert goaway(ServerWire().send(frames.rst_stream_frame(0, 8))) == ErrorCode.PROTOCOL_ERROR
    wire = ServerWire()
    assert goaway(wire.send(wire.headers(1) + frame(frames.RST_STREAM, 0, 1, b"\0\0\0"))) == ErrorCode.FRAME_SIZE_ERROR


def test_6_5_settings_are_acknowledged_and_unknown_ones_ignored(wire: ServerWire) -> None:
    answer = wire.send(frames.settings_frame({0x99: 5, frames.SETTING_ENABLE_PUSH: 0}))
    assert [(f.kind, f.flags, f.payload) for f in answer] == [(frames.SETTINGS, frames.ACK, b"")]
    assert wire.send(frame(frames.SETTINGS, frames.ACK, 0)) == []


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.SETTINGS, frames.ACK, 0, b"\0" * 6), ErrorCode.FRAME_SIZE_ERROR),
        (frame(frames.SETTINGS, 0, 0, b"\0" * 5), ErrorCode.FRAME_SIZE_ERROR),
        (frames.settings_frame({frames.SETTING_ENABLE_PUSH: 2}), ErrorCode.PROTOCOL_ERROR),
        (frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: 2**31}), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.settings_frame({frames.SETTING_MAX_FRAME_SIZE: 16_383}), ErrorCode.PROTOCOL_ERROR),
        (frames.settings_frame({frames.SETTING_MAX_FRAME_SIZE: 2**24}), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_6_5_bad_settings_end_the_connection(wire: ServerWire, bad: bytes, code: ErrorCode) -> None:
    assert goaway(wire.send(bad)) == code


def test_6_5_2_a_smaller_header_table_is_acknowledged_in_the_next_block(wire: ServerWire) -> None:
    wire.decoder.header_table_size = 4_096
    wire.send(frames.settings_frame({frames.SETTING_HEADER_TABLE_SIZE: 0}))
    wire.decoder.max_allowed_table_size = 0
    answer = wire.send(wire.request(1))
    assert answer[0].payload[0] == 0x20
    assert wire.fields(answer[0])[":status"] == "200"
    assert wire.fields(answer[2])["grpc-status"] == "0"


def test_6_6_clients_do_not_push(wire: ServerWire) -> None:
    assert goaway(wire.send(frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2"))) == ErrorCode.PROTOCOL_ERROR


def test_6_7_pings_are_answered_with_their_bytes(wire: ServerWire) -> None:
    answer = wire.send(frame(frames.PING, 0, 0, b"abcdefgh"))
    assert [(f.kind, f.flags, f.payload) for f in answer] == [(frames.PING, frames.ACK, b"abcdefgh")]
    assert wire.send(frame(frames.PING, frames.ACK, 0, b"abcdefgh")) == []


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(frames.PING, 0, 1, b"abcdefgh"), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.PING, 0, 0, b"abcdefg"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(frames.GOAWAY, 0, 1, b"\0" * 8), ErrorCode.PROTOCOL_ERROR),
        (frame(frames.GOAWAY, 0, 0, b"\0" * 7), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_6_7_6_8_bad_pings_and_goaways_end_the_connection(wire: ServerWire, bad: bytes, code: ErrorCode) -> None:
    assert goaway(wire.send(bad)) == code


def test_6_8_our_goaway_names_the_last_stream_and_refuses_later_ones(wire: ServerWire) -> None:
    wire.send(wire.request(5, path="/t/Wait"))
    wire.connection.leave()
    left = wire.output()[0]
    assert (left.kind, int.from_bytes(left.payload[:4], "big"), left.code) == (frames.GOAWAY, 5, ErrorCode.NO_ERROR)
    assert reset(wire.send(wire.request(7)), 7) == ErrorCode.REFUSED_STREAM
    wire.calls[0].reply(b"done")
    assert [f.kind for f in wire.output()] == [1, 0, 1]


# Section 6.10: CONTINUATION.


def test_6_10_a_block_in_pieces_is_one_block(wire: ServerWire) -> None:
    block = wire.block()
    pieces = frame(frames.HEADERS, 0, 1, block[:5]) + frame(frames.CONTINUATION, 0, 1, block[5:9])
    wire.send(pieces + frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[9:]))
    assert [f.kind for f in wire.send(data(1, grpc(b""), end=True))] == [1, 0, 1]


@pytest.mark.parametrize(
    "intruder",
    [
        frame(frames.PING, 0, 0, b"abcdefgh"),
        frame(frames.CONTINUATION, frames.END_HEADERS, 3, b""),
        frame(frames.DATA, 0, 1, b""),
        frame(0x42, 0, 1, b""),
    ],
)
def test_6_10_nothing_may_come_between_the_pieces(wire: ServerWire, intruder: bytes) -> None:
    wire.send(frame(frames.HEADERS, 0, 1, wire.block()[:5]))
    assert goaway(wire.send(intruder)) == ErrorCode.PROTOCOL_ERROR


def test_6_10_a_continuation_of_nothing_is_a_protocol_error(wire: ServerWire) -> None:
    assert goaway(wire.send(frame(frames.CONTINUATION, frames.END_HEADERS, 1, b""))) == ErrorCode.PROTOCOL_ERROR


def test_6_10_our_own_large_blocks_are_continued(wire: ServerWire) -> None:
    wire.send(wire.request(1, path="/t/Wait"))
    wire.calls[0].fail(13, "x" * 40_000)
    answer = wire.output()
    assert [f.kind for f in answer] == [frames.HEADERS, frames.CONTINUATION, frames.CONTINUATION]
    assert [bool(f.flags & frames.END_HEADERS) for f in answer] == [False, False, True]
    assert [bool(f.flags & frames.END_STREAM) for f in answer] == [True, False, False]


# Section 8: HTTP semantics.


@pytest.mark.parametrize(
    "extra",
    [
        ("X-Upper", "1"),
        ("connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        (":late", "pseudo"),
        (":status", "200"),
        (":path", "/twice"),
        ("a", "b\r\nc"),
        ("content-length", "abc"),
    ],
)
def test_8_2_8_3_malformed_fields_reset_the_stream_alone(wire: ServerWire, extra: tuple[str, str]) -> None:
    assert reset(wire.send(wire.headers(1, extra)), 1) == ErrorCode.PROTOCOL_ERROR
    assert wire.alive(3)


@pytest.mark.parametrize("name", [":method", ":scheme", ":path"])
def test_8_3_1_missing_pseudo_fields_reset_the_stream(wire: ServerWire, name: str) -> None:
    answer = wire.send(frames.header_frames(1, wire.block(without=name), True, 16_384))
    assert reset(answer, 1) == ErrorCode.PROTOCOL_ERROR
    assert wire.alive(3)


@pytest.mark.parametrize(("length", "size"), [("4", 5), ("9", 5)])
def test_8_1_1_content_length_must_be_true(wire: ServerWire, length: str, size: int) -> None:
    wire.send(wire.headers(1, ("content-length", length)))
    assert reset(wire.send(data(1, b"\0" * size, end=True)), 1) == ErrorCode.PROTOCOL_ERROR
    assert wire.alive(3)


def test_8_1_trailers_of_the_client_end_its_half(wire: ServerWire) -> None:
    wire.send(wire.headers(1) + data(1, grpc(b"hi")))
    block = wire.encoder.encode([("x-checksum", "1")])
    assert [f.kind for f in wire.send(frames.header_frames(1, block, True, 16_384))] == [1, 0, 1]


# gRPC's own rules (PROTOCOL-HTTP2).


@pytest.mark.parametrize(("method", "status"), [("GET", "405"), ("PUT", "405")])
def test_grpc_other_methods_are_405(wire: ServerWire, method: str, status: str) -> None:
    fields = [(":method", method), (":scheme", "http"), (":path", "/t/Echo"), ("content-type", "application/grpc")]
    block = wire.encoder.encode(fields)
    assert wire.fields(wire.send(frames.header_frames(1, block, True, 16_384))[0])[":status"] == status


@pytest.mark.parametrize("content_type", ["text/plain", "application/grpcx", ""])
def test_grpc_other_content_types_are_415_without_an_http_handler(wire: ServerWire, content_type: str) -> None:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/t/Echo"), ("content-type", content_type)]
    block = wire.encoder.encode(fields)
    assert wire.fields(wire.send(frames.header_frames(1, block, True, 16_384))[0])[":status"] == "415"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "grpc: no message for a unary method"),
        (grpc(b"a") + grpc(b"b"), "grpc: more than one message for a unary method"),
        (grpc(b"abc")[:-1], "grpc: the stream ended inside a message"),
        (b"\1" + grpc(b"abc")[1:], "grpc: compressed flag set with identity or empty encoding"),
    ],
)
def test_grpc_a_unary_call_takes_exactly_one_whole_message(wire: ServerWire, body: bytes, text: str) -> None:
    wire.send(wire.headers(1))
    fields = wire.fields(wire.send(data(1, body, end=True))[0])
    assert (fields["grpc-status"], fields["grpc-message"]) == ("13", text)


def test_grpc_a_malformed_timeout_is_refused(wire: ServerWire) -> None:
    fields = wire.fields(wire.send(wire.headers(1, ("grpc-timeout", "soon")))[0])
    assert (fields["grpc-status"], fields["grpc-message"]) == ("13", "malformed grpc-timeout: soon")


def test_grpc_a_path_without_method_is_malformed(wire: ServerWire) -> None:
    fields = wire.fields(wire.send(wire.headers(1, path="nothing"))[0])
    assert (fields["grpc-status"], fields["grpc-message"]) == ("12", 'malformed method name: "nothing"')


def test_grpc_a_stream_answers_while_the_client_still_sends(wire: ServerWire) -> None:
    wire.send(wire.headers(1, path="/t/Stream"))
    assert [f.kind for f in wire.send(data(1, grpc(b"one")))] == [1, 0]
    assert [f.kind for f in wire.send(data(1, grpc(b"two")[:3]))] == []
    assert [f.kind for f in wire.send(data(1, grpc(b"two")[3:], end=True))] == [0, 1]
    assert wire.log == ["message 3", "message 3", "half-close"]


def test_grpc_a_server_that_ends_first_tells_the_client_to_stop(wire: ServerWire) -> None:
    wire.send(wire.headers(1, path="/t/Stream"))
    wire.calls[0].fail(9, "enough")
    answer = wire.output()
    assert [f.kind for f in answer] == [frames.HEADERS, frames.RST_STREAM]
    assert answer[1].code == ErrorCode.NO_ERROR
    assert wire.send(data(1, grpc(b"late"), end=True)) == []
    assert wire.alive(3)
