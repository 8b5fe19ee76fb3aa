"""A cluster of Raft cores with disks that finish late and a network that does what it is told. No time, no threads."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random

from kvstore.raft.configuration import make_configuration
from kvstore.raft.core import Raft, RaftConfig
from kvstore.raft.invariants import Invariants, check_commit_is_durable, require
from kvstore.raft.types import (
    Campaign,
    Compacted,
    Effects,
    Entry,
    EntryKind,
    HardState,
    Input,
    InstallSnapshot,
    Message,
    Persist,
    Persisted,
    Read,
    Restored,
    Role,
    SnapshotMark,
    SnapshotSent,
    Tick,
)


@dataclass
class Disk:
    """What survives a crash: the log, and the state as of its last commit."""

    hard_state: HardState
    snapshot: SnapshotMark
    entries: list[Entry] = field(default_factory=list)
    state_applied: int = 0

    def write(self, persist: Persist) -> None:
        if persist.hard_state is not None:
            self.hard_state = persist.hard_state
        if persist.snapshot is not None:
            self.snapshot, self.entries = persist.snapshot, []
        if persist.entries:
            keep = persist.entries[0].index - self.snapshot.index - 1
            assert keep <= len(self.entries), "a hole in the log"
            self.entries[max(0, keep) :] = persist.entries[max(0, -keep) :]

    def compact(self, mark: SnapshotMark) -> None:
        self.entries = [entry for entry in self.entries if entry.index > mark.index]
        self.snapshot = mark

    def holds(self, index: int, term: int) -> bool:
        if index <= self.snapshot.index:
            return True
        offset = index - self.snapshot.index - 1
        return offset < len(self.entries) and self.entries[offset].term == term


@dataclass
class Node:
    disk: Disk
    raft: Raft | None
    pending: deque[tuple[Persist, list[Message]]] = field(default_factory=deque)  # fsyncs that have not ended
    applied: int = 0
    committed_seen: int = 0


class World:
    """Members 1..n. Messages wait in `network` until they are delivered or dropped."""

    def __init__(self, size: int, random: Random, config: RaftConfig | None = None) -> None:
        self.random = random
        self.config = config or RaftConfig(1, boot_election_ticks=0)
        self.network: list[Message] = []
        self.invariants = Invariants()
        self.reads: dict[int, int] = {}  # context -> the index that its answer must reach
        self.answers: list[tuple[int, int]] = []
        self.trace: Callable[[str], None] = lambda line: None
        self.slow_disks: set[int] = set()
        self.draining: set[int] = set()
        self.commands: dict[bytes, int] = {}  # command -> where it was applied
        self.marks: dict[int, SnapshotMark] = {}
        start = SnapshotMark(0, 0, make_configuration(range(1, size + 1)))
        self.nodes = {i: Node(Disk(HardState(0, 0), start), None) for i in range(1, size + 1)}
        for member in self.nodes:
            self.restart(member)

    def restart(self, member: int) -> None:
        node = self.nodes[member]
        disk = node.disk
        applied = max(disk.state_applied, disk.snapshot.index)
        restored = Restored(disk.hard_state, disk.snapshot, tuple(disk.entries), applied)
        node.raft = Raft(replace(self.config, member_id=member), restored, Random(self.random.random()))
        node.applied = node.committed_seen = node.raft.log.applied
        self.invariants.restarted(node.raft)

    def crash(self, member: int) -> None:
        """All that was not fsynced is lost; the state falls back to its last commit."""
        node = self.nodes[member]
        node.raft = None
        node.pending.clear()

    def raft(self, member: int) -> Raft:
        raft = self.nodes[member].raft
        assert raft is not None, f"member {member} is down"
        return raft

    def step(self, member: int, *inputs: Input) -> Effects:
        node, raft = self.nodes[member], self.raft(member)
        effects = raft.step(inputs)
        self.invariants.observe(raft, effects)
        self.network += effects.send
        if effects.install is not None:
            node.applied = effects.install.index
            node.disk.state_applied = 0  # the state is replaced together with the log's mark: see _finish
        self._persist(member, effects)
        self._apply(node, effects)
        for ready in effects.reads:
            require(ready.index >= self.reads[ready.context], f"read {ready.context} is stale: {ready.index}")
            self.answers.append((ready.context, ready.index))
            self.trace(f"{member} read {ready.context} at {ready.index}")
        for number in effects.dropped:
            self.trace(f"{member} dropped proposal {number}")
        for context in effects.dropped_reads:
            self.trace(f"{member} dropped read {context}")
        self._check_durable(node, raft)
        for peer in effects.snapshots:
            self._send_snapshot(member, peer)
        return effects

    def _persist(self, member: int, effects: Effects) -> None:
        node = self.nodes[member]
        promises = list(effects.send_after_persist)
        if effects.persist is not None:
            node.pending.append((effects.persist, promises))
        elif node.pending:
            node.pending[-1][1].extend(promises)
        else:
            self.network += promises
        if member not in self.slow_disks and member not in self.draining:
            self.draining.add(member)  # the steps that follow add to `pending`: not one call deeper for each
            while node.pending:
                self.finish_fsync(member)
            self.draining.discard(member)

    def finish_fsync(self, member: int) -> None:
        """The oldest fsync of `member` ends."""
        node = self.nodes[member]
        persist, promises = node.pending.popleft()
        node.disk.write(persist)
        if persist.snapshot is not None:
            node.disk.state_applied = persist.snapshot.index
        self.invariants.persisted(member, node.disk.hard_state.term)
        self.network += promises
        self.step(member, Persisted(persist.number))

    def _apply(self, node: Node, effects: Effects) -> None:
        for entry in effects.apply:
            node.applied = entry.index
            if entry.kind is EntryKind.COMMAND:
                where = self.commands.setdefault(entry.data, entry.index)
                require(where == entry.index, f"command {entry.data!r} was applied at {where} and {entry.index}")

    def _check_durable(self, node: Node, raft: Raft) -> None:
        if raft.role is Role.LEADER:
            for index in range(node.committed_seen + 1, raft.log.committed + 1):
                term = raft.log.term(index)
                assert term is not None
                holders = [m for m, other in self.nodes.items() if other.disk.holds(index, term)]
                check_commit_is_durable(raft, index, holders)
        node.committed_seen = raft.log.committed

    def _send_snapshot(self, member: int, peer: int) -> None:
        node, raft = self.nodes[member], self.raft(member)
        node.disk.state_applied = max(node.disk.state_applied, node.applied)
        mark = raft.log.mark(node.applied)
        self.network.append(InstallSnapshot(member, peer, raft.term, mark))
        self.trace(f"{member} streams a snapshot at {mark.index} to {peer}")
        self.step(member, SnapshotSent(peer, mark.index, complete=True))

    def compact(self, member: int, index: int) -> None:
        """Commit the state, then forget the log through `index`."""
        node, raft = self.nodes[member], self.raft(member)
        assert not node.pending
        node.disk.state_applied = node.applied
        node.disk.compact(raft.log.mark(index))
        self.step(member, Compacted(index))

    def read(self, member: int, context: int) -> None:
        self.reads[context] = max(n.raft.log.committed for n in self.nodes.values() if n.raft is not None)
        self.step(member, Read(context))

    def deliver(self, message: Message) -> None:
        if self.nodes[message.to].raft is not None:
            self.step(message.to, message)

    def tick(self, member: int, count: int = 1) -> None:
        for _ in range(count):
            self.step(member, Tick())

    def campaign(self, member: int) -> None:
        self.step(member, Campaign())

    def leaders(self) -> Iterable[Raft]:
        return [n.raft for n in self.nodes.values() if n.raft is not None and n.raft.role is Role.LEADER]

    def settle(self, rounds: int = 400) -> Raft:
        """Everything heals: deliver all, finish all, tick, until one leader has committed all of its log everywhere."""
        self.slow_disks.clear()
        for member, node in self.nodes.items():
            if node.raft is None:
                self.restart(member)
            while node.pending:
                self.finish_fsync(member)
        for _ in range(rounds):
            while self.network:
                batch, self.network = self.network, []
                for message in batch:
                    self.deliver(message)
            for leader in self.leaders():
                if self._is_settled(leader):
                    return leader
            for member in self.nodes:
                self.tick(member)
        raise AssertionError(f"no agreement after {rounds} ticks")

    def _is_settled(self, leader: Raft) -> bool:
        """Everybody in the newest configuration follows, and has committed all that there is."""
        log = leader.log
        return log.committed == log.last_index and all(
            self.raft(member).log.committed == log.last_index and self.raft(member).leader == leader.member_id
            for member in log.configuration.members()
        )
