"""SPDY frames, bytes to values and back."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.kubelet.streaming.dictionary import DICTIONARY
from controlplane.kubelet.streaming.spdy import (
    MAX_DATA_BYTES,
    Codec,
    Data,
    Frame,
    GoAway,
    Headers,
    Ping,
    RstStream,
    SpdyError,
    SynReply,
    SynStream,
)

NUMBERS = st.integers(0, 2**31 - 1)
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12).map(str.lower)
VALUES = st.text(st.characters(max_codepoint=255), max_size=20)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=4)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(SynStream, NUMBERS, HEADERS, st.booleans(), st.booleans()),
    st.builds(SynReply, NUMBERS, HEADERS, st.booleans()),
    st.builds(Headers, NUMBERS, HEADERS, st.booleans()),
    st.builds(Data, NUMBERS, st.binary(max_size=200), st.booleans()),
    st.builds(RstStream, NUMBERS, NUMBERS),
    st.builds(Ping, st.integers(0, 2**32 - 1)),
    st.builds(GoAway, NUMBERS, NUMBERS),
)


def test_the_dictionary_is_the_one_that_the_protocol_names() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_the_wire_however_it_cuts_them(frames: list[Frame], cuts: list[int]) -> None:
    sender, receiver = Codec(), Codec()
    wire = b"".join(map(sender.encode, frames))
    found: list[Frame] = []
    turn = 0
    while wire:
        size = cuts[turn % len(cuts)]
        found.extend(receiver.feed(wire[:size]))
        wire, turn = wire[size:], turn + 1
    assert found == frames


@given(st.binary(max_size=300))
def test_nonsense_is_an_error_or_frames_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(SpdyError):
        list(Codec().feed(data))


def test_long_data_goes_in_several_frames_of_which_the_last_ends_the_stream() -> None:
    data = bytes(MAX_DATA_BYTES * 2 + 5)
    found = list(Codec().feed(Codec().encode(Data(3, data, fin=True))))
    assert [(len(f.data), f.fin) for f in found if isinstance(f, Data)] == [
        (MAX_DATA_BYTES, False),
        (MAX_DATA_BYTES, False),
        (5, True),
    ]


def test_a_frame_as_it_stands_in_the_draft_is_read() -> None:
    header = struct.pack(">II", 1, 10) + b"streamtype" + struct.pack(">I", 4) + b"data"
    compressor = zlib.compressobj(zdict=DICTIONARY)
    block = compressor.compress(header) + compressor.flush(zlib.Z_SYNC_FLUSH)
    payload = struct.pack(">IIBB", 7, 0, 0, 0) + block
    wire = struct.pack(">HHI", 0x8003, 1, 0x01 << 24 | len(payload)) + payload
    assert list(Codec().feed(wire)) == [SynStream(7, {"streamtype": "data"}, fin=True)]


def test_windows_and_settings_are_skipped() -> None:
    window = struct.pack(">HHIII", 0x8003, 9, 8, 1, 100)
    settings = struct.pack(">HHII", 0x8003, 4, 4, 0)
    assert list(Codec().feed(window + settings + Codec().encode(Ping(1)))) == [Ping(1)]


@pytest.mark.parametrize(
    "wire",
    [
        struct.pack(">HHI", 0x8002, 6, 4) + bytes(4),
        struct.pack(">HHI", 0x8003, 1, 0xFFFFFF),
        struct.pack(">HHI", 0x8003, 3, 2) + bytes(2),
        struct.pack(">HHI", 0x8003, 2, 8) + bytes(8),
    ],
    ids=["another version", "a huge control frame", "a short reset", "headers that do not inflate"],
)
def test_what_breaks_the_protocol_is_told(wire: bytes) -> None:
    with pytest.raises(SpdyError):
        list(Codec().feed(wire))


def test_headers_that_inflate_without_end_are_refused() -> None:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    block = compressor.compress(bytes(10_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    payload = struct.pack(">I", 1) + block
    with pytest.raises(SpdyError, match="more than"):
        list(Codec().feed(struct.pack(">HHI", 0x8003, 2, len(payload)) + payload))
