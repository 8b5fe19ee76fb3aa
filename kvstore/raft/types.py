"""The vocabulary of the Raft core: values only, frozen, complete at birth.

Member ids are positive integers (0: nobody). Indexes and terms start at 1 (0: before the first). Messages carry
`source`, `to` and `term`; a message is an input as it stands.
"""

from dataclasses import dataclass
from enum import IntEnum

from kvstore.raft.configuration import Configuration


class EntryKind(IntEnum):
    """What the data of an entry is: a command, nothing (a leader's first entry), or an encoded Configuration."""

    COMMAND = 0
    EMPTY = 1
    CONFIGURATION = 2


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log; `data` is opaque to the core unless kind is CONFIGURATION."""

    index: int
    term: int
    kind: EntryKind
    data: bytes


@dataclass(frozen=True, slots=True)
class HardState:
    """What a member must not forget: its term, and whom it voted for in it (0: nobody)."""

    term: int
    vote: int


@dataclass(frozen=True, slots=True)
class SnapshotMark:
    """The place of the log that a snapshot stands for: everything through `index`, and the configuration there."""

    index: int
    term: int
    configuration: Configuration


@dataclass(frozen=True, slots=True)
class Restored:
    """What the disk held at start: `entries` follow the mark without a gap; `applied` is the state's own index."""

    hard_state: HardState
    snapshot: SnapshotMark
    entries: tuple[Entry, ...]
    applied: int


@dataclass(frozen=True, slots=True)
class Persist:
    """One durable transaction. `number` rises by one each time; give Persisted(number) back when it is on disk.

    `entries` replace everything from entries[0].index on. A `snapshot` empties the log first.
    """

    number: int
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: SnapshotMark | None


# Messages between members --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """`pre`: would you vote for me in `term`? `forced`: the leader itself hands over, so its lease does not count."""

    source: int
    to: int
    term: int
    last_index: int
    last_term: int
    pre: bool
    forced: bool = False


@dataclass(frozen=True, slots=True)
class VoteReply:
    source: int
    to: int
    term: int
    granted: bool
    pre: bool


@dataclass(frozen=True, slots=True)
class Append:
    """Entries that follow (previous_index, previous_term); `commit` is the leader's."""

    source: int
    to: int
    term: int
    previous_index: int
    previous_term: int
    entries: tuple[Entry, ...]
    commit: int


@dataclass(frozen=True, slots=True)
class AppendReply:
    """Accepted: the log equals the leader's through `index`, durably. Rejected: previous_index was `index`, and

    (hint_index, hint_term) is the newest entry that may still agree.
    """

    source: int
    to: int
    term: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`commit` never exceeds what the receiver is known to hold; `round` confirms leadership for reads (0: none)."""

    source: int
    to: int
    term: int
    commit: int
    round: int


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    source: int
    to: int
    term: int
    round: int


@dataclass(frozen=True, slots=True)
class CommitNotice:
    """`commit` rose and there was nothing to append; wants no answer. Never exceeds what the receiver holds."""

    source: int
    to: int
    term: int
    commit: int


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """The state through `mark` is here (it travelled beside the messages)."""

    source: int
    to: int
    term: int
    mark: SnapshotMark


@dataclass(frozen=True, slots=True)
class Forward:
    """Commands proposed at `source` for the leader of exactly this term. `number` rises; one seen before is dropped."""

    source: int
    to: int
    term: int
    number: int
    batch: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    source: int
    to: int
    term: int
    context: int


@dataclass(frozen=True, slots=True)
class ReadReply:
    source: int
    to: int
    term: int
    context: int
    index: int


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader hands over: campaign at once."""

    source: int
    to: int
    term: int


Message = (
    VoteRequest
    | VoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | CommitNotice
    | InstallSnapshot
    | Forward
    | ReadRequest
    | ReadReply
    | TimeoutNow
)


# Inputs that are not messages ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """One unit of time passed (RaftConfig counts in it)."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """Do not wait for the election time-out (still a pre-vote first)."""


@dataclass(frozen=True, slots=True)
class Propose:
    """Append these commands. Effects name `number` under `accepted` or `dropped`, in the same step."""

    number: int
    batch: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProposeConfiguration:
    """Move to these voters and learners, through a joint configuration when more than one voter differs."""

    number: int
    target: Configuration


@dataclass(frozen=True, slots=True)
class Read:
    """A linearizable read waits. `context` must never have been used before, by any member, in any life."""

    context: int


@dataclass(frozen=True, slots=True)
class Persisted:
    """The Persist of that number, and all before it, are on disk."""

    number: int


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """The stream that Effects.snapshots asked for has ended; `index` is where the snapshot stood."""

    to: int
    index: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Messages to that member were lost."""

    to: int


@dataclass(frozen=True, slots=True)
class PeerDown:
    """That member's process has gone (its host refuses connections): if it led, do not wait for a time-out."""

    member: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Hand leadership to that member."""

    to: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """The state is durable through `index`: the tail may forget entries up to there."""

    index: int


Input = (
    Message
    | Tick
    | Campaign
    | Propose
    | ProposeConfiguration
    | Read
    | Persisted
    | SnapshotSent
    | Unreachable
    | PeerDown
    | Transfer
    | Compacted
)


@dataclass(frozen=True, slots=True)
class ReadReady:
    """The read `context` is linearizable at a state that has applied `index` or more."""

    context: int
    index: int


@dataclass(frozen=True, slots=True)
class Effects:
    """What one step asks of the world. The order of the fields is the order of the work."""

    send: tuple[Message, ...] = ()  # true whatever happens to the disk; may overlap the fsync
    persist: Persist | None = None  # hard state, new tail of the log, snapshot mark: one fsync
    send_after_persist: tuple[Message, ...] = ()  # votes, append acknowledgements: a lie until all persists so far end
    install: SnapshotMark | None = None  # replace the state by the snapshot of this mark, then persist
    apply: tuple[Entry, ...] = ()  # committed and durable here, in order, each exactly once
    reads: tuple[ReadReady, ...] = ()
    accepted: tuple[int, ...] = ()  # proposals that are in the log here, or on their way to the leader of this term
    dropped: tuple[int, ...] = ()  # proposals that went nowhere: no leader, a transfer, too many bytes uncommitted
    dropped_reads: tuple[int, ...] = ()  # reads without a leader: ask again, with a new context
    snapshots: tuple[int, ...] = ()  # members that need a snapshot; answer with SnapshotSent


NO_EFFECTS = Effects()
