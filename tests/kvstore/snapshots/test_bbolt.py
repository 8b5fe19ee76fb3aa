"""The file format: what is written is read back, and damage is found, not followed."""

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.storage.bbolt import PAGE_BYTES, BadBoltFile, BoltFile, Bucket, Image, Record


def image_of(*buckets: Bucket) -> bytes:
    image = Image(buckets)
    for _ in image.measure():
        pass
    written = b"".join(image.pages())
    assert len(written) == image.size_bytes
    return written


def bucket(name: bytes, records: list[Record]) -> Bucket:
    return Bucket(name, lambda: records)


RECORDS = st.dictionaries(st.binary(min_size=1, max_size=60), st.binary(max_size=300), max_size=120)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=8), RECORDS, max_size=4))
def test_any_buckets_are_read_back_as_they_were_written(buckets: dict[bytes, dict[bytes, bytes]]) -> None:
    file = BoltFile(image_of(*(bucket(name, sorted(records.items())) for name, records in buckets.items())))
    assert file.buckets() == sorted(buckets)
    for name, records in buckets.items():
        assert list(file.records(name)) == sorted(records.items())


def test_a_tree_of_several_levels_is_written_with_a_page_of_memory_for_each() -> None:
    def records() -> Iterator[Record]:
        return ((b"%032d" % number, b"v" * (number % 97)) for number in range(60_000))

    image = Image([Bucket(b"key", records)])
    for _ in image.measure():
        pass
    largest = 0
    pieces = []
    for piece in image.pages():
        largest = max(largest, len(piece))
        pieces.append(piece)
    assert largest <= 4 * PAGE_BYTES
    assert list(BoltFile(b"".join(pieces)).records(b"key")) == list(records())


def test_values_larger_than_a_page_flow_over_into_the_following_pages() -> None:
    records = [(b"a", b"1" * 10_000), (b"b", b""), (b"c", b"2" * 4080), (b"d", b"3" * (1 << 20)), (b"e", b"4")]
    assert list(BoltFile(image_of(bucket(b"key", records))).records(b"key")) == records


def test_a_bucket_that_is_not_there_has_no_records() -> None:
    assert list(BoltFile(image_of(bucket(b"key", []))).records(b"other")) == []


def test_pages_follow_one_another_without_a_gap_and_name_themselves() -> None:
    written = image_of(bucket(b"key", [(b"%04d" % number, b"x" * 200) for number in range(500)]), bucket(b"meta", []))
    page = 0
    while page * PAGE_BYTES < len(written):
        offset = page * PAGE_BYTES
        assert int.from_bytes(written[offset : offset + 8], "little") == page
        page += 1 + int.from_bytes(written[offset + 12 : offset + 16], "little")
    assert page * PAGE_BYTES == len(written)


def test_a_file_whose_first_meta_is_torn_is_read_by_the_second() -> None:
    written = bytearray(image_of(bucket(b"key", [(b"a", b"1")])))
    written[20] ^= 1
    assert list(BoltFile(bytes(written)).records(b"key")) == [(b"a", b"1")]


@pytest.mark.parametrize("content", [b"", b"PHKV" * 4000, bytes(3 * PAGE_BYTES)])
def test_what_is_no_database_is_refused(content: bytes) -> None:
    with pytest.raises(BadBoltFile, match="not a bbolt database"):
        BoltFile(content)


def test_a_file_that_is_cut_short_is_refused() -> None:
    with pytest.raises(BadBoltFile, match="cut short"):
        BoltFile(image_of(bucket(b"key", [(b"a", b"1" * 9000)]))[:-PAGE_BYTES])


WHOLE = image_of(bucket(b"key", [(b"%04d" % number, b"x" * 50) for number in range(300)]), bucket(b"meta", [(b"a", b"b")]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(2 * PAGE_BYTES, len(WHOLE) - 1), st.integers(1, 255)), min_size=1, max_size=6))
def test_damage_anywhere_ends_in_an_answer_or_a_clear_error_never_in_a_loop(flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(WHOLE)
    for place, bits in flips:
        damaged[place] ^= bits
    with contextlib.suppress(BadBoltFile):
        file = BoltFile(bytes(damaged))
        for name in file.buckets():
            for count, _ in enumerate(file.records(name)):
                assert count < 1_000_000


def test_a_branch_that_names_itself_is_noticed() -> None:
    looping = bytearray(WHOLE)
    # the first branch page: find it, and have its first element name the page itself
    for offset in range(2 * PAGE_BYTES, len(looping), PAGE_BYTES):
        if looping[offset + 8 : offset + 10] == b"\x01\x00":
            looping[offset + 24 : offset + 32] = (offset // PAGE_BYTES).to_bytes(8, "little")
            break
    with pytest.raises(BadBoltFile, match="too deep"):
        list(BoltFile(bytes(looping)).records(b"key"))
