"""Raft.step(inputs) -> Effects: the one door.

What a role does with an input stands in a table, one dictionary for each role (`follower.py`, `candidate.py`,
`leader.py`). What every role does the same way is here: the rules about terms (`_receive`), votes, the disk's answers,
and the effects. Handlers change the Raft object and put messages into `outgoing` (true at once) or `promises` (true
after the fsync); nothing leaves before the end of the step, so the inputs of one step share one fsync and one append
to each follower.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from kvstore.raft import candidate, follower, leader
from kvstore.raft.log import LogTail
from kvstore.raft.progress import Progress
from kvstore.raft.reads import ReadRounds
from kvstore.raft.types import (
    Append,
    AppendReply,
    Campaign,
    CommitNotice,
    Compacted,
    Effects,
    HardState,
    Heartbeat,
    Input,
    InstallSnapshot,
    Message,
    Persist,
    Persisted,
    ReadReady,
    Restored,
    Role,
    SnapshotMark,
    VoteReply,
    VoteRequest,
)

TABLE = (follower.HANDLERS, candidate.HANDLERS, candidate.HANDLERS, leader.HANDLERS)  # by Role
FROM_LEADER = frozenset((Append, Heartbeat, CommitNotice, InstallSnapshot))
NOT_MESSAGES = frozenset((Persisted, Compacted, *follower.LOCAL_INPUTS))


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Limits and timing of one member. Ticks are the caller's unit of time."""

    member_id: int
    election_ticks: int = 10  # a follower waits between this and twice as long
    heartbeat_ticks: int = 1
    boot_election_ticks: int = 3  # the same before any leader was ever heard of; 0: no difference
    max_append_bytes: int = 1 << 20  # one Append
    max_in_flight_messages: int = 256  # Appends without an answer, for each follower
    max_in_flight_bytes: int = 64 << 20
    max_uncommitted_bytes: int = 64 << 20  # beyond it a leader drops proposals
    max_apply_entries: int = 4096  # in one Effects; the rest comes with the next step


class Raft:
    """One member's part in consensus. Attributes are for reading; only `step` changes them."""

    __slots__ = (
        "_boot_spread",
        "_saved",
        "accepted",
        "config",
        "dropped",
        "dropped_reads",
        "elapsed",
        "forwarded",
        "has_known_leader",
        "heartbeat_elapsed",
        "install",
        "leader",
        "log",
        "member_id",
        "outgoing",
        "own_vote_number",
        "persist_number",
        "progress",
        "promises",
        "random",
        "reads",
        "ready_reads",
        "role",
        "snapshots",
        "term",
        "timeout",
        "transferee",
        "uncommitted_bytes",
        "vote",
        "votes",
    )

    def __init__(self, config: RaftConfig, restored: Restored, random: Random) -> None:
        self.config = config
        self.member_id = config.member_id
        self.random = random
        self.log = LogTail(restored)
        self.term = restored.hard_state.term
        self.vote = restored.hard_state.vote
        self._saved = restored.hard_state
        self.role = Role.FOLLOWER
        self.leader = 0
        self.has_known_leader = False
        self._boot_spread = config.boot_election_ticks
        self.elapsed = 0  # ticks since the leader was heard, or (leader) since the last look at the quorum
        self.heartbeat_elapsed = 0
        self.timeout = 0
        self.votes: dict[int, bool] = {}
        self.own_vote_number = 0
        self.progress: dict[int, Progress] = {}
        self.forwarded: dict[tuple[int, int], int] = {}
        self.reads = ReadRounds()
        self.transferee = 0
        self.uncommitted_bytes = 0
        self.persist_number = 0
        self.outgoing: list[Message] = []
        self.promises: list[Message] = []
        self.ready_reads: list[ReadReady] = []
        self.accepted: list[int] = []
        self.dropped: list[int] = []
        self.dropped_reads: list[int] = []
        self.snapshots: list[int] = []
        self.install: SnapshotMark | None = None
        self.draw_timeout()

    # The door ----------------------------------------------------------------------------------------------------

    def step(self, inputs: Iterable[Input]) -> Effects:
        """Take the inputs in order; everything they ask of the world comes back as one Effects."""
        for given in inputs:
            kind = type(given)
            if kind is Persisted:
                self._on_persisted(given)  # type: ignore[arg-type]
            elif kind is Compacted:
                self.log.compact(given.index)  # type: ignore[union-attr]
            elif kind in NOT_MESSAGES:
                handler = TABLE[self.role].get(kind)
                if handler is not None:
                    handler(self, given)
            else:
                self._receive(given)  # type: ignore[arg-type]
        if self.role is Role.LEADER:
            leader.flush(self)
        return self._effects()

    @property
    def has_more(self) -> bool:
        """Whether a step without inputs would give out more entries to apply."""
        return self.log.has_applicable

    def _effects(self) -> Effects:
        persist = self._persist()
        effects = Effects(
            tuple(self.outgoing),
            persist,
            tuple(self.promises),
            self.install,
            self.log.take_applicable(self.config.max_apply_entries),
            tuple(self.ready_reads),
            tuple(self.accepted),
            tuple(self.dropped),
            tuple(self.dropped_reads),
            tuple(self.snapshots),
        )
        self.install = None
        for queue in (self.outgoing, self.promises, self.ready_reads, self.accepted, self.dropped, self.dropped_reads,
                      self.snapshots):
            queue.clear()
        return effects

    def _persist(self) -> Persist | None:
        hard_state = None
        if self.term != self._saved.term or self.vote != self._saved.vote:
            hard_state = self._saved = HardState(self.term, self.vote)
        if hard_state is None and self.log.handed == self.log.last_index and self.install is None:
            return None
        self.persist_number += 1
        return Persist(self.persist_number, hard_state, self.log.hand_over(self.persist_number), self.install)

    # Terms and votes ---------------------------------------------------------------------------------------------

    def _receive(self, message: Message) -> None:
        kind = type(message)
        if message.term > self.term and not self._adopt_term(message):
            return
        if message.term < self.term:
            self._answer_stale(message)
        elif kind is VoteRequest:
            self._on_vote_request(message)  # type: ignore[arg-type]
        else:
            handler = TABLE[self.role].get(kind)
            if handler is not None:
                handler(self, message)

    def _adopt_term(self, message: Message) -> bool:
        """Follow a newer term; False when the message must be ignored because the leader's lease holds."""
        if isinstance(message, VoteRequest):
            if self.leader and self.elapsed < self.config.election_ticks and not message.forced:
                return False
            if message.pre:
                return True
        elif isinstance(message, VoteReply) and message.pre and message.granted:
            return True
        self.become_follower(message.term, message.source if type(message) in FROM_LEADER else 0)
        return True

    def _answer_stale(self, message: Message) -> None:
        """Tell a leader or candidate of an older term about mine; it may be stuck in the past. Never a promise."""
        if type(message) in FROM_LEADER:
            self.outgoing.append(AppendReply(self.member_id, message.source, self.term, 0, rejected=True))
        elif isinstance(message, VoteRequest):
            self.outgoing.append(VoteReply(self.member_id, message.source, self.term, False, message.pre))

    def _on_vote_request(self, request: VoteRequest) -> None:
        is_free = self.vote == request.source or (self.vote == 0 and self.leader == 0)
        is_ahead = request.pre and request.term > self.term
        granted = (is_free or is_ahead) and self.log.is_up_to_date(request.last_index, request.last_term)
        term = request.term if granted else self.term
        reply = VoteReply(self.member_id, request.source, term, granted, request.pre)
        if granted and not request.pre:
            self.vote = request.source
            self.elapsed = 0
            self.promises.append(reply)
        else:
            self.outgoing.append(reply)

    def become_follower(self, term: int, leader_id: int) -> None:
        """Follow `leader_id` (0: not known yet) in `term`, which is mine or newer."""
        if term > self.term:
            self.term = term
            self.vote = 0
        self.change_role(Role.FOLLOWER)
        self.follow(leader_id)

    def follow(self, leader_id: int) -> None:
        """Note who leads this term."""
        self.leader = leader_id
        if leader_id and not self.has_known_leader:
            self.has_known_leader = True
            self.draw_timeout()

    def lose_leader(self) -> None:
        """The leader is certainly gone: its lease ends, and the next campaign is as near as at a first start."""
        self.leader = 0
        self.elapsed = 0
        self.has_known_leader = False
        self._boot_spread = self.config.boot_election_ticks
        self.draw_timeout()

    def change_role(self, role: Role) -> None:
        """Leave everything that belonged to the old role behind."""
        self.role = role
        self.leader = 0
        self.votes = {}
        self.transferee = 0
        self.progress = {}
        self.forwarded = {}
        self.snapshots.clear()  # a snapshot carries the term it is sent in: only who leads may send one
        self.elapsed = self.heartbeat_elapsed = 0
        self.dropped_reads += [read.context for read in self.reads.clear() if read.source == self.member_id]
        self.draw_timeout()

    def draw_timeout(self) -> None:
        """How many ticks of silence until the next campaign."""
        ticks = self.config.election_ticks
        if self._boot_spread and not self.has_known_leader:
            self.timeout = self.random.randrange(1, 1 + min(self._boot_spread, ticks))
        else:
            self.timeout = self.random.randrange(ticks, 2 * ticks)

    def widen_boot_spread(self) -> None:
        """A real campaign begins: should it fail, the next is less hasty."""
        self._boot_spread *= 2

    def _on_persisted(self, persisted: Persisted) -> None:
        self.log.on_persisted(persisted.number)
        if self.role is Role.CANDIDATE:
            candidate.on_own_vote_persisted(self, persisted.number)
        elif self.role is Role.LEADER:
            leader.maybe_commit(self)


__all__ = ["Campaign", "Raft", "RaftConfig"]
