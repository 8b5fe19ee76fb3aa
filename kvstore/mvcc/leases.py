"""Leases as the log knows them: granted, attached to keys, revoked.  When one ends is the lessor's business.

A lease's generation is the raft index of its grant: an expiry names it, so that it cannot hit a later lease with the
same id, and the term in which it was decided, so that a former leader cannot end what the new one renews. A checkpoint
(what is left of a lease's time, for the next leader) names both too.
"""

import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from kvstore.mvcc import errors, layout, wire
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.history import closing
from kvstore.mvcc.working import LeaseChange, Working
from kvstore.storage.port import View

__all__ = ["LeaseRecord", "all_leases", "checkpoint", "decode", "encode_checkpoint", "encode_expiry", "exists", "expire",
           "find", "forget", "grant", "key_batches", "keys_of", "move"]  # fmt: skip

BATCH_KEYS = 500
MAX_TTL_SECONDS = 9_000_000_000
_TERM = struct.Struct(">Q")
_EXPIRY_LEASE = struct.Struct(">qQ")  # id, index of the grant
_CHECKPOINT_LEASE = struct.Struct(">qQq")  # id, index of the grant, seconds left (0: all)


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A granted lease."""

    lease: int
    ttl_seconds: int
    granted_index: int
    remaining_seconds: int = 0  # by the newest checkpoint; 0: the full TTL


def exists(working: Working, lease: int) -> bool:
    """Tell whether `lease` is granted."""
    return working.transaction.get(layout.LEASES, layout.lease_key(lease)) is not None


def find(working: Working, lease: int) -> LeaseRecord | None:
    """Return the lease, None when it is not granted."""
    stored = working.transaction.get(layout.LEASES, layout.lease_key(lease))
    return None if stored is None else decode(layout.lease_key(lease), stored)


def decode(stored_key: bytes, stored: bytes) -> LeaseRecord:
    """Return a record of `layout.LEASES`."""
    ttl_seconds, granted_index = layout.LEASE.unpack_from(stored)
    remaining = layout.REMAINING.unpack_from(stored, layout.LEASE.size)[0] if len(stored) > layout.LEASE.size else 0
    return LeaseRecord(layout.lease_of(stored_key), ttl_seconds, granted_index, remaining)


def all_leases(working: Working) -> Iterator[LeaseRecord]:
    """Yield every lease."""
    for stored_key, stored in working.transaction.scan(layout.LEASES):
        yield decode(stored_key, stored)


def keys_of(working: Working, lease: int) -> list[bytes]:
    """Return the keys attached to `lease`, in order."""
    prefix = layout.lease_key(lease)
    keys = []
    for stored in working.transaction.keys(layout.LEASE_KEYS, prefix):
        if not stored.startswith(prefix):
            break
        keys.append(stored[len(prefix) :])
    return keys


def key_batches(now: View, lease: int, view: Callable[[], View]) -> Generator[list[bytes], None, None]:
    """Return the keys attached to `lease` in batches, at least one; where they are several, from a view of its own."""
    batches = _batches(now, lease)
    few = next(batches)
    if next(batches, None) is None:
        return (batch for batch in [few])
    return closing(view(), lambda view: _batches(view, lease))


def _batches(view: View, lease: int) -> Generator[list[bytes], None, None]:
    prefix = layout.lease_key(lease)
    batch: list[bytes] = []
    for stored in view.keys(layout.LEASE_KEYS, prefix):
        if not stored.startswith(prefix):
            break
        if len(batch) == BATCH_KEYS:
            yield batch
            batch = []
        batch.append(stored[len(prefix) :])
    yield batch


def move(working: Working, key: bytes, old_lease: int, new_lease: int) -> None:
    """Attach `key` to another lease; 0 is none."""
    if old_lease:
        working.transaction.delete(layout.LEASE_KEYS, layout.lease_key(old_lease) + key)
    if new_lease:
        working.transaction.put(layout.LEASE_KEYS, layout.lease_key(new_lease) + key, b"")


def grant(working: Working, lease: int, ttl_seconds: int, index: int) -> bytes | Failure:
    """Grant `lease`; return the encoded LeaseGrantResponse without its header, or why not."""
    if ttl_seconds > MAX_TTL_SECONDS:
        return errors.LEASE_TTL_TOO_LARGE
    if exists(working, lease):
        return errors.LEASE_EXISTS
    working.transaction.put(layout.LEASES, layout.lease_key(lease), layout.LEASE.pack(ttl_seconds, index))
    working.lease_changes.append(LeaseChange(lease, ttl_seconds, index))
    return wire.number_field(b"\x10", lease) + wire.number_field(b"\x18", ttl_seconds)


def forget(working: Working, lease: int) -> None:
    """Remove a lease that holds no keys any more."""
    working.transaction.delete(layout.LEASES, layout.lease_key(lease))
    working.lease_changes.append(LeaseChange(lease, 0, 0))


def encode_checkpoint(term: int, remaining: Iterable[tuple[LeaseRecord, int]]) -> bytes:
    """Return the payload of a checkpoint: how many seconds are left (0: all again), as the leader of `term` sees it."""
    leases = (_CHECKPOINT_LEASE.pack(one.lease, one.granted_index, seconds) for one, seconds in remaining)
    return _TERM.pack(term) + b"".join(leases)


def checkpoint(working: Working, term: int, payload: bytes) -> None:
    """Note what is left of leases. As with an expiry, all is void in another term, and for another generation."""
    (decided_in,) = _TERM.unpack_from(payload)
    if decided_in != term:
        return
    for lease, granted_index, seconds in _CHECKPOINT_LEASE.iter_unpack(payload[_TERM.size :]):
        record = find(working, lease)
        if record is not None and record.granted_index == granted_index:
            stored = layout.LEASE.pack(record.ttl_seconds, granted_index)
            if seconds:
                stored += layout.REMAINING.pack(seconds)
            working.transaction.put(layout.LEASES, layout.lease_key(lease), stored)
            working.lease_changes.append(LeaseChange(lease, record.ttl_seconds, granted_index, seconds))


def encode_expiry(term: int, expired: list[LeaseRecord]) -> bytes:
    """Return the payload of an expire command, decided by the leader of `term`."""
    return _TERM.pack(term) + b"".join(_EXPIRY_LEASE.pack(one.lease, one.granted_index) for one in expired)


def expire(working: Working, term: int, payload: bytes) -> list[int]:
    """Return the leases of an expire command that are to be revoked now: those still of the same generation.

    None of them when the entry was not proposed in the term in which the decision was made.
    """
    (decided_in,) = _TERM.unpack_from(payload)
    if decided_in != term:
        return []
    doomed = []
    for lease, granted_index in _EXPIRY_LEASE.iter_unpack(payload[_TERM.size :]):
        record = find(working, lease)
        if record is not None and record.granted_index == granted_index:
            doomed.append(lease)
    return doomed
