"""Ranges in pages of one revision, snapshots into a file."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvstore.client import Client, Compacted, errors, prefix_end, streams
from tests.kvstore.client.conftest import EtcdProcess


async def test_pages_are_of_one_revision_whatever_is_written_meanwhile(client: Client, prefix: bytes) -> None:
    for index in range(25):
        await client.put(prefix + b"%02d" % index, b"old")
    seen = []
    sizes = []
    async for page in client.range_stream(prefix, prefix_end(prefix), page_keys=10):
        sizes.append(len(page.kvs))
        seen += [(kv.key, kv.value) for kv in page.kvs]
        await client.put(prefix + b"24", b"new")
        await client.put(prefix + b"%02d-new" % len(seen), b"new")
        await client.delete(prefix + b"23")
    assert sizes == [10, 10, 5]
    assert seen == [(prefix + b"%02d" % index, b"old") for index in range(25)]


async def test_an_empty_range_is_one_empty_page_and_an_old_revision_can_be_asked_for(client: Client, prefix: bytes) -> None:
    before = (await client.put(prefix + b"a", b"1")).header.revision
    await client.put(prefix + b"b", b"2")
    pages = [page async for page in client.range_stream(prefix, prefix_end(prefix), revision=before, keys_only=True)]
    assert [[(kv.key, kv.value) for kv in page.kvs] for page in pages] == [[(prefix + b"a", b"")]]
    assert [len(page.kvs) async for page in client.range_stream(prefix + b"none", prefix + b"none0")] == [0]


async def test_a_history_that_is_forgotten_between_pages_is_said_so(own_etcd: EtcdProcess) -> None:
    async with Client([own_etcd.endpoint]) as client:
        for index in range(4):
            last = await client.put(b"key/%d" % index, b"")
        stream = client.range_stream(b"key/", b"key0", page_keys=2)
        assert len((await anext(stream)).kvs) == 2
        await client.put(b"other", b"")
        await client.compact(last.header.revision + 1, physical=True)
        with pytest.raises(Compacted):
            await anext(stream)


async def test_a_snapshot_is_a_file_with_its_checksum(client: Client, prefix: bytes, tmp_path: Path) -> None:
    await client.put(prefix, b"x" * 100_000)
    size_bytes = await client.snapshot(tmp_path / "snapshot.db")
    data = (tmp_path / "snapshot.db").read_bytes()
    assert (len(data), os.listdir(tmp_path)) == (size_bytes, ["snapshot.db"])
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    assert b"x" * 100_000 in data


async def test_a_snapshot_that_is_cut_leaves_no_file(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = streams.chunks

    async def cut(caller: object) -> AsyncIterator[bytes]:
        async for chunk in whole(client._caller):
            yield chunk[:-1]

    monkeypatch.setattr(streams, "chunks", cut)
    with pytest.raises(errors.BrokenSnapshot):
        await client.snapshot(tmp_path / "snapshot.db")
    assert not os.listdir(tmp_path)
