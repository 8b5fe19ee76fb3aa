"""Any bytes at all: no exception, no endless loop, and either the connection lives or it has said why it ended."""

from hypothesis import given
from hypothesis import strategies as st

from kvstore.rpc import Limits, frames
from tests.kvstore.rpc.wire import ClientWire, ServerWire, data, goaway, grpc

LIMITS = Limits(message_bytes=1_000, stream_window_bytes=2_000, connection_window_bytes=70_000, concurrent_streams=5)
STREAM_IDS = st.one_of(st.integers(0, 12), st.sampled_from([2**31 - 1, 2**31, 2**32 - 1]))
FRAMES = st.builds(
    frames.frame,
    st.integers(0, 12),
    st.integers(0, 255),
    STREAM_IDS,
    st.one_of(st.binary(max_size=40), st.binary(min_size=4, max_size=8)),
)
ODD_IDS = st.sampled_from([1, 3, 5, 7, 9, 11])


@st.composite
def cut(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """The same bytes in pieces."""
    pieces = []
    while stream:
        size = draw(st.integers(1, max(1, len(stream))))
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


def serve(pieces: list[bytes]) -> ServerWire:
    wire = ServerWire(LIMITS)
    wire.output()
    for piece in pieces:
        was_closing = wire.connection.is_closing
        answer = wire.send(piece)
        if wire.connection.is_closing:
            assert was_closing or goaway(answer) is not None
            assert wire.connection.streams == {}
    assert len(wire.connection.streams) <= LIMITS.concurrent_streams
    assert wire.connection.unfinished_bytes >= 0
    return wire


@given(st.binary(max_size=300))
def test_noise_instead_of_a_preface_ends_the_connection(noise: bytes) -> None:
    wire = ServerWire(LIMITS, greet=False)
    wire.output()
    answer = wire.send(noise)
    if not frames.PREFACE.startswith(noise[:24]):
        assert goaway(answer) is not None


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_noise_after_the_preface_never_raises(pieces: list[bytes]) -> None:
    serve(pieces)


@given(st.lists(FRAMES, max_size=25))
def test_frames_of_any_kind_in_any_order_never_raise(stream: list[bytes]) -> None:
    serve(stream)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), ODD_IDS, st.sampled_from(["/t/Echo", "/t/Wait", "/t/Stream", "/none"])),
        st.tuples(st.just("data"), ODD_IDS, st.binary(max_size=60)),
        st.tuples(st.just("message"), ODD_IDS, st.integers(0, 1_200)),
        st.tuples(st.just("end"), ODD_IDS, st.none()),
        st.tuples(st.just("reset"), ODD_IDS, st.none()),
        st.tuples(st.just("window"), STREAM_IDS, st.integers(0, 2**31 - 1)),
        st.tuples(st.just("frame"), st.none(), FRAMES),
        st.tuples(st.just("initial"), st.none(), st.integers(0, 70_000)),
        st.tuples(st.just("answer"), st.none(), st.integers(0, 3_000)),
        st.tuples(st.just("writable"), st.none(), st.booleans()),
    ),
    max_size=40,
)


def bytes_of(wire: ServerWire, action: tuple[str, int, object]) -> bytes:
    kind, stream_id, value = action
    if kind == "open":
        return wire.headers(stream_id, path=str(value))
    if kind == "data":
        assert isinstance(value, bytes)
        return data(stream_id, value)
    if kind == "message":
        assert isinstance(value, int)
        return data(stream_id, grpc(b"x" * value))
    if kind == "end":
        return data(stream_id, b"", end=True)
    if kind == "reset":
        return frames.rst_stream_frame(stream_id, 8)
    if kind == "frame":
        assert isinstance(value, bytes)
        return value
    assert isinstance(value, int)
    if kind == "window":
        return frames.window_update_frame(stream_id, value)
    return frames.settings_frame({frames.SETTING_INITIAL_WINDOW_SIZE: value})


@given(ACTIONS, st.data())
def test_half_sensible_clients_never_make_us_break_the_windows(
    actions: list[tuple[str, int, object]], chance: st.DataObject
) -> None:
    wire = ServerWire(LIMITS)
    wire.output()
    for action in actions:
        if action[0] == "answer":
            if wire.calls:
                call = wire.calls[-1]
                assert isinstance(action[2], int)
                call.reply(b"y" * action[2])
        elif action[0] == "writable":
            wire.connection.set_writable(bool(action[2]))
        else:
            for piece in chance.draw(cut(bytes_of(wire, action))):
                wire.send(piece)
        wire.output()
        connection = wire.connection
        assert connection.send_window >= 0
        assert all(stream.pending_bytes >= 0 for stream in connection.streams.values())
        assert set(connection.blocked) <= set(connection.streams)
        assert connection.unfinished_bytes >= 0
        assert not (connection.is_closing and connection.streams)


@given(st.lists(FRAMES, max_size=25), st.integers(0, 5))
def test_a_client_survives_any_server_and_ends_each_call_once(stream: list[bytes], calls: int) -> None:
    wire = ClientWire(LIMITS)
    outcomes = [wire.call() for _ in range(calls)]
    for piece in stream:
        wire.send(piece)
    wire.connection.lose("the end")
    assert all(outcome.ended for outcome in outcomes)


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_a_client_survives_noise(pieces: list[bytes]) -> None:
    wire = ClientWire(LIMITS)
    outcome = wire.call()
    for piece in pieces:
        wire.send(piece)
    wire.connection.lose("the end")
    assert outcome.ended
