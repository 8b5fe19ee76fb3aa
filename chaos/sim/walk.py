"""Walk: an untimed random exploration of the Raft core. Any message is delivered, dropped or repeated, any fsync ends when it
likes, any member times out, crashes, comes back, or is configured away; the invariants are looked at after every step.

    walk(seed, steps) -> WalkReport     one walk; its size, and how often it does what, come from the seed
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from random import Random

from chaos.sim.cores import World
from kvstore.raft.configuration import make_configuration
from kvstore.raft.core import RaftConfig
from kvstore.raft.types import Propose, ProposeConfiguration, Role, Transfer, Unreachable

__all__ = ["Walk", "WalkReport", "walk"]

SIZES = (1, 2, 3, 3, 3, 5)
CONFIG = RaftConfig(1, election_ticks=4, boot_election_ticks=0, max_append_bytes=200, max_in_flight_messages=3)


class Walk:
    """One random walk; `weights` of the actions are drawn once, so that walks differ in character (swarm testing)."""

    def __init__(self, seed: int, size: int) -> None:
        self.random = Random(seed)
        self.world = World(size, self.random, replace(CONFIG, boot_election_ticks=self.random.choice((0, 3))))
        self.counter = 0
        self.counts: Counter[str] = Counter()  # actions, by name
        self.cut_off: set[int] = set()
        usual = {
            self.deliver: 70, self.drop: 3, self.repeat: 4, self.tick: 12, self.silence: 0.7, self.propose: 10, self.read: 4,
            self.fsync: 14, self.crash: 1, self.restart: 3, self.slow: 2, self.compact: 1, self.transfer: 0.5,
            self.campaign: 1, self.unreachable: 0.5, self.cut: 0.7, self.heal: 0.5, self.configure: 1,
        }
        self.actions = list(usual)
        self.weights = [weight * self.random.choice((0, 0.3, 1, 1, 3)) for weight in usual.values()]
        self.weights[0] = max(self.weights[0], 20)
        self.weights[3] = max(self.weights[3], 5)
        self.in_order = self.random.random() < 0.5

    def run(self, steps: int) -> None:
        """Walk, then heal everything. Raises InvariantBroken, or AssertionError where nobody comes to lead."""
        for action in self.random.choices(self.actions, self.weights, k=steps):
            action()
            self.counts[action.__name__] += 1
        self.heal()
        leader = self.world.settle()
        assert leader.role is Role.LEADER

    def member(self) -> int:
        return self.random.choice(sorted(self.world.nodes))

    def living(self) -> int | None:
        living = [m for m, node in sorted(self.world.nodes.items()) if node.raft is not None]
        return self.random.choice(living) if living else None

    def pick(self) -> int:
        return 0 if self.in_order else self.random.randrange(len(self.world.network))

    def deliver(self) -> None:
        if self.world.network:
            message = self.world.network.pop(self.pick())
            if (message.source in self.cut_off) == (message.to in self.cut_off):
                self.world.deliver(message)

    def silence(self) -> None:
        """One member hears nothing for so long that it campaigns."""
        if (member := self.living()) is not None:
            self.world.tick(member, 2 * CONFIG.election_ticks)

    def cut(self) -> None:
        self.cut_off = {self.member() for _ in range(self.random.randint(1, 2))}

    def heal(self) -> None:
        self.cut_off = set()

    def configure(self) -> None:
        members = [m for m in sorted(self.world.nodes) if self.random.random() < 0.7]
        learners = [m for m in members[1:] if self.random.random() < 0.2]
        voters = [m for m in members if m not in learners]
        for leader in self.world.leaders():
            current = leader.log.configuration
            if voters and not set(current.voters) & set(learners):
                self.counter += 1
                self.world.step(leader.member_id, ProposeConfiguration(self.counter, make_configuration(voters, learners)))

    def drop(self) -> None:
        if self.world.network:
            self.world.network.pop(self.pick())

    def repeat(self) -> None:
        if self.world.network:
            self.world.deliver(self.world.network[self.random.randrange(len(self.world.network))])

    def tick(self) -> None:
        if (member := self.living()) is not None:
            self.world.tick(member)

    def propose(self) -> None:
        if (member := self.living()) is not None:
            self.counter += 1
            batch = tuple(b"%d.%d" % (self.counter, i) for i in range(self.random.randrange(1, 4)))
            self.world.step(member, Propose(member << 40 | self.counter, batch))

    def read(self) -> None:
        if (member := self.living()) is not None:
            self.counter += 1
            self.world.read(member, self.counter)

    def fsync(self) -> None:
        busy = [m for m, node in sorted(self.world.nodes.items()) if node.pending]
        if busy:
            self.world.finish_fsync(self.random.choice(busy))

    def crash(self) -> None:
        if (member := self.living()) is not None:
            self.world.crash(member)

    def restart(self) -> None:
        down = [m for m, node in sorted(self.world.nodes.items()) if node.raft is None]
        if down:
            self.world.restart(self.random.choice(down))

    def slow(self) -> None:
        self.world.slow_disks ^= {self.member()}

    def compact(self) -> None:
        member = self.living()
        if member is not None and not self.world.nodes[member].pending:
            log = self.world.raft(member).log
            self.world.compact(member, self.random.randint(log.snapshot.index, self.world.nodes[member].applied))

    def transfer(self) -> None:
        for leader in self.world.leaders():
            self.world.step(leader.member_id, Transfer(self.member()))

    def campaign(self) -> None:
        if (member := self.living()) is not None:
            self.world.campaign(member)

    def unreachable(self) -> None:
        if (member := self.living()) is not None:
            self.world.step(member, Unreachable(self.member()))


@dataclass(frozen=True, slots=True)
class WalkReport:
    """All of it is decided by seed and steps. `violation` "": every invariant held, and it could be healed."""

    seed: int
    members: int
    actions: dict[str, int]
    term: int  # the highest
    committed: int
    trace: str
    violation: str


def walk(seed: int, steps: int) -> WalkReport:
    """Play one walk."""
    size = Random(f"{seed}/size").choice(SIZES)
    played, violation = Walk(seed, size), ""
    try:
        played.run(steps)
    except AssertionError as broken:  # InvariantBroken is one
        violation = f"{type(broken).__name__}: {broken}"
    rafts = [node.raft for node in played.world.nodes.values() if node.raft is not None]
    hashed = blake2b(digest_size=16)
    for raft in rafts:
        hashed.update(f"{raft.member_id} {raft.term} {raft.vote} {raft.log.committed} {raft.log.last_index}".encode())
    for context, index in played.world.answers:
        hashed.update(f"{context} {index}".encode())
    return WalkReport(
        seed=seed,
        members=size,
        actions=dict(sorted(played.counts.items())),
        term=max((raft.term for raft in rafts), default=0),
        committed=max((raft.log.committed for raft in rafts), default=0),
        trace=hashed.hexdigest(),
        violation=violation,
    )
