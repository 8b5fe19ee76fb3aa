"""What is looked at from inside: the core after every step, the state after every entry."""

from collections.abc import Iterable, Iterator
from typing import Any

from chaos.sim.boundary import Boundaries
from kvstore.member.member import Member
from kvstore.mvcc.state import StateMachine
from kvstore.raft.invariants import Invariants
from kvstore.raft.types import Effects, Input

__all__ = ["WatchedState", "watch_core"]


class WatchedState:
    """The StateMachine port on the shipped state, with boundaries where a process may die."""

    def __init__(self, machine: StateMachine, boundaries: Boundaries) -> None:
        self.machine = machine
        self._boundaries = boundaries

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
