"""The log against a dictionary, over any row of writes, compactions, full disks and power cuts."""

from collections import Counter
from pathlib import Path
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chaos.sim.boundary import Boundaries, SimulatedCrash
from chaos.sim.files import SimulatedFiles
from kvstore.raft.configuration import make_configuration
from kvstore.raft.types import Entry, EntryKind, HardState, Persist, SnapshotMark
from kvstore.storage.file_log import FileLog
from kvstore.storage.port import StoreFull

FOLDER = Path("/log")
CONFIGURATION = make_configuration([1, 2, 3])


class LogLife(RuleBasedStateMachine):
    """`entries`: index -> (term, data), after `mark`; `vote`: term and vote."""

    @initialize(seed=st.integers(0, 1 << 20))
    def begin(self, seed: int) -> None:
        self.boundaries = Boundaries(Counter(), Counter())
        self.files = SimulatedFiles(Random(seed), self.boundaries)
        self.log = FileLog(FOLDER, segment_bytes=1024, files=self.files)
        assert self.log.load(0) is None
        self.entries: dict[int, tuple[int, bytes]] = {}
        self.mark, self.mark_term, self.hard_state = 0, 0, HardState(1, 0)
        first = SnapshotMark(0, 0, CONFIGURATION)
        self.log.begin_install(first, b"members")
        self.log.save(Persist(0, self.hard_state, (), first))

    @property
    def last(self) -> int:
        return max(self.entries, default=self.mark)

    @rule(back=st.integers(0, 3), sizes=st.lists(st.integers(0, 700), max_size=4), votes=st.booleans(), dies_at=st.integers(0, 9))
    def save(self, back: int, sizes: list[int], votes: bool, dies_at: int) -> None:
        """Entries of a new term replace up to three of the tail; the process may die on the way."""
        hard = HardState(self.hard_state.term + 1, 2) if votes else self.hard_state
        first = max(self.mark, self.last - back) + 1
        new = {first + place: (hard.term, bytes([1 + place]) * size) for place, size in enumerate(sizes)}
        entries = tuple(Entry(index, term, EntryKind.COMMAND, data) for index, (term, data) in new.items())
        kept = {index: entry for index, entry in self.entries.items() if not new or index < first} | new
        self.boundaries.arm(dies_at)
        try:
            self.log.save(Persist(0, hard, entries, None))
        except StoreFull:
            pass
        except SimulatedCrash:
            self.crash_between((self.hard_state, self.entries), (hard, kept))
        else:
            self.hard_state, self.entries = hard, kept
        self.boundaries.arm(0)

    def crash_between(self, *possible: tuple[HardState, dict[int, tuple[int, bytes]]]) -> None:
        """A write that was under way is there in whole, or not at all."""
        self.boundaries.arm(0)
        found = self.reopen()
        assert found in possible
        self.hard_state, self.entries = found

    @rule(share=st.floats(0, 1))
    def compact(self, share: float) -> None:
        index = self.mark + int(share * (self.last - self.mark))
        if index > self.mark:
            term = self.entries[index][0]
            try:
                self.log.compact(SnapshotMark(index, term, CONFIGURATION), b"members")
            except StoreFull:
                return
            self.mark, self.mark_term = index, term
            self.entries = {at: entry for at, entry in self.entries.items() if at > index}

    @rule(has_room=st.booleans())
    def fill_or_free(self, has_room: bool) -> None:
        self.files.has_room = has_room

    @rule()
    def cut_power(self) -> None:
        assert self.reopen() == (self.hard_state, self.entries)

    def reopen(self) -> tuple[HardState, dict[int, tuple[int, bytes]]]:
        self.files.crash()
        self.files.has_room = True
        self.log = FileLog(FOLDER, segment_bytes=1024, files=self.files)
        restored = self.log.load(self.mark)
        assert restored is not None
        assert (restored.snapshot.index, restored.snapshot.term) == (self.mark, self.mark_term)
        return restored.hard_state, {entry.index: (entry.term, entry.data) for entry in restored.entries}

    @invariant()
    def members_stay(self) -> None:
        assert self.log.membership() == b"members"


TestLogLife = LogLife.TestCase
TestLogLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
