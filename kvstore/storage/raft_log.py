"""RaftLog: entries, hard state and snapshot mark in an ordered store of their own; save() is one durable transaction.

Table `entries`: one record for each saved batch, under its first index (64-bit big-endian), so that a turn of the
member is one write whatever it holds. Table `meta`:

    tail      term and vote; last index and its term, so that a missing end is noticed
    mark      what the entries follow: index, term, configuration, and the members as of then
    incoming  the same of a snapshot that is replacing the state right now

Every record carries a CRC-32 of its key and its body. Nothing is repaired here: a record that does not match, or is
missing, is CorruptLog, and the member must not vote with it.
"""

import struct

from kvstore.raft.configuration import decode_configuration
from kvstore.raft.packing import pack_entries, unpack_entries
from kvstore.raft.types import Entry, HardState, Persist, Restored, SnapshotMark
from kvstore.storage.codec import ChecksumMismatch, pack, seal, unpack, unseal
from kvstore.storage.port import OrderedStore, Transaction, View

TABLES = ("entries", "meta")
_ENTRIES, _META = TABLES
_TAIL, _MARK, _INCOMING = b"tail", b"mark", b"incoming"
_INDEX = struct.Struct(">Q")
_TAIL_RECORD = struct.Struct(">QQQQ")


class CorruptLog(Exception):
    """The log on disk is damaged, incomplete, or not the state's; the message says where."""


class DamagedLog(CorruptLog):
    """Bytes that had been written whole are others now: the disk's fault."""


class StateTooOld(CorruptLog):
    """The log is whole, but begins behind what the state holds. `restored`: what the log holds, as if it held the state."""

    def __init__(self, message: str, restored: Restored) -> None:
        super().__init__(message)
        self.restored = restored


class RaftLog:
    """One member's log. One caller at a time, any thread. Open the store with TABLES."""

    def __init__(self, store: OrderedStore) -> None:
        self._store = store
        self._hard_state = HardState(0, 0)
        self._last_index = 0
        self._last_term = 0

    # Reading -----------------------------------------------------------------------------------------------------

    def load(self, applied: int) -> Restored | None:
        """What the log holds, None when it is new; `applied` is the state's own index. Raises CorruptLog."""
        view = self._store.view()
        try:
            if view.get(_META, _MARK) is None and view.get(_META, _TAIL) is None:
                return None
            is_installed = self._end_install(view, applied)
        finally:
            view.close()
        if is_installed:
            return self.load(applied)
        view = self._store.view()
        try:
            return self._read(view, applied)
        finally:
            view.close()

    def _read(self, view: View, applied: int) -> Restored:
        mark, _ = self._mark(view, _MARK)
        tail = _unseal(_TAIL, view.get(_META, _TAIL))
        term, vote, self._last_index, self._last_term = _TAIL_RECORD.unpack(tail)
        self._hard_state = HardState(term, vote)
        entries: list[Entry] = []
        for key, record in view.scan(_ENTRIES):
            batch = self._batch(key, record)
            if entries and batch[0].index != entries[-1].index + 1:
                raise CorruptLog(f"entries {entries[-1].index + 1} to {batch[0].index - 1} are missing")
            entries += batch
        kept = tuple(entry for entry in entries if entry.index > mark.index)
        if kept and kept[0].index != mark.index + 1:
            raise CorruptLog(f"entries {mark.index + 1} to {kept[0].index - 1} are missing")
        end = (kept[-1].index, kept[-1].term) if kept else (mark.index, mark.term)
        if end != (self._last_index, self._last_term):
            raise CorruptLog(f"the log ends at {end[0]}, it should end at {self._last_index}")
        if not mark.index <= applied <= end[0]:
            raise CorruptLog(f"the state has applied {applied}, the log holds {mark.index + 1} to {end[0]}")
        return Restored(self._hard_state, mark, kept, applied)

    def membership(self) -> bytes:
        """The encoded table of members as of the mark, empty when none was saved."""
        view = self._store.view()
        try:
            return self._mark(view, _MARK)[1] if view.get(_META, _MARK) is not None else b""
        finally:
            view.close()

    @staticmethod
    def _mark(view: View, key: bytes) -> tuple[SnapshotMark, bytes]:
        index, term, configuration, membership = unpack(_unseal(key, view.get(_META, key)))
        return SnapshotMark(index, term, decode_configuration(configuration)), membership

    @staticmethod
    def _batch(key: bytes, record: bytes | None) -> tuple[Entry, ...]:
        (first,) = _INDEX.unpack(key)
        try:
            batch = unpack_entries(first, _unseal(key, record))
        except (ValueError, struct.error, IndexError) as error:
            raise CorruptLog(f"the entries from {first} on cannot be read: {error}") from error
        if not batch:
            raise CorruptLog(f"the record of entry {first} is empty")
        return batch

    # Writing -----------------------------------------------------------------------------------------------------

    def save(self, *persists: Persist) -> None:
        """Write them all, in order, in one durable transaction; raises StoreFull."""
        with _Committing(self._store) as transaction:
            for persist in persists:
                if persist.hard_state is not None:
                    self._hard_state = persist.hard_state
                if persist.snapshot is not None:
                    self._put_snapshot(transaction, persist.snapshot)
                if persist.entries:
                    self._put_entries(transaction, persist.entries)
            self._put_tail(transaction)

    def _put_entries(self, transaction: Transaction, entries: tuple[Entry, ...]) -> None:
        first, last = entries[0].index, entries[-1]
        if first <= self._last_index:
            self._truncate(transaction, first)
        key = _INDEX.pack(first)
        transaction.append(_ENTRIES, key, seal(key, pack_entries(entries)))
        self._last_index, self._last_term = last.index, last.term

    def _put_tail(self, transaction: Transaction) -> None:
        state = self._hard_state
        tail = _TAIL_RECORD.pack(state.term, state.vote, self._last_index, self._last_term)
        transaction.put(_META, _TAIL, seal(_TAIL, tail))

    def _put_snapshot(self, transaction: Transaction, mark: SnapshotMark) -> None:
        membership = b""
        if transaction.get(_META, _INCOMING) is not None:
            incoming, membership = self._mark(transaction, _INCOMING)
            assert incoming == mark, f"the snapshot at {incoming.index} was announced, not that at {mark.index}"
            transaction.delete(_META, _INCOMING)
        transaction.delete_range(_ENTRIES)
        transaction.put(_META, _MARK, _seal_mark(_MARK, mark, membership))
        self._last_index, self._last_term = mark.index, mark.term

    def _truncate(self, transaction: Transaction, first: int) -> None:
        """Drop every entry from `first` on."""
        transaction.delete_range(_ENTRIES, _INDEX.pack(first))
        found = transaction.last(_ENTRIES)
        if found is not None:
            kept = [entry for entry in self._batch(*found) if entry.index < first]
            transaction.put(_ENTRIES, found[0], seal(found[0], pack_entries(kept)))

    def compact(self, mark: SnapshotMark, membership: bytes) -> None:
        """Drop the entries through mark.index, as far as whole batches go. A power loss may undo it."""
        with _Committing(self._store, durable=False) as transaction:
            transaction.put(_META, _MARK, _seal_mark(_MARK, mark, membership))
            found = transaction.last(_ENTRIES, b"", _INDEX.pack(mark.index + 1))
            if found is not None:
                ends_later = self._batch(*found)[-1].index > mark.index
                transaction.delete_range(_ENTRIES, b"", found[0] if ends_later else _INDEX.pack(mark.index + 1))

    def begin_install(self, mark: SnapshotMark, membership: bytes) -> None:
        """Note durably that the state is about to be replaced by the snapshot at `mark`."""
        with _Committing(self._store) as transaction:
            transaction.put(_META, _INCOMING, _seal_mark(_INCOMING, mark, membership))

    def _end_install(self, view: View, applied: int) -> bool:
        """A crash fell between the state's replacement and the log's: finish or forget it."""
        if view.get(_META, _INCOMING) is None:
            return False
        mark, _ = self._mark(view, _INCOMING)
        with _Committing(self._store) as transaction:
            if applied >= mark.index:
                term, vote, _, _ = _TAIL_RECORD.unpack(_unseal(_TAIL, view.get(_META, _TAIL)))
                self._hard_state = HardState(max(term, mark.term), vote if term >= mark.term else 0)
                self._put_snapshot(transaction, mark)
                self._put_tail(transaction)
            else:
                transaction.delete(_META, _INCOMING)
        return True


class _Committing:
    """A write transaction that commits when the block ends and aborts when it fails."""

    def __init__(self, store: OrderedStore, *, durable: bool = True) -> None:
        self._transaction = store.begin()
        self._durable = durable

    def __enter__(self) -> Transaction:
        return self._transaction

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self._transaction.commit(durable=self._durable)
        else:
            self._transaction.abort()


def _seal_mark(key: bytes, mark: SnapshotMark, membership: bytes) -> bytes:
    return seal(key, pack([mark.index, mark.term, mark.configuration.encode(), membership]))


def _unseal(key: bytes, record: bytes | None) -> bytes:
    if record is None:
        raise CorruptLog(f"record {key!r} is missing")
    try:
        return unseal(key, record)
    except ChecksumMismatch as error:
        raise CorruptLog(str(error)) from error
