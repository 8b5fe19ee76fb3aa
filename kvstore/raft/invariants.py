"""What must always hold, looked at after every step in tests and simulation (paper, figure 3).

    election safety          at most one leader in a term
    log matching             an entry (index, term) has one content and one predecessor, wherever it stands
    leader completeness      a leader's log holds every entry that was committed in a lower term
    state-machine safety     all members apply the same entry at an index, in order, each once
    monotony                 term and commit index never fall in one life of a member; a durable term never falls

`Invariants` is one for the whole cluster; it remembers, so each look costs only what is new.
"""

from collections.abc import Collection
from dataclasses import dataclass

from kvstore.raft.core import Raft
from kvstore.raft.log import LogTail
from kvstore.raft.quorum import has_quorum
from kvstore.raft.types import Effects, Entry, Role


class InvariantBroken(AssertionError):
    """The core is wrong: the message says which invariant, where."""


def require(condition: bool, text: str) -> None:
    if not condition:
        raise InvariantBroken(text)


@dataclass(slots=True)
class _Life:
    term: int
    committed: int
    applied: int


@dataclass(frozen=True, slots=True)
class _Committed:
    entry_term: int
    seen_in_term: int


class Invariants:
    """Feed it each member's state after each step: observe(raft, effects); restarted(raft) after a restart."""

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}
        self._durable_terms: dict[int, int] = {}
        self._leaders: dict[int, int] = {}
        self._entries: dict[tuple[int, int], tuple[Entry, int | None]] = {}
        self._committed: dict[int, _Committed] = {}
        self._applied: dict[int, Entry] = {}

    def restarted(self, raft: Raft) -> None:
        """A new life: what it restored must not be older than what it had promised."""
        require(raft.term >= self._durable_terms.get(raft.member_id, 0), f"member {raft.member_id} forgot its term")
        self._lives[raft.member_id] = _Life(raft.term, raft.log.committed, raft.log.applied)

    def observe(self, raft: Raft, effects: Effects) -> None:
        """Look at one member right after its step."""
        life = self._lives.setdefault(raft.member_id, _Life(0, 0, 0))
        check_member(raft)
        if effects.install is not None:
            life.applied = effects.install.index
        self._check_entries(raft, effects)
        self._check_commit(raft, life)
        self._check_leader(raft)
        self._check_applied(raft, effects, life)
        require(raft.term >= life.term, f"the term of member {raft.member_id} fell")
        life.term = raft.term

    def persisted(self, member: int, term: int) -> None:
        """The term that reached the disk of `member`."""
        self._durable_terms[member] = max(term, self._durable_terms.get(member, 0))

    def _check_entries(self, raft: Raft, effects: Effects) -> None:
        if effects.persist is None:
            return
        for entry in effects.persist.entries:
            previous_term = raft.log.term(entry.index - 1)
            known = self._entries.setdefault((entry.index, entry.term), (entry, previous_term))
            require(known[0] == entry, f"log matching: two entries at {entry.index} of term {entry.term}")
            if previous_term is not None and known[1] is not None:
                require(known[1] == previous_term, f"log matching: two predecessors of {entry.index}/{entry.term}")

    def _check_commit(self, raft: Raft, life: _Life) -> None:
        log = raft.log
        require(log.committed >= life.committed, f"the commit index of member {raft.member_id} fell")
        for index in range(max(life.committed, log.snapshot.index) + 1, log.committed + 1):
            term = log.term(index)
            assert term is not None
            known = self._committed.setdefault(index, _Committed(term, raft.term))
            require(known.entry_term == term, f"two entries are committed at {index}: of {known.entry_term} and {term}")
        life.committed = log.committed

    def _check_leader(self, raft: Raft) -> None:
        if raft.role is not Role.LEADER or self._leaders.get(raft.term) == raft.member_id:
            return
        other = self._leaders.setdefault(raft.term, raft.member_id)
        require(other == raft.member_id, f"election safety: {other} and {raft.member_id} both lead term {raft.term}")
        for index, known in self._committed.items():
            if known.seen_in_term < raft.term and index > raft.log.snapshot.index:
                holds = raft.log.term(index) == known.entry_term
                require(holds, f"leader completeness: leader {raft.member_id} of term {raft.term} lacks {index}")

    def _check_applied(self, raft: Raft, effects: Effects, life: _Life) -> None:
        for entry in effects.apply:
            require(entry.index == life.applied + 1, f"member {raft.member_id} applies {entry.index} out of order")
            life.applied = entry.index
            first = self._applied.setdefault(entry.index, entry)
            require(first == entry, f"state-machine safety: two entries were applied at {entry.index}")


def check_member(raft: Raft) -> None:
    """What holds inside one member."""
    log, me = raft.log, raft.member_id
    _check_marks(log, me)
    require(raft.role is not Role.LEADER or raft.leader == me, f"leader {me} does not know itself")
    require(raft.role is not Role.CANDIDATE or raft.vote == me, f"candidate {me} did not vote for itself")
    for member, progress in raft.progress.items():
        require(progress.match <= log.last_index, f"{me} believes that {member} holds more than exists")
        require(progress.next > progress.match, f"{me} would send again to {member} what it holds")
        require(progress.in_flight <= raft.config.max_in_flight_messages, f"{me} overruns {member}'s window")


def _check_marks(log: LogTail, me: int) -> None:
    require(log.snapshot.index <= log.applied <= log.committed <= log.last_index, f"the marks of {me} are out of order")
    require(log.applied <= log.stable, f"{me} applied what its disk may forget")
    require(log.stable <= log.handed <= log.last_index, f"{me} believes in writes that it never made")


def check_commit_is_durable(raft: Raft, index: int, holders: Collection[int]) -> None:
    """The members whose disks hold the entry at `index`, as `raft` has it, are a quorum of its configuration."""
    configuration = raft.log.configuration
    require(has_quorum(configuration, lambda v: v in holders), f"entry {index} is committed, but only on {holders}")
