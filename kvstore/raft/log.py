"""The tail of the log in memory.

Everything that is on disk after the snapshot mark is also here, so the core never reads the disk. The tail is bounded
because the member compacts it by entries and by bytes (`Compacted`); a follower that is behind the tail gets a
snapshot. Four marks divide it, each at or before the next where both are stated:

    snapshot.index <= applied <= committed <= last_index;   applied <= stable <= handed <= last_index

`handed`: given to the disk; `stable`: on disk for certain; `applied`: given out to the state machine.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from kvstore.raft.configuration import Configuration, decode_configuration
from kvstore.raft.types import Entry, EntryKind, Restored, SnapshotMark

ENTRY_OVERHEAD_BYTES = 64


class LogTail:
    """Entries after `snapshot`, and how far each of them has come."""

    __slots__ = (
        "_configurations",
        "_entries",
        "_outstanding",
        "applied",
        "bytes",
        "committed",
        "handed",
        "snapshot",
        "stable",
    )

    def __init__(self, restored: Restored) -> None:
        self.snapshot: SnapshotMark = restored.snapshot
        self._entries: list[Entry] = list(restored.entries)
        self._configurations: list[tuple[int, Configuration]] = []
        self._outstanding: deque[list[int]] = deque()  # [number of the Persist, last index in it]
        self.bytes = 0
        self._note(self._entries)
        self.applied = max(restored.applied, restored.snapshot.index)
        self.committed = self.applied
        self.stable = self.handed = self.last_index
        if self.applied > self.last_index:
            raise ValueError(f"the state has applied {self.applied}, the log ends at {self.last_index}")

    @property
    def last_index(self) -> int:
        return self.snapshot.index + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.snapshot.term

    def term(self, index: int) -> int | None:
        """The term of the entry at `index`; None when it is compacted or not there yet."""
        offset = index - self.snapshot.index - 1
        if offset == -1:
            return self.snapshot.term
        return self._entries[offset].term if 0 <= offset < len(self._entries) else None

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a candidate whose log ends there may have a vote (paper, 5.4.1)."""
        mine = self.last_term
        return last_term > mine or (last_term == mine and last_index >= self.last_index)

    def slice(self, low: int, limit_bytes: int) -> tuple[Entry, ...]:
        """Entries from `low` on, at least one if there is one, at most `limit_bytes` of them."""
        entries = self._entries
        start = position = low - self.snapshot.index - 1
        size, end = 0, len(entries)
        while position < end:
            size += len(entries[position].data) + ENTRY_OVERHEAD_BYTES
            if size > limit_bytes and position > start:
                break
            position += 1
        return tuple(entries[start:position])

    def between(self, low: int, high: int) -> tuple[Entry, ...]:
        """Entries with low <= index <= high."""
        offset = self.snapshot.index + 1
        return tuple(self._entries[low - offset : high - offset + 1])

    def append(self, entries: Sequence[Entry]) -> None:
        """Add the next entries; the first index must be last_index + 1."""
        self._entries += entries
        self._note(entries)

    def _note(self, entries: Sequence[Entry]) -> None:
        configuration, size = EntryKind.CONFIGURATION, len(entries) * ENTRY_OVERHEAD_BYTES
        for entry in entries:
            size += len(entry.data)
            if entry.kind is configuration:
                self._configurations.append((entry.index, decode_configuration(entry.data)))
        self.bytes += size

    def merge(self, entries: tuple[Entry, ...]) -> None:
        """Add what is new of a leader's `entries`, dropping my tail from the first that conflicts (paper, 5.3)."""
        for position, entry in enumerate(entries):
            if self.term(entry.index) != entry.term:
                if entry.index <= self.last_index:
                    self._truncate(entry.index)
                self.append(entries[position:] if position else entries)
                return

    def _truncate(self, first: int) -> None:
        assert first > self.committed, f"entry {first} is committed and must not be dropped"
        offset = first - self.snapshot.index - 1
        for entry in self._entries[offset:]:
            self.bytes -= len(entry.data) + ENTRY_OVERHEAD_BYTES
        del self._entries[offset:]
        while self._configurations and self._configurations[-1][0] >= first:
            self._configurations.pop()
        self.handed = min(self.handed, first - 1)
        self.stable = min(self.stable, first - 1)
        for record in self._outstanding:
            record[1] = min(record[1], first - 1)

    def newest_possible_match(self, index: int, term: int) -> tuple[int, int]:
        """The newest (index, term) here that can agree with a log whose entry at `index` has `term`."""
        index = min(index, self.last_index)
        while True:
            mine = self.term(index)
            if mine is None:
                return index, 0
            if mine <= term:
                return index, mine
            index -= 1

    def hand_over(self, number: int) -> tuple[Entry, ...]:
        """The entries that the disk has not been given yet; they belong to the Persist `number`."""
        new = self.between(self.handed + 1, self.last_index)
        self.handed = self.last_index
        self._outstanding.append([number, self.handed])
        return new

    def on_persisted(self, number: int) -> None:
        """The Persist `number` and all before it are on disk."""
        while self._outstanding and self._outstanding[0][0] <= number:
            self.stable = max(self.stable, self._outstanding.popleft()[1])

    def commit_to(self, index: int) -> bool:
        """Raise the commit index; False when it does not rise."""
        if index <= self.committed:
            return False
        assert index <= self.last_index, f"commit {index} is beyond the log's end {self.last_index}"
        self.committed = index
        return True

    def take_applicable(self, limit: int) -> tuple[Entry, ...]:
        """Entries that are committed and on this disk and were not given out before, at most `limit`."""
        high = min(self.committed, self.stable, self.applied + limit)
        if high <= self.applied:
            return ()
        entries = self.between(self.applied + 1, high)
        self.applied = high
        return entries

    @property
    def has_applicable(self) -> bool:
        return min(self.committed, self.stable) > self.applied

    def compact(self, index: int) -> None:
        """Forget the entries through `index`, which must be applied."""
        assert index <= self.applied, f"entry {index} is not applied yet and must not be compacted"
        if index <= self.snapshot.index:
            return
        self.snapshot = self.mark(index)
        offset = index - self._entries[0].index + 1
        for entry in self._entries[:offset]:
            self.bytes -= len(entry.data) + ENTRY_OVERHEAD_BYTES
        del self._entries[:offset]
        self._configurations = [known for known in self._configurations if known[0] > index]

    def mark(self, index: int) -> SnapshotMark:
        """The snapshot mark of an index in the tail."""
        term = self.term(index)
        assert term is not None, f"entry {index} is not in the tail"
        return SnapshotMark(index, term, self.configuration_at(index))

    def restore(self, mark: SnapshotMark) -> None:
        """Start over from a snapshot."""
        self.snapshot = mark
        self._entries.clear()
        self._configurations.clear()
        self.bytes = 0
        self.committed = self.applied = self.handed = mark.index
        self.stable = mark.index
        for record in self._outstanding:
            record[1] = 0

    @property
    def configuration(self) -> Configuration:
        """The newest in the log, committed or not: a member uses it from the moment it is appended (4.1)."""
        return self._configurations[-1][1] if self._configurations else self.snapshot.configuration

    @property
    def configuration_index(self) -> int:
        return self._configurations[-1][0] if self._configurations else self.snapshot.index

    def configuration_at(self, index: int) -> Configuration:
        position = bisect_right(self._configurations, index, key=lambda known: known[0])
        return self._configurations[position - 1][1] if position else self.snapshot.configuration
