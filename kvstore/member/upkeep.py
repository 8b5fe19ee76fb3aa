"""What keeps log and state in step and bounded: commits of the state, compaction of the log, snapshots out and in.

The log makes entries durable, so the state is committed only at times. The log is compacted only through what the state
has committed. A snapshot is the state as of a commit; one that arrives replaces state and log so that a crash between
the two leaves both old or both new (RaftLog.begin_install). On a full disk the state is committed later, and the log is
compacted later: reads go on, nothing is lost.
"""

import logging
from collections.abc import Callable, Iterator, Sequence

from kvstore.member.config import MemberConfig
from kvstore.member.membership import Membership, decode_membership
from kvstore.member.ports import Disk, Log, Snapshots, StateMachine, Transport
from kvstore.member.wire import encode_header
from kvstore.raft.core import Raft
from kvstore.raft.log import LogTail
from kvstore.raft.types import Compacted, InstallSnapshot, Persist, SnapshotMark
from kvstore.storage.port import StoreFull

logger = logging.getLogger("kvstore.member")

ROOM_TICKS = 10  # between attempts to commit to a full disk


class Upkeep:
    """Of one member. `committed`: the state is durable through this index."""

    def __init__(self, config: MemberConfig, log: Log, state: StateMachine, transport: Transport, disk: Disk,
                 snapshots: Snapshots) -> None:
        self._config, self._log, self._state = config, log, state
        self._transport, self._disk, self._snapshots = transport, disk, snapshots
        self.committed = state.applied_index
        self.is_full = False  # the last commit found no room
        self._commit_tick = 0
        self._clock: Callable[[], float] = lambda: 0.0
        self._observe: Callable[[float], None] = lambda seconds: None
        self._incoming: dict[int, tuple[SnapshotMark, bytes]] = {}

    def measure(self, clock: Callable[[], float], observe: Callable[[float], None]) -> None:
        """Tell `observe` the seconds that each commit takes."""
        self._clock, self._observe = clock, observe

    def commit_if_due(self, tick: int, applied: int) -> None:
        """Commit what is applied when it is much or old."""
        ahead, age = applied - self.committed, tick - self._commit_tick
        is_due = age >= self._config.backend_batch_ticks or ahead >= self._config.backend_batch_limit
        if ahead and is_due and (not self.is_full or age >= ROOM_TICKS):
            self._commit_tick = tick
            self.commit()

    def commit(self) -> bool:
        """Make the state durable; False: the disk has no room, the log goes on to keep what the state could not."""
        started = self._clock()
        try:
            self.committed = self._state.commit()
        except StoreFull as error:
            if not self.is_full:
                logger.warning("member %x: the state waits for room on its disk: %s", self._config.member_id, error)
            self.is_full = True
        else:
            self.is_full = False
            self._observe(self._clock() - started)
        return not self.is_full

    def compact(self, log: LogTail, applied: int, membership: Membership) -> Compacted | None:
        """Drop the head of the log when it has grown too long, in entries or in bytes; tells the core so."""
        config, span = self._config, applied - log.snapshot.index
        keep = min(config.snapshot_catchup_entries, config.snapshot_count // 2)
        if log.bytes > config.log_limit_bytes:
            keep = min(keep, span * (config.log_limit_bytes // 2) // log.bytes)
        elif span < config.snapshot_count + keep:
            return None
        if self.is_full or not self.commit():
            return None
        index = self.committed - keep
        if index <= log.snapshot.index:
            return None
        mark, packed = log.mark(index), membership.encode()
        self._disk.submit(lambda: self._log.compact(mark, packed), lambda: None)
        logger.info("member %x: log compacted through %d", self._config.member_id, index)
        return Compacted(index)

    def send_snapshot(self, raft: Raft, to: int, membership: Membership, done: Callable[[int, bool], None]) -> None:
        """Stream the state to a member that is behind the log; `done(index, complete)`."""
        if not self.commit():
            done(0, False)
            return
        index, header, chunks = self.picture(raft, to, membership)
        self._transport.send_snapshot(to, header, chunks, lambda complete: done(index, complete))

    def picture(self, raft: Raft, to: int, membership: Membership) -> tuple[int, bytes, Iterator[bytes]]:
        """The state as of the last commit: its index, the header that travels before it, its chunks."""
        mark = raft.log.mark(self.committed)
        header = encode_header(InstallSnapshot(raft.member_id, to, raft.term, mark), membership.encode())
        logger.info("member %x: sends a snapshot at %d to %x", raft.member_id, mark.index, to)
        return mark.index, header, self._state.snapshot()

    def expect(self, install: InstallSnapshot, membership: bytes) -> None:
        """All of a snapshot is here; the core decides whether it is needed."""
        self._incoming[install.source] = (install.mark, membership)

    def install(self, mark: SnapshotMark, unsaved: Sequence[Persist]) -> Membership:
        """Replace the state by the snapshot at `mark`; what was to be saved before it is saved first."""
        source, membership = next((s, packed) for s, (known, packed) in self._incoming.items() if known == mark)
        if not self._disk.drain():
            raise StoreFull("there is no room for a snapshot: the log waits for room already")
        if unsaved:
            self._log.save(*unsaved)
        self._log.begin_install(mark, membership)
        self._state.restore(self._snapshots.take(source))
        self.committed = mark.index
        del self._incoming[source]
        logger.info("member %x: installed the snapshot at %d from %x", self._config.member_id, mark.index, source)
        return decode_membership(membership)

    def forget_unwanted(self) -> None:
        """Snapshots that the core did not need."""
        for source in self._incoming:
            self._snapshots.discard(source)
        self._incoming.clear()
