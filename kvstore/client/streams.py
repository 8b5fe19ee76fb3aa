"""Answers too large for one message: ranges page by page at one revision, snapshots into a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvstore.client import errors
from kvstore.client.caller import Caller
from kvstore.pb import rpc_pb2
from kvstore.rpc import Code, RpcError

if TYPE_CHECKING:
    from kvstore.client.client import Client

SNAPSHOT: Final = "/etcdserverpb.Maintenance/Snapshot"
PAGE_KEYS: Final = 1000
DIGEST_BYTES: Final = hashlib.sha256().digest_size  # what etcd appends to the database of a snapshot
_SECTOR_BYTES: Final = 512  # a database is a multiple of it


async def pages(
    client: Client, key: bytes, range_end: bytes, page_keys: int, revision: int, serializable: bool, keys_only: bool
) -> AsyncIterator[rpc_pb2.RangeResponse]:
    """Consecutive answers of at most `page_keys` keys, all of the revision of the first. See Client.range_stream."""
    while True:
        page = await client.range(
            key, range_end, limit=page_keys, revision=revision, serializable=serializable, keys_only=keys_only
        )
        revision = revision or page.header.revision
        yield page
        if not page.more:
            return
        key = page.kvs[-1].key + b"\0"


async def chunks(caller: Caller) -> AsyncIterator[bytes]:
    """The bytes of one member's snapshot, as they come: the database, and its SHA-256. Raises EtcdError."""
    endpoint = caller.endpoints.current
    stream = endpoint.channel.stream(SNAPSHOT, await caller.stream_metadata(require_leader=False))
    try:
        stream.send(rpc_pb2.SnapshotRequest().SerializeToString())
        stream.half_close()
        async for message in stream:
            yield rpc_pb2.SnapshotResponse.FromString(message).blob
    except RpcError as error:
        caller.on_failure(endpoint, error)
        raise errors.from_rpc(error) from None
    finally:
        stream.cancel()


async def save(caller: Caller, path: Path) -> int:
    """Write a snapshot to `path`, whole or not at all; its size in bytes. See Client.snapshot."""
    part = path.with_name(path.name + ".part")
    digest, tail, size_bytes = hashlib.sha256(), b"", 0
    try:
        with part.open("wb") as file:
            async for chunk in chunks(caller):
                file.write(chunk)
                size_bytes += len(chunk)
                tail += chunk
                digest.update(tail[:-DIGEST_BYTES])
                tail = tail[-DIGEST_BYTES:]
            if size_bytes % _SECTOR_BYTES != DIGEST_BYTES or digest.digest() != tail:
                raise errors.BrokenSnapshot(Code.DATA_LOSS, "the snapshot's checksum is not that of its bytes")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return size_bytes
