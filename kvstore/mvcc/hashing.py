"""HashKV: one number over the history up to a revision, the same on every member.

What compaction has made garbage but `scrub` has not removed yet must not count: of a key's versions at or before the
compacted revision only the newest does, and that one only when it is not a tombstone.
"""

import zlib
from collections.abc import Iterator

from kvstore.mvcc import layout
from kvstore.mvcc.working import Working
from kvstore.pb.kv_pb2 import KeyValue

__all__ = ["hash_key_values"]


def hash_key_values(working: Working, revision: int) -> int:
    """Return the hash of all versions that a read at the compacted revision up to `revision` can see (32 bits)."""
    checksum = 0
    for stored_key, stored in _visible(working, revision):
        checksum = zlib.crc32(stored, zlib.crc32(stored_key, checksum))
    return checksum


def _visible(working: Working, revision: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield newest versions, then superseded ones, each as a key of `history` and its value."""
    transaction, compacted = working.transaction, working.compacted
    for key, stored in transaction.scan(layout.CURRENT):
        modified = KeyValue.FromString(stored).mod_revision
        if modified <= revision:
            yield layout.history_key(key, modified, layout.KIND_PUT), stored
    held: tuple[bytes, bytes] | None = None  # the newest version at or before the compacted one, of the key in hand
    for entry in transaction.scan(layout.HISTORY):
        owner = layout.history_owner(entry[0])
        if held is not None and layout.history_owner(held[0]) != owner:
            yield from _kept(working, held)
            held = None
        if layout.history_revision(entry[0]) <= compacted:
            held = entry
            continue
        if held is not None:
            yield from _kept(working, held)
            held = None
        if layout.history_revision(entry[0]) <= revision:
            yield entry
    if held is not None:
        yield from _kept(working, held)


def _kept(working: Working, entry: tuple[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    if entry[0].endswith(layout.KIND_DELETE):
        return
    newest = working.transaction.get(layout.CURRENT, layout.unescape(layout.history_owner(entry[0])))
    if newest is None or KeyValue.FromString(newest).mod_revision > working.compacted:
        yield entry
