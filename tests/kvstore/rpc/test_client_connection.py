"""What our client makes of servers, good and bad.  Sans-IO."""

import pytest

from kvstore.rpc import Code, Limits, frames
from kvstore.rpc.frames import ErrorCode, frame
from tests.kvstore.rpc.wire import ClientWire, Outcome, data, goaway, grpc, output_of, reset

OK_HEAD = ((":status", "200"), ("content-type", "application/grpc"))


@pytest.fixture
def wire() -> ClientWire:
    return ClientWire()


def test_an_answer_is_delivered(wire: ClientWire) -> None:
    call = wire.call()
    wire.send(wire.answer(1, b"hello"))
    assert (call.messages, call.ended, call.error) == ([b"hello"], True, None)
    assert wire.connection.streams == {}


def test_we_say_that_we_want_no_pushes(wire: ClientWire) -> None:
    settings = wire.hello[0].payload
    assert settings[:6] == b"\x00\x02\x00\x00\x00\x00"
    assert goaway(wire.send(frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2"))) == ErrorCode.PROTOCOL_ERROR


def test_informational_heads_are_skipped(wire: ClientWire) -> None:
    call = wire.call()
    wire.send(wire.head(1, (":status", "103")) + wire.answer(1, b"x"))
    assert call.messages == [b"x"]


def test_trailers_only_have_status_text_and_metadata(wire: ClientWire) -> None:
    call = wire.call()
    wire.send(wire.head(1, *OK_HEAD, ("grpc-status", "5"), ("grpc-message", "no %41"), ("why", "x"), end=True))
    assert call.error is not None
    assert (call.error.code, call.error.text, call.error.metadata["why"]) == (Code.NOT_FOUND, "no A", "x")


@pytest.mark.parametrize(("status", "code"), [("503", Code.UNAVAILABLE), ("401", Code.UNAUTHENTICATED), ("500", Code.UNKNOWN)])
def test_an_http_error_of_a_proxy_becomes_a_code(wire: ClientWire, status: str, code: Code) -> None:
    call = wire.call()
    wire.send(wire.head(1, (":status", status), ("content-type", "text/html"), end=True))
    assert call.error is not None
    assert call.error.code == code


def test_a_reset_becomes_a_code_and_refused_streams_were_not_processed(wire: ClientWire) -> None:
    for index, (reset_code, code, sent) in enumerate(
        [
            (ErrorCode.REFUSED_STREAM, Code.UNAVAILABLE, False),
            (ErrorCode.CANCEL, Code.CANCELLED, True),
            (ErrorCode.ENHANCE_YOUR_CALM, Code.RESOURCE_EXHAUSTED, True),
            (ErrorCode.INTERNAL_ERROR, Code.INTERNAL, True),
            (ErrorCode.NO_ERROR, Code.INTERNAL, True),
        ]
    ):
        call = wire.call()
        wire.send(frames.rst_stream_frame(1 + 2 * index, reset_code))
        assert call.error is not None
        assert (call.error.code, call.error.sent) == (code, sent)


def test_goaway_ends_what_the_server_never_saw_and_leaves_the_rest(wire: ClientWire) -> None:
    seen, unseen = wire.call(), wire.call()
    wire.send(frames.goaway_frame(1, 0, "bye"))
    assert not wire.connection.is_usable
    assert unseen.error is not None
    assert (unseen.error.code, unseen.error.sent) == (Code.UNAVAILABLE, False)
    assert not seen.ended
    wire.send(wire.answer(1, b"x"))
    assert seen.messages == [b"x"]


def test_a_lost_connection_may_have_processed_the_call(wire: ClientWire) -> None:
    call = wire.call()
    wire.connection.lose("cable cut")
    assert call.error is not None
    assert (call.error.code, call.error.sent, call.error.text) == (Code.UNAVAILABLE, True, "cable cut")


def test_a_stream_without_status_is_an_error(wire: ClientWire) -> None:
    no_trailers, no_status, cut = wire.call(), wire.call(), wire.call()
    wire.send(wire.head(1, *OK_HEAD) + data(1, grpc(b"x"), end=True))
    wire.send(wire.head(3, *OK_HEAD) + wire.head(3, ("x", "y"), end=True))
    wire.send(wire.head(5, *OK_HEAD) + data(5, grpc(b"xyz")[:-1]) + wire.head(5, ("grpc-status", "0"), end=True))
    for call in (no_trailers, no_status, cut):
        assert call.error is not None
        assert call.error.code == Code.INTERNAL


def test_data_before_a_head_and_frames_on_idle_streams_are_refused(wire: ClientWire) -> None:
    call = wire.call()
    assert reset(wire.send(data(1, grpc(b"x"))), 1) == ErrorCode.PROTOCOL_ERROR
    assert call.error is not None
    assert goaway(wire.send(wire.head(9, *OK_HEAD))) == ErrorCode.PROTOCOL_ERROR


def test_an_answer_above_the_limit_is_refused() -> None:
    wire = ClientWire(Limits(message_bytes=100))
    call = wire.call()
    answer = wire.send(wire.head(1, *OK_HEAD) + data(1, grpc(b"x" * 101)))
    assert reset(answer, 1) == ErrorCode.CANCEL
    assert call.error is not None
    assert call.error.text == "grpc: received message larger than max (101 vs. 100)"


def test_a_server_that_answers_early_stops_our_upload(wire: ClientWire) -> None:
    call = wire.call(b"x" * 100_000)
    sent = sum(len(f.payload) for f in output_of(wire.connection) if f.kind == frames.DATA)
    assert sent == 65_535
    answer = wire.send(wire.head(1, *OK_HEAD, ("grpc-status", "8"), end=True))
    assert reset(answer, 1) == ErrorCode.NO_ERROR
    assert call.ended
    assert wire.send(frames.window_update_frame(0, 100_000)) == []


def test_a_cancelled_call_is_reset_and_hears_nothing_more(wire: ClientWire) -> None:
    outcome = wire.call()
    stream = wire.connection.streams[1]
    stream.cancel()  # type: ignore[attr-defined]
    assert reset(output_of(wire.connection), 1) == ErrorCode.CANCEL
    assert outcome.error is not None
    assert outcome.error.code == Code.CANCELLED
    wire.send(wire.answer(1, b"late"))
    assert outcome.messages == []


def test_a_receiver_that_refuses_a_message_ends_its_call_alone(wire: ClientWire, caplog: pytest.LogCaptureFixture) -> None:
    class Picky(Outcome):
        def on_message(self, message: bytes) -> None:
            raise ValueError("cannot read this")

    picky = Picky()
    wire.connection.open(b"\x83", picky, b"")
    other = wire.call()
    answer = wire.send(wire.head(1, *OK_HEAD) + data(1, grpc(b"x")))
    assert reset(answer, 1) == ErrorCode.CANCEL
    assert picky.error is not None
    assert picky.error.code == Code.INTERNAL
    wire.send(wire.answer(3, b"fine"))
    assert other.messages == [b"fine"]
