"""An etcd snapshot (ours, or a real etcd's) as the tables of a new state.

Records are read in the order of their revisions and applied like the writes they were, so that versions, history,
events and leases come out as if this store had seen them. What the snapshot calls compacted is scrubbed away.

Users, roles and whether auth is on come along; alarms do not: they speak of members of the old cluster.

Revisions never go back: whoever watched the old cluster may have seen more of it than the snapshot holds. So the
restored revision is `bump_revision` above the snapshot's, and all below is compacted: a watcher is told to begin anew
instead of missing what was lost. Keys keep their own revisions. `bump_revision` 0 restores the exact state.
"""

import hashlib
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from kvstore.mvcc import compaction, layout
from kvstore.mvcc.working import Working
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.storage.bbolt import BadBoltFile, BoltFile, Buffer
from kvstore.storage.etcd_snapshot import SAME_TABLES
from kvstore.storage.port import OrderedStore, Transaction

__all__ = ["BadHash", "Bump", "Restored", "check_hash", "restore_state"]

HASH_BYTES = hashlib.sha256().digest_size
_SECTOR_BYTES = 512  # a database is a multiple of it: what is left over is the hash
_READ_BYTES = 1 << 20
_COMMIT_WRITES = 100_000  # between commits: what an open transaction may hold in memory
_SCRUB_EVENTS = 10_000
_LEASE_ID, _LEASE_TTL, _LEASE_REMAINING = 1, 2, 3  # fields of leasepb.Lease
_KEY_BYTES = 17
_UNSIGNED = (1 << 64) - 1


class BadHash(Exception):
    """The snapshot has no hash, or one that does not match its content."""


@dataclass(frozen=True, slots=True)
class Bump:
    """How far above the snapshot's revision the restored state starts, and whether all below is compacted."""

    revisions: int = 0
    marks_compacted: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """What came out."""

    revision: int
    compacted: int
    versions: int  # records of the snapshot's bucket `key`
    leases: int


def check_hash(buffer: Buffer) -> None:
    """Raise BadHash unless `buffer` ends with the SHA-256 of what is before it, as `snapshot save` writes it."""
    size = len(buffer)
    if size % _SECTOR_BYTES != HASH_BYTES:
        raise BadHash("snapshot missing hash but --skip-hash-check=false")
    end = size - HASH_BYTES
    found = hashlib.sha256()
    for start in range(0, end, _READ_BYTES):
        found.update(buffer[start : min(start + _READ_BYTES, end)])
    if found.digest() != buffer[end:]:
        raise BadHash(f"expected sha256 {buffer[end:].hex()}, got {found.hexdigest()}")


def restore_state(file: BoltFile, store: OrderedStore, *, index: int, term: int, bump: Bump) -> Restored:
    """Fill the empty `store` (tables of layout.TABLES), durably; its newest applied entry is `index` of `term`.

    Raises BadBoltFile; the store is of no use then.
    """
    writer = _Writer(store)
    leases = _restore_leases(file, writer)
    versions = 0
    for stored_key, value in file.records(b"key"):
        versions += 1
        if len(stored_key) < _KEY_BYTES:
            raise BadBoltFile(f"{stored_key!r} is no revision")
        revision = int.from_bytes(stored_key[:8], "big")
        _restore_version(writer, leases, revision, stored_key[_KEY_BYTES:] == b"t", value)
    working = _finish(file, writer, bump)
    working.applied_index, working.applied_term = index, term
    for bucket, table in SAME_TABLES.items():
        for record in file.records(bucket):
            working.transaction.put(table, *record)
    state = layout.STATE.pack(index, term, working.revision, working.compacted, working.scrubbed)
    working.transaction.put(layout.META, layout.STATE_KEY, state)
    working.transaction.commit()
    store.sync()
    return Restored(working.revision, working.compacted, versions, len(leases))


class _Writer:
    """One write transaction after the other."""

    def __init__(self, store: OrderedStore) -> None:
        self._store = store
        self.transaction = store.begin()
        self.revision = 1
        self.place = 0  # of the next event in the newest revision
        self._writes = 0

    def begin_record(self, revision: int) -> None:
        """The next record is of `revision`."""
        if revision < self.revision:
            raise BadBoltFile(f"revision {revision} comes after {self.revision}")
        if revision > self.revision:
            self.revision, self.place = revision, 0
            self._writes += 1
            if not self._writes % _COMMIT_WRITES:
                self.next_transaction()

    def next_transaction(self) -> Transaction:
        """Commit, and go on."""
        self.transaction.commit(durable=False)
        self.transaction = self._store.begin()
        return self.transaction


def _restore_version(writer: _Writer, leases: set[int], revision: int, is_tombstone: bool, value: bytes) -> None:
    writer.begin_record(revision)
    if not value:  # what `etcdutl snapshot restore --bump-revision` leaves behind
        return
    transaction = writer.transaction
    try:
        key_value = KeyValue.FromString(value)
    except DecodeError as error:
        raise BadBoltFile(f"the record of revision {revision} is no KeyValue") from error
    key = key_value.key
    previous = transaction.get(layout.CURRENT, key)
    old_lease = 0
    if previous is not None:
        old = KeyValue.FromString(previous)
        old_lease = old.lease
        transaction.put(layout.HISTORY, layout.history_key(key, old.mod_revision, layout.KIND_PUT), previous)
    tombstone = layout.history_key(key, revision, layout.KIND_DELETE)
    if is_tombstone:
        transaction.put(layout.HISTORY, tombstone, b"")
        transaction.delete(layout.CURRENT, key)
    else:
        if writer.place and previous is None:
            transaction.delete(layout.HISTORY, tombstone)  # deleted and put in one revision: it never was dead
        transaction.put(layout.CURRENT, key, value)
    kind = layout.KIND_DELETE if is_tombstone else layout.KIND_PUT
    transaction.append(layout.EVENTS, layout.event_key(revision, writer.place), kind + key)
    writer.place += 1
    new_lease = 0 if is_tombstone else key_value.lease
    if old_lease != new_lease:
        _move(transaction, leases, key, old_lease, new_lease)


def _move(transaction: Transaction, leases: set[int], key: bytes, old_lease: int, new_lease: int) -> None:
    if old_lease in leases:
        transaction.delete(layout.LEASE_KEYS, layout.lease_key(old_lease) + key)
    if new_lease in leases:
        transaction.put(layout.LEASE_KEYS, layout.lease_key(new_lease) + key, b"")


def _restore_leases(file: BoltFile, writer: _Writer) -> set[int]:
    leases: set[int] = set()
    for stored_key, value in file.records(b"lease"):
        fields = _numbers(value)
        if stored_key != fields.get(_LEASE_ID, 0).to_bytes(8, "big"):
            raise BadBoltFile(f"{stored_key!r} is not the key of its lease")
        remaining = fields.get(_LEASE_REMAINING, 0)
        lease = layout.LEASE.pack(fields.get(_LEASE_TTL, 0), 0) + (layout.REMAINING.pack(remaining) if remaining else b"")
        writer.transaction.put(layout.LEASES, stored_key, lease)
        leases.add(layout.lease_of(stored_key))
    return leases


def _numbers(message: bytes) -> dict[int, int]:
    """Return the fields of a protobuf message that holds nothing but varints, unsigned."""
    fields: dict[int, int] = {}
    tag, number, shift = 0, 0, 0
    for byte in message:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            if not tag:
                tag = number
                if tag & 7 or not tag:
                    raise BadBoltFile("a lease holds more than numbers")
            else:
                fields[tag >> 3] = number & _UNSIGNED
                tag = 0
            number = shift = 0
    return fields


def _finish(file: BoltFile, writer: _Writer, bump: Bump) -> Working:
    """Compact as the snapshot says, lift the revision, and scrub."""
    marks = dict(file.records(b"meta"))
    compacted = max(int.from_bytes(marks.get(name, b"")[:8], "big") for name in _COMPACTION_MARKS)
    revision = max(writer.revision, compacted) + bump.revisions
    if bump.marks_compacted:
        compacted = revision
    working = Working(writer.transaction, revision=revision, compacted=compacted)
    while compaction.scrub(working, _SCRUB_EVENTS):
        working.transaction = writer.next_transaction()
    return working


_COMPACTION_MARKS = (b"scheduledCompactRev", b"finishedCompactRev")
