"""The fuzz tests of test_fuzz.py for longer and with a new seed each time, and sensible conversations with bytes altered."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.rpc import frames
from tests.kvstore.rpc import test_fuzz
from tests.kvstore.rpc.test_fuzz import LIMITS, cut, serve
from tests.kvstore.rpc.wire import ServerWire, data, grpc

EXAMPLES = 1_500
PROPERTIES = (
    test_fuzz.test_noise_instead_of_a_preface_ends_the_connection,
    test_fuzz.test_noise_after_the_preface_never_raises,
    test_fuzz.test_frames_of_any_kind_in_any_order_never_raise,
    test_fuzz.test_half_sensible_clients_never_make_us_break_the_windows,
    test_fuzz.test_a_client_survives_any_server_and_ends_each_call_once,
    test_fuzz.test_a_client_survives_noise,
)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fuzz", PROPERTIES, ids=lambda one: one.__name__)
def test_many_more_examples(fuzz: Callable[[], None]) -> None:
    settings(max_examples=EXAMPLES, derandomize=False)(fuzz)()


def conversation() -> bytes:
    """What a client sends that behaves: requests, messages, pings, windows, an end."""
    wire = ServerWire(LIMITS)
    pieces = []
    for stream_id in (1, 3, 5):
        pieces += [wire.headers(stream_id), data(stream_id, grpc(b"x" * 50), end=stream_id != 5)]
    pieces += [frames.frame(6, 0, 0, b"12345678"), frames.window_update_frame(0, 1_000), frames.rst_stream_frame(5, 8)]
    return b"".join(pieces)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=EXAMPLES, derandomize=False)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8), st.data())
def test_a_sensible_conversation_with_bytes_altered_never_raises(
    changes: list[tuple[int, int]], chance: st.DataObject
) -> None:
    stream = bytearray(conversation())
    for position, value in changes:
        stream[position % len(stream)] = value
    serve(chance.draw(cut(bytes(stream))))
