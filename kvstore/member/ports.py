"""What a member needs of the world, as protocols, and the values that cross them.

`kvstore.mvcc` implements StateMachine, `kvstore.storage.file_log` implements Log, `transport.py` implements Transport;
tests and the simulator bring their own. Every method is called from the one turn loop, unless it says otherwise.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from kvstore.raft.types import Entry, Message, Persist, Restored, SnapshotMark

UNKNOWN, NOT_FOUND, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNAVAILABLE = 2, 5, 8, 9, 14  # gRPC status codes
NO_LEADER = "etcdserver: no leader"
TIMED_OUT = "etcdserver: request timed out"
LEADER_FAILED = "etcdserver: request timed out, possibly due to previous leader failure"
CONNECTION_LOST = "etcdserver: request timed out, possibly due to connection lost"
TRANSFER_TIMED_OUT = "etcdserver: request timed out, leader transfer took too long"  # etcd's code for it is UNKNOWN
LEADER_CHANGED = "etcdserver: leader changed"
STOPPED = "etcdserver: server stopped"
NOT_LEADER = "etcdserver: not leader"
TOO_MANY_REQUESTS = "etcdserver: too many requests"


@dataclass(frozen=True, slots=True)
class Ok:
    """The request was done: `value` is what StateMachine.apply returned (None for a read barrier)."""

    value: object


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed with a gRPC status code and etcd's text.

    `certain` is True when the request is known to have had no effect, False when its outcome is unknown.
    """

    code: int
    text: str
    certain: bool = False


Result = Ok | Failed
Done = Callable[[Result], None]


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """One member of the cluster, as MemberList shows it. `name` is empty until the member has published itself."""

    member_id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One consistent look at a member. Indexes count log entries; leader 0 means that none is known."""

    cluster_id: int
    member_id: int
    leader: int
    term: int
    role: str
    commit_index: int
    applied_index: int
    last_index: int
    first_index: int
    is_learner: bool
    members: tuple[MemberInfo, ...]
    pending_proposals: int
    log_bytes: int


class StateMachine(Protocol):
    """The replicated state. Deterministic: the same entries give the same state and values on every member."""

    @property
    def applied_index(self) -> int:
        """Index of the newest applied entry; survives a restart as of the last commit()."""

    def apply(self, index: int, term: int, data: bytes) -> object:
        """Apply the entry `index` (always applied_index + 1 or more) and return the value for its waiter.

        A command that fails for the client's reasons is a value too. An exception is a bug: the member stops.
        """

    def skip(self, index: int, term: int) -> None:
        """Note an entry that holds no command (a leader's first entry, membership): applied_index moves on."""

    def is_quick(self, data: bytes) -> bool:
        """Whether this command surely takes no time: a leader may apply it before it tells its followers to."""

    def end_of_turn(self) -> None:
        """All entries of this turn are applied: hand the events to the watchers."""

    def commit(self) -> int:
        """Make what is applied durable, together with its index, in one transaction; return that index.

        Raises StoreFull: nothing is durable that was not before, nothing is lost, and the same may be tried again.
        """

    def snapshot(self) -> Iterator[bytes]:
        """Chunks (at most 1 MiB each) of one consistent view as of the last commit(), which is called right before.

        The view is fixed when snapshot() is called and stays readable while later entries are applied; closing the
        generator (`close()`) releases it.
        """

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the whole state by a snapshot, durably and atomically: a crash leaves the old state or the new."""


class Log(Protocol):
    """The Raft log on disk. One caller at a time, but any thread."""

    def load(self, applied: int) -> Restored | None:
        """What the log holds, None when it is new; `applied` is the state's own index. Raises CorruptLog."""

    def save(self, *persists: Persist) -> None:
        """Write hard states, entries (dropping a conflicting tail) and marks, in order, in one durable transaction."""

    def compact(self, mark: SnapshotMark, membership: bytes) -> None:
        """Drop the entries through mark.index; the mark and the members (as of then or later) take their place."""

    def begin_install(self, mark: SnapshotMark, membership: bytes) -> None:
        """Note that the state is about to be replaced by the snapshot of `mark`; save() with that mark ends it."""

    def membership(self) -> bytes:
        """The encoded table of members as of the mark, empty when none was saved."""


class Transport(Protocol):
    """Messages to other members. Nothing blocks, everything may be lost, what arrives arrives whole."""

    def send(self, messages: Sequence[Message]) -> None:
        """Queue messages to their `to`; a full queue drops the oldest, Raft recovers."""

    def send_snapshot(self, to: int, header: bytes, chunks: Iterator[bytes], done: Callable[[bool], None]) -> None:
        """Stream one snapshot; `done(True)` when the peer has all of it."""

    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None:
        """One question to another member (a lease renewal, ...); None when there was no answer in time."""

    def set_peers(self, peers: Sequence[MemberInfo]) -> None:
        """The members that there are now, this one included."""


class Snapshots(Protocol):
    """Where an incoming snapshot waits until all of it is here. One at a time for each sender."""

    def begin(self, sender: int) -> None:
        """Start one; what the same sender left unfinished is forgotten."""

    def add(self, sender: int, chunk: bytes) -> None:
        """The next chunk."""

    def take(self, sender: int) -> Iterable[bytes]:
        """The chunks of a finished snapshot, in order; forgotten once they have been read."""

    def discard(self, sender: int) -> None:
        """Forget it."""


class Disk(Protocol):
    """Runs durable log work in order, one at a time, and calls back in the turn loop's thread.

    Work that raises StoreFull has done nothing, and is tried again until there is room. `is_full`: such work waits now.
    """

    @property
    def is_full(self) -> bool: ...

    def submit(self, work: Callable[[], None], done: Callable[[], None], *, is_awaited: bool = False) -> None:
        """Run `work` (maybe in another thread); then `done()` in the loop. A failing `work` stops the member.

        `is_awaited`: the member has nothing better to do meanwhile, so at once may be the quickest.
        """

    def drain(self) -> bool:
        """Return when all work has run (`done` may still be on its way); False: some waits for room on the disk."""


__all__ = [
    "CONNECTION_LOST",
    "FAILED_PRECONDITION",
    "LEADER_CHANGED",
    "LEADER_FAILED",
    "NOT_FOUND",
    "NOT_LEADER",
    "NO_LEADER",
    "RESOURCE_EXHAUSTED",
    "STOPPED",
    "TIMED_OUT",
    "TOO_MANY_REQUESTS",
    "TRANSFER_TIMED_OUT",
    "UNAVAILABLE",
    "UNKNOWN",
    "Disk",
    "Done",
    "Entry",
    "Failed",
    "Log",
    "MemberInfo",
    "MemberStatus",
    "Ok",
    "Result",
    "Snapshots",
    "StateMachine",
    "Transport",
]
