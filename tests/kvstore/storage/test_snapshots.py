"""Snapshots as streams of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.storage.memory import MemoryStore
from kvstore.storage.snapshots import CHUNK_BYTES, BadSnapshot, read_snapshot, write_snapshot

TABLES = ("one", "two")


def filled(content: dict[bytes, bytes]) -> MemoryStore:
    store = MemoryStore(TABLES)
    transaction = store.begin()
    for key, value in content.items():
        transaction.put("two", key, value)
    transaction.commit()
    return store


def load(chunks: list[bytes]) -> dict[bytes, bytes]:
    store = filled({b"old": b"content"})
    transaction = store.begin()
    read_snapshot(transaction, TABLES, chunks)
    return dict(transaction.scan("two"))


@given(content=st.dictionaries(st.binary(min_size=1, max_size=8), st.binary(max_size=20), max_size=20), cut=st.data())
def test_whatever_goes_in_comes_out_however_the_stream_is_cut(content: dict[bytes, bytes], cut: st.DataObject) -> None:
    stream = b"".join(write_snapshot(filled(content).view(), TABLES))
    places = sorted(cut.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    chunks = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)])]
    assert load(chunks) == content


def test_chunks_are_bounded_and_a_value_may_be_larger_than_one() -> None:
    content = {b"large": bytes(3 * CHUNK_BYTES), b"small": b"x"}
    chunks = list(write_snapshot(filled(content).view(), TABLES))
    assert len(chunks) == 4
    assert max(map(len, chunks)) == CHUNK_BYTES
    assert load(chunks) == content


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_noticed(place: int, bit: int) -> None:
    content = {b"key %d" % number: b"value" * number for number in range(5)}
    stream = bytearray(b"".join(write_snapshot(filled(content).view(), TABLES)))
    stream[place % len(stream)] ^= 1 << bit
    with pytest.raises((BadSnapshot, AssertionError)):
        load([bytes(stream)])


def test_a_stream_that_ends_early_is_refused() -> None:
    stream = b"".join(write_snapshot(filled({b"a": b"1"}).view(), TABLES))
    for length in range(len(stream)):
        with pytest.raises(BadSnapshot):
            load([stream[:length]])
