"""Messages are found whatever way their bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.rpc.messages import Assembler, MessageFault, encode, encode_gzip
from kvstore.rpc.status import Code


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=8), st.lists(st.integers(1, 50)))
def test_messages_survive_any_cut(messages: list[tuple[bool, bytes]], cuts: list[int]) -> None:
    data = b"".join(encode_gzip(body) if zipped else encode(body) for zipped, body in messages)
    assembler = Assembler(1_000, "gzip")
    found: list[bytes] = []
    for cut in cuts:
        found += assembler.feed(data[:cut])
        data = data[cut:]
    found += assembler.feed(data)
    assert found == [body for _, body in messages]
    assert assembler.is_empty


def test_a_message_above_the_limit_fails_with_grpcs_text_before_it_arrives() -> None:
    with pytest.raises(MessageFault) as caught:
        Assembler(100, "").feed(b"\0\0\0\0\x65")
    assert (caught.value.code, caught.value.text) == (
        Code.RESOURCE_EXHAUSTED,
        "grpc: received message larger than max (101 vs. 100)",
    )


def test_a_zip_bomb_is_not_unpacked() -> None:
    with pytest.raises(MessageFault) as caught:
        Assembler(100_000, "gzip").feed(encode_gzip(b"\0" * 50_000_000))
    assert caught.value.code == Code.RESOURCE_EXHAUSTED


def test_compressed_messages_need_a_known_encoding() -> None:
    for encoding, code in (("", Code.INTERNAL), ("identity", Code.INTERNAL), ("snappy", Code.UNIMPLEMENTED)):
        with pytest.raises(MessageFault) as caught:
            Assembler(100, encoding).feed(b"\1\0\0\0\1x")
        assert caught.value.code == code


def test_broken_gzip_and_unknown_flags_are_faults() -> None:
    for data in (b"\1\0\0\0\3abc", b"\2\0\0\0\1x", encode_gzip(b"abc" * 100)[:4] + b"\x05" + encode_gzip(b"abc" * 100)[5:10]):
        with pytest.raises(MessageFault) as caught:
            Assembler(100, "gzip").feed(data)
        assert caught.value.code == Code.INTERNAL
