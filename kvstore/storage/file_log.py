"""FileLog: the Log port on an append-only file; save() is one write and one fdatasync, half of what LMDB's commit costs.

One frame (segments.py) for each save, compaction or begun install; its body is a row of parts, each a kind, a length and

    ENTRIES   term, vote, first index, packed entries: these replace everything from the first on (there may be none)
    STATE     all that is not entries: term, vote, last index and its term, mark, members, the snapshot that is arriving
    RESET     the same, and no entry before it counts any more

A segment begins with a STATE. What was compacted stays in the file until its segment holds nothing else.
An older member's log, which was a database of LMDB (RaftLog), is taken over by `open_log`.
"""

import logging
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kvstore.raft.configuration import decode_configuration
from kvstore.raft.packing import pack_entries, unpack_entries
from kvstore.raft.types import Entry, HardState, Persist, Restored, SnapshotMark
from kvstore.storage.codec import pack, unpack
from kvstore.storage.files import SYSTEM_FILES, Files
from kvstore.storage.lmdb_store import LmdbStore
from kvstore.storage.raft_log import TABLES, CorruptLog, DamagedLog, RaftLog, StateTooOld
from kvstore.storage.segments import SEGMENT_BYTES, SUFFIX, DamagedSegment, MissingSegment, Segments

__all__ = ["FileLog", "open_log"]

logger = logging.getLogger("kvstore.storage")

_END, _ENTRIES, _STATE, _RESET = range(4)
_PART = struct.Struct(">BI")
_BATCH = struct.Struct(">QQQ")
BEGUN = "-begun"
_LMDB_FILES = ("data.mdb", "lock.mdb")


@dataclass(frozen=True, slots=True)
class _State:
    """All that is not entries. `incoming`: the snapshot that is about to replace the state, and its members."""

    hard_state: HardState
    last_index: int
    last_term: int
    mark: SnapshotMark | None
    membership: bytes
    incoming: tuple[SnapshotMark, bytes] | None

    def encode(self, kind: int) -> bytes:
        """A part of that kind."""
        mark = None if self.mark is None else _encode_mark(self.mark, self.membership)
        incoming = None if self.incoming is None else _encode_mark(*self.incoming)
        hard = self.hard_state
        packed = pack([hard.term, hard.vote, self.last_index, self.last_term, mark, incoming])
        return _PART.pack(kind, len(packed)) + packed


def _decode_state(part: bytes) -> _State:
    term, vote, last_index, last_term, mark, incoming = unpack(part)
    known, membership = (None, b"") if mark is None else _decode_mark(mark)
    return _State(HardState(term, vote), last_index, last_term, known, membership,
                  None if incoming is None else _decode_mark(incoming))


def _encode_mark(mark: SnapshotMark, membership: bytes) -> list[Any]:
    return [mark.index, mark.term, mark.configuration.encode(), membership]


def _decode_mark(fields: list[Any]) -> tuple[SnapshotMark, bytes]:
    index, term, configuration, membership = fields
    return SnapshotMark(index, term, decode_configuration(configuration)), membership


class FileLog:
    """One member's log in `folder`. One caller at a time, any thread. `load` comes first."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, files: Files = SYSTEM_FILES) -> None:
        self._folder, self._files = folder, files
        self._segments = Segments(folder, self._opening, segment_bytes=segment_bytes, files=files)
        self._begun, self._noted = folder.with_name(folder.name + BEGUN), 0  # the newest segment that is noted there
        self._state = _State(HardState(0, 0), 0, 0, None, b"", None)  # as of the last frame

    # Reading -----------------------------------------------------------------------------------------------------

    def load(self, applied: int) -> Restored | None:
        """What the log holds, None when it is new; `applied` is the state's own index. Raises CorruptLog."""
        try:
            return self._load(applied)
        except CorruptLog as error:
            error.args = (f"{self._folder}: {error}",)
            raise

    def _load(self, applied: int) -> Restored | None:
        entries: list[Entry] = []
        try:
            self._segments.read(lambda body: self._take(body, entries))
        except DamagedSegment as error:
            raise DamagedLog(str(error)) from error
        except MissingSegment as error:
            raise CorruptLog(str(error)) from error
        except (ValueError, struct.error, IndexError, TypeError) as error:
            raise CorruptLog(f"a frame of the log cannot be read: {error!r}") from error
        self._check_begun()
        self._kept(entries)
        self._segments.resume()
        self._end_install(applied, entries)
        mark, kept = self._state.mark, self._kept(entries)
        if mark is None:
            return None
        self._note_begun()
        text = f"the state has applied {applied}, the log holds {mark.index + 1} to {self._state.last_index}"
        if applied < mark.index:
            raise StateTooOld(text, Restored(self._state.hard_state, mark, kept, mark.index))
        if applied > self._state.last_index:
            raise CorruptLog(text)
        return Restored(self._state.hard_state, mark, kept, applied)

    def _kept(self, entries: list[Entry]) -> tuple[Entry, ...]:
        """The entries after the mark, all of them."""
        state, mark = self._state, self._state.mark
        if mark is None:
            return ()
        kept = tuple(entry for entry in entries if entry.index > mark.index)
        if kept and kept[0].index != mark.index + 1:
            raise CorruptLog(f"entries {mark.index + 1} to {kept[0].index - 1} are missing")
        end = (kept[-1].index, kept[-1].term) if kept else (mark.index, mark.term)
        if end != (state.last_index, state.last_term):
            raise CorruptLog(f"the log ends at {end[0]}, it should end at {state.last_index}")
        return kept

    def _check_begun(self) -> None:
        """A member without its log, or the end of it, has forgotten its votes and what it acknowledged."""
        if not self._files.exists(self._begun):
            return
        if not self._segments.newest:
            raise CorruptLog(f"the log is missing, and {self._begun} says that there was one")
        try:
            noted = int(self._files.read(self._begun).strip(b"\0") or b"0", 16)  # it has grown, and its bytes were lost
        except ValueError as error:
            raise CorruptLog(f"{self._begun} cannot be read: {error}") from error
        if self._segments.newest < noted:
            raise CorruptLog(f"the log ends with segment {self._segments.newest:x}, and {self._begun} knows of {noted:x}")

    def _take(self, body: bytes, entries: list[Entry]) -> int:
        position = 0
        while position < len(body) and body[position] != _END:
            kind, length = _PART.unpack_from(body, position)
            position += _PART.size
            part = body[position : position + length]
            position += length
            if kind == _ENTRIES:
                self._take_entries(part, entries)
            elif kind in (_STATE, _RESET):
                self._state = _decode_state(part)
                if kind == _RESET:
                    entries.clear()
            else:
                raise CorruptLog(f"a part of the log is of the unknown kind {kind}")
        return self._state.last_index

    def _take_entries(self, part: bytes, entries: list[Entry]) -> None:
        term, vote, first = _BATCH.unpack_from(part)
        state = self._state = replace(self._state, hard_state=HardState(term, vote))
        batch = unpack_entries(first, part[_BATCH.size :]) if first else ()
        if not batch:
            return
        if first > state.last_index + 1:
            raise CorruptLog(f"entries {state.last_index + 1} to {first - 1} are missing")
        if entries and first <= entries[-1].index:
            del entries[max(0, first - entries[0].index) :]
        entries += batch
        self._state = replace(state, last_index=batch[-1].index, last_term=batch[-1].term)

    def _end_install(self, applied: int, entries: list[Entry]) -> None:
        """A crash fell between the state's replacement and the log's: finish or forget it."""
        state = self._state
        if state.incoming is None:
            return
        mark, hard = state.incoming[0], state.hard_state
        if applied >= mark.index:
            entries.clear()
            hard = HardState(max(hard.term, mark.term), hard.vote if hard.term >= mark.term else 0)
            self._append(_replaced(replace(state, hard_state=hard), mark), _RESET)
        else:
            self._append(replace(state, incoming=None), _STATE)

    def membership(self) -> bytes:
        """The encoded table of members as of the mark, empty when none was saved."""
        return self._state.membership

    # Writing -----------------------------------------------------------------------------------------------------

    def save(self, *persists: Persist) -> None:
        """Write them all, in order, in one durable frame; raises StoreFull, OSError."""
        parts: list[bytes] = []
        state = self._state
        hard, last_index, last_term = state.hard_state, state.last_index, state.last_term
        for persist in persists:
            hard, entries, mark = persist.hard_state or hard, persist.entries, persist.snapshot
            if mark is not None:
                state = _replaced(replace(state, hard_state=hard), mark)
                last_index, last_term = mark.index, mark.term
                parts.append(state.encode(_RESET))
            first, packed = 0, b""
            if entries:
                first, packed, last = entries[0].index, pack_entries(entries), entries[-1]
                last_index, last_term = last.index, last.term
            parts += (_PART.pack(_ENTRIES, _BATCH.size + len(packed)), _BATCH.pack(hard.term, hard.vote, first), packed)
        self._segments.append(b"".join(parts))
        self._state = _State(hard, last_index, last_term, state.mark, state.membership, state.incoming)
        if self._segments.newest != self._noted:
            self._note_begun()

    def compact(self, mark: SnapshotMark, membership: bytes) -> None:
        """Drop the entries through mark.index; the room comes back in whole segments."""
        self._append(replace(self._state, mark=mark, membership=membership), _STATE)
        self._segments.drop_until(mark.index)

    def begin_install(self, mark: SnapshotMark, membership: bytes) -> None:
        """Note durably that the state is about to be replaced by the snapshot at `mark`."""
        self._append(replace(self._state, incoming=(mark, membership)), _STATE)

    def _note_begun(self) -> None:
        """Leave a note beside the log that there is one, with its newest segment, so that a loss is noticed."""
        file = self._files.open(self._begun, create=True)
        try:
            self._files.pwrite(file, b"%016x" % self._segments.newest, 0)
            self._files.fdatasync(file)
        except OSError as error:  # a disk without room: an older number does no harm
            logger.warning("%s cannot be written: %s", self._begun, error)
        finally:
            self._files.close(file)
        if not self._noted:
            self._files.sync_folder(self._begun.parent)
        self._noted = self._segments.newest

    def _append(self, state: _State, kind: int) -> None:
        self._segments.append(state.encode(kind))
        self._state = state

    def _opening(self) -> tuple[bytes, int]:
        """The first frame of a new segment: what is true before the frame that has no room in the last."""
        return self._state.encode(_STATE), self._state.last_index

    def restore(self, restored: Restored, membership: bytes) -> None:
        """Fill a new log with what another held."""
        state, mark, entries = restored.hard_state, restored.snapshot, restored.entries
        self._append(replace(self._state, incoming=(mark, membership)), _STATE)
        self.save(Persist(0, state, entries, mark))

    def close(self) -> None:
        """Let go of the files."""
        self._segments.close()


def _replaced(state: _State, mark: SnapshotMark) -> _State:
    """A snapshot has taken the place of everything before it."""
    assert state.incoming is None or state.incoming[0] == mark, "another snapshot was announced"
    membership = b"" if state.incoming is None else state.incoming[1]
    return _State(state.hard_state, mark.index, mark.term, mark, membership, None)


def open_log(folder: Path, applied: int) -> FileLog:
    """The log in `folder`, not loaded yet; what an older version left there as a database is taken over first.

    `applied` is the state's own index. Raises CorruptLog.
    """
    database, made = folder / _LMDB_FILES[0], folder / "made"
    if database.exists() and not made.exists():
        for left in folder.glob(f"*{SUFFIX}"):
            left.unlink()
        _take_over(folder, applied)
        made.touch()
    if database.exists():
        for name in _LMDB_FILES:
            (folder / name).unlink(missing_ok=True)
    made.unlink(missing_ok=True)
    return FileLog(folder)


def _take_over(folder: Path, applied: int) -> None:
    store = LmdbStore(folder, TABLES)
    try:
        older = RaftLog(store)
        restored = older.load(applied)
        if restored is not None:
            log = FileLog(folder)
            log.restore(restored, older.membership())
            log.close()
    finally:
        store.close()
