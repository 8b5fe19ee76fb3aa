"""Remembered header blocks mean what the plain decoder says they mean."""

from collections.abc import Callable, Iterable

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from kvstore.rpc.frames import ConnectionFault, ErrorCode
from kvstore.rpc.hpack_decoder import FieldDecoder, Fields, HPACKError
from kvstore.rpc.hpack_memo import HeaderMemo, encode_field, encode_fields

NAMES = st.sampled_from([b":path", b"grpc-timeout", b"te", b"content-type", b"token", b"x-a", b"x-b"])
VALUES = st.sampled_from([b"", b"/a", b"/b", b"trailers", b"1S", b"v" * 100])
LISTS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
STEPS = st.lists(st.one_of(LISTS, st.sampled_from([0, 64, 200, 4096])), max_size=30)


@given(STEPS)
def test_the_memo_says_what_a_decoder_without_memo_says(steps: list[object]) -> None:
    encoder, plain = Encoder(), Decoder()
    memo: HeaderMemo[Fields] = HeaderMemo(lambda fields: fields, 65_536)
    for step in steps:
        if isinstance(step, int):
            if step != encoder.header_table_size:  # hpack's encoder forgets a change that is followed by the same size
                encoder.header_table_size = step
            continue
        block = encoder.encode(step, huffman=True)
        assert memo.get(block) == tuple(plain.decode(block, raw=True))


def test_the_same_bytes_are_decoded_again_after_the_table_changed() -> None:
    memo: HeaderMemo[Fields] = HeaderMemo(lambda fields: fields, 65_536)
    insert_a, insert_b, newest = b"\x40\x01a\x01a", b"\x40\x01b\x01b", b"\xbe"
    memo.get(insert_a)
    assert memo.get(newest) == ((b"a", b"a"),)
    assert memo.get(newest) == ((b"a", b"a"),)
    memo.get(insert_b)
    assert memo.get(newest) == ((b"b", b"b"),)


def test_a_block_that_shrinks_and_grows_the_table_back_empties_the_memo() -> None:
    memo: HeaderMemo[Fields] = HeaderMemo(lambda fields: fields, 65_536)
    memo.get(b"\x40\x01a\x01a")
    memo.get(b"\xbe")
    memo.get(b"\x20\x3f\xe1\x1f\x88")  # size 0, size 4096, :status 200
    with pytest.raises(ConnectionFault):
        memo.get(b"\xbe")


def test_an_inserting_block_is_never_remembered() -> None:
    memo: HeaderMemo[Fields] = HeaderMemo(lambda fields: fields, 65_536)
    for _ in range(3):
        memo.get(b"\x40\x01a\x01a")
    assert memo.get(b"\xc0") == ((b"a", b"a"),)  # the third newest: all three were inserted


def test_garbage_is_a_compression_error() -> None:
    memo: HeaderMemo[Fields] = HeaderMemo(lambda fields: fields, 1_000)
    for block in (b"\xff\xff\xff\xff\xff\xff", b"\x40\x05ab", b"\x80", encode_fields([(b"x", b"y" * 2_000)])):
        with pytest.raises(ConnectionFault) as caught:
            memo.get(block)
        assert caught.value.code == ErrorCode.COMPRESSION_ERROR


@given(LISTS)
def test_our_blocks_mean_their_fields_and_leave_the_table_alone(fields: list[tuple[bytes, bytes]]) -> None:
    decoder = Decoder()
    assert list(decoder.decode(encode_fields(fields), raw=True)) == fields
    assert not decoder.header_table.dynamic_entries


def test_secrets_are_never_indexed() -> None:
    assert encode_field(b"token", b"s")[0] & 0xF0 == 0x10
    assert encode_field(b"authorization", b"s")[0] & 0xF0 == 0x10


def _outcome(decode: Callable[[bytes], Iterable[tuple[bytes, bytes]]], block: bytes) -> Fields | str:
    try:
        return tuple((bytes(name), bytes(value)) for name, value in decode(block))
    except HPACKError:
        return "refused"


PIECES = [b"\x82", b"\xbe", b"\x40\x01a\x01b", b"\x20", b"\x3f\x09", b"\x7f", b"\x0f", b"\x80", b"\xff\x00"]
BYTES = st.one_of(
    st.binary(max_size=30),
    st.lists(st.sampled_from(PIECES)).map(b"".join),
)


@given(st.lists(BYTES, max_size=8))
def test_the_decoder_agrees_with_hpacks_on_any_bytes(blocks: list[bytes]) -> None:
    ours, theirs = FieldDecoder(500), Decoder(max_header_list_size=500)
    for block in blocks:
        outcome = _outcome(lambda data: theirs.decode(data, raw=True), block)
        assert _outcome(ours.decode, block) == outcome
        if outcome == "refused":
            break
