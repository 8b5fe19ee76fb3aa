"""What is looked at from inside: the core after every step, the state after every entry, the log after every life."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chaos.sim.boundary import Boundaries
from kvstore.member.member import Member
from kvstore.mvcc.state import StateMachine
from kvstore.raft.invariants import InvariantBroken, Invariants, require
from kvstore.raft.types import Effects, HardState, Input, Persist, Restored, SnapshotMark
from kvstore.storage.file_log import FileLog
from kvstore.storage.port import StoreFull

__all__ = ["Kept", "LogForgot", "WatchedLog", "WatchedState", "watch_core"]


class LogForgot(InvariantBroken):
    """A log came back without something that it had made durable."""


class Kept:
    """What one host's log has promised to keep, from its first life on."""

    def __init__(self) -> None:
        self.hard_state = HardState(0, 0)
        self.mark = 0
        self.terms: dict[int, int] = {}  # by index, after the mark
        self.last_index = 0

    def saved(self, persist: Persist) -> None:
        """All of it is durable."""
        self.hard_state = persist.hard_state or self.hard_state
        if persist.snapshot is not None:
            self.terms.clear()
            self.mark = self.last_index = persist.snapshot.index
        for entry in persist.entries:
            self.terms[entry.index] = entry.term
        if persist.entries:
            last = persist.entries[-1].index
            for index in range(last + 1, self.last_index + 1):
                self.terms.pop(index, None)
            self.last_index = last

    def compacted(self, index: int) -> None:
        """The entries up to there may go."""
        for gone in range(self.mark + 1, index + 1):
            self.terms.pop(gone, None)
        self.mark = index

    def compare(self, who: str, restored: Restored) -> None:
        """What a new life finds. Writes that were under way may have become durable too."""
        found = {entry.index: entry.term for entry in restored.entries}
        hard, known = restored.hard_state, self.hard_state
        if hard.term < known.term or (hard.term == known.term and known.vote and hard.vote != known.vote):
            raise LogForgot(f"{who} had {known}, and came back with {hard}")
        newest = restored.entries[-1].term if restored.entries else restored.snapshot.term
        for index in range(max(restored.snapshot.index, self.mark) + 1, self.last_index + 1):
            if found.get(index, 0) < self.terms[index] >= newest:  # a newer leader's entries may have replaced more than they are
                raise LogForgot(f"{who} came back without entry {index} of term {self.terms[index]}: {found.get(index)}")
        self.hard_state, self.mark, self.terms = hard, restored.snapshot.index, found
        self.last_index = restored.entries[-1].index if restored.entries else restored.snapshot.index


class WatchedLog:
    """The Log port on the shipped log; what it made durable is compared with what the next life finds."""

    def __init__(self, log: FileLog, kept: Kept, who: str, on_durable: Callable[[int], None]) -> None:
        self.log, self._kept, self._who, self._on_durable = log, kept, who, on_durable

    def load(self, applied: int) -> Restored | None:
        restored = self.log.load(applied)
        if restored is not None:
            self._kept.compare(self._who, restored)
        else:
            require(not self._kept.last_index, f"the log of {self._who} has vanished")
        return restored

    def save(self, *persists: Persist) -> None:
        self.log.save(*persists)
        for persist in persists:
            self._kept.saved(persist)
        self._on_durable(self._kept.hard_state.term)

    def compact(self, mark: SnapshotMark, membership: bytes) -> None:
        self.log.compact(mark, membership)
        self._kept.compacted(mark.index)

    def begin_install(self, mark: SnapshotMark, membership: bytes) -> None:
        self.log.begin_install(mark, membership)

    def membership(self) -> bytes:
        return self.log.membership()


class WatchedState:
    """The StateMachine port on the shipped state, with boundaries where a process may die, and a disk that may be full."""

    def __init__(self, machine: StateMachine, boundaries: Boundaries, has_room: Callable[[], bool]) -> None:
        self.machine = machine
        self._boundaries, self._has_room = boundaries, has_room

    @property
    def applied_index(self) -> int:
        return self.machine.applied_index

    def apply(self, index: int, term: int, data: bytes) -> object:
        outcome = self.machine.apply(index, term, data)
        self._boundaries.passed("entry applied")
        return outcome

    def skip(self, index: int, term: int) -> None:
        self.machine.skip(index, term)

    def is_quick(self, data: bytes) -> bool:
        return self.machine.is_quick(data)

    def end_of_turn(self) -> None:
        self.machine.end_of_turn()
        self._boundaries.passed("watchers told")

    def commit(self) -> int:
        self._boundaries.passed("before the state is committed")
        if not self._has_room():
            raise StoreFull("simulated")
        index = self.machine.commit()
        self._boundaries.passed("state committed")
        return index

    def snapshot(self) -> Iterator[bytes]:
        return self.machine.snapshot()

    def restore(self, chunks: Iterable[bytes]) -> None:
        self._boundaries.passed("before a snapshot is installed")
        self.machine.restore(chunks)
        self._boundaries.passed("snapshot installed")


class _WatchedCore:
    """A Raft core with the invariants looked at after each step."""

    def __init__(self, core: Any, invariants: Invariants) -> None:
        self._core, self._invariants = core, invariants

    def step(self, inputs: Iterable[Input]) -> Effects:
        effects: Effects = self._core.step(inputs)
        self._invariants.observe(self._core, effects)
        return effects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def watch_core(member: Member, invariants: Invariants) -> None:
    """Look at the invariants after each step of this life of `member`."""
    invariants.restarted(member.raft)
    member.raft = _WatchedCore(member.raft, invariants)  # type: ignore[assignment]
