"""HashKV: one number over the history up to a revision, the same on every member.

What compaction has made garbage but `scrub` has not removed yet must not count: of a key's versions at or before the
compacted revision only the newest does, and that one only when it is not a tombstone.

The work is a generator that yields None every PAUSE_ROWS rows, so that the loop need not wait for all of it.
"""

import zlib
from collections.abc import Generator, Iterator

from kvstore.mvcc import layout
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.storage.port import View

__all__ = ["hash_everything", "hash_key_values"]

PAUSE_ROWS = 64
_MASK = 0xFFFFFFFF
_BESIDE_KEYS = (layout.LEASES, layout.LEASE_KEYS, layout.AUTH, layout.AUTH_USERS, layout.AUTH_ROLES, layout.ALARMS)

HashSteps = Generator[int | None, None, None]


def hash_key_values(view: View, revision: int, compacted: int) -> HashSteps:
    """Yield at last the hash of all versions that a read from `compacted` to `revision` can see (32 bits).

    A sum, so that their order does not matter: what is current at `revision` is found among the superseded ones by a view
    that has seen later writes.
    """
    checksum = 0
    for number, entry in enumerate(_visible(view, revision, compacted)):
        if entry is not None:
            checksum = (checksum + zlib.crc32(entry[1], zlib.crc32(entry[0]))) & _MASK
        if number % PAUSE_ROWS == PAUSE_ROWS - 1:
            yield None
    yield checksum


def hash_everything(view: View, revision: int, compacted: int) -> HashSteps:
    """Yield at last a hash over the keys, leases, users, roles and alarms."""
    checksum = 0
    for step in hash_key_values(view, revision, compacted):
        if step is None:
            yield None
        else:
            checksum = step
    for table in _BESIDE_KEYS:
        for number, (key, stored) in enumerate(view.scan(table)):
            checksum = zlib.crc32(stored, zlib.crc32(key, checksum))
            if number % PAUSE_ROWS == PAUSE_ROWS - 1:
                yield None
    yield checksum


def _visible(view: View, revision: int, compacted: int) -> Iterator[tuple[bytes, bytes] | None]:
    """Yield newest versions, then superseded ones, each as a key of `history` and its value; None for a row that is neither."""
    for key, stored in view.scan(layout.CURRENT):
        modified = KeyValue.FromString(stored).mod_revision
        yield (layout.history_key(key, modified, layout.KIND_PUT), stored) if modified <= revision else None
    held: tuple[bytes, bytes] | None = None  # the newest version at or before the compacted one, of the key in hand
    for entry in view.scan(layout.HISTORY):
        owner = layout.history_owner(entry[0])
        if held is not None and layout.history_owner(held[0]) != owner:
            yield _kept(view, held, compacted)
            held = None
        if layout.history_revision(entry[0]) <= compacted:
            held = entry
            yield None
            continue
        if held is not None:
            yield _kept(view, held, compacted)
            held = None
        yield entry if layout.history_revision(entry[0]) <= revision else None
    if held is not None:
        yield _kept(view, held, compacted)


def _kept(view: View, entry: tuple[bytes, bytes], compacted: int) -> tuple[bytes, bytes] | None:
    if entry[0].endswith(layout.KIND_DELETE):
        return None
    newest = view.get(layout.CURRENT, layout.unescape(layout.history_owner(entry[0])))
    return entry if newest is None or KeyValue.FromString(newest).mod_revision > compacted else None
