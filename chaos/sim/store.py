"""StoreWorld: members, clients and a nemesis on one heap; a safety phase, then a liveness phase on a random core."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random

from chaos.history import Logged, Operation
from chaos.leasing import LeaseRecord
from chaos.sim.calls import Caller
from chaos.sim.hands import Hands
from chaos.sim.heap import Heap
from chaos.sim.host import Host
from chaos.sim.nemesis import Nemesis
from chaos.sim.network import Network
from chaos.sim.swarm import Script, Swarm, draw_schedule, draw_swarm
from chaos.sim.trace import Trace
from chaos.sim.workloads import Worker
from chaos.sim.workloads.lease import Holder
from chaos.sim.workloads.register import RegisterClient
from chaos.sim.workloads.transact import Transactor
from chaos.sim.workloads.watch import Watching
from chaos.transactions import Transaction
from chaos.watching import Event, Stream
from kvstore.mvcc.working import Change, Turn
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.pb.rpc_pb2 import PutRequest
from kvstore.raft.invariants import InvariantBroken, Invariants
from kvstore.rpc import Code

__all__ = ["Recovery", "StoreWorld"]

FIRST_LEADER_SECONDS = 30.0
LIVENESS_SECONDS = 30.0
MENDING_SECONDS = 60.0  # until all members run, vote, and have room
SETTLE_SECONDS = 3.0
PROBE_SECONDS = 0.05
PROBE_TIMEOUT_SECONDS = 2.0  # a member that dies meanwhile tells nobody
LEASES_END_SECONDS = 15.0  # the longest TTL twice, and an election
DRAIN_SECONDS = 20.0  # longer than any operation waits

Revision = tuple[Change, ...]


class ReplicasDiffer(AssertionError):
    """Two members, or two lives of one, told different events for one revision."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long after the healing each member of the core answered a write; None: not in time."""

    core: tuple[str, ...]
    seconds: tuple[float | None, ...]


class StoreWorld:
    """One seed's world. `run()` plays it to its end; then the history, the log and the verdicts are there."""

    def __init__(
        self, seed: int, safety_seconds: float, *, members: int = 0, faults: tuple[str, ...] | None = None,
        only: Collection[int] | None = None, script: Script | None = None, show: Callable[[str], None] | None = None,
    ) -> None:
        self.seed, self.safety_seconds = seed, safety_seconds
        self.heap = Heap()
        self.trace = Trace(show)
        drawn = draw_swarm(self.random_for("swarm"), members=members, faults=faults)
        self.swarm: Swarm = drawn if script is None else script.swarm
        self.network = Network(self.heap, self.trace, self.random_for("network"))
        self.invariants = Invariants()
        self.boundaries_seen: Counter[str] = Counter()
        self.boundaries_died: Counter[str] = Counter()
        self.history: list[Operation] = []
        self.revisions: dict[int, Revision] = {}  # what any member ever told its watchers
        self.recovery: Recovery | None = None
        self.may_compact = True
        self.names = [f"m{number + 1}" for number in range(self.swarm.members)]
        self.client_names = [f"c{number + 1}" for number in range(self.swarm.clients)]
        self.watcher_names = [f"w{number + 1}" for number in range(self.swarm.watchers)]
        self.holder_names = [f"h{number + 1}" for number in range(self.swarm.holders)]
        self.transactor_names = [f"t{number + 1}" for number in range(self.swarm.transactors)]
        self.transactions: list[Transaction] = []
        self.streams: list[Stream] = []
        self.leases: dict[str, LeaseRecord] = {}  # by the key that is attached
        self.compacted = 0  # the history is gone up to here, at one member at least
        self.by_id: dict[int, Host] = {}
        urls = tuple((name, f"http://{name}:2380") for name in self.names)
        self.hosts = [Host(self, name, urls) for name in self.names]
        self.operator = Caller(self, "operator")
        self.hands = Hands(self)
        self.clients = [RegisterClient(self, number) for number in range(self.swarm.clients)]
        self.others: list[Worker] = [
            *(Watching(self, number) for number in range(self.swarm.watchers)),
            *(Holder(self, number) for number in range(self.swarm.holders)),
        ]
        schedule = draw_schedule(self.random_for("nemesis"), drawn, safety_seconds) if script is None else script.schedule
        self.askers: list[RegisterClient | Transactor] = [
            *self.clients, *(Transactor(self, number) for number in range(self.swarm.transactors))
        ]
        self.nemesis = Nemesis(self, schedule, only)

    def random_for(self, name: str) -> Random:
        """A generator of its own for each who draws: a new draw in one place moves no other."""
        return Random(f"{self.seed}/{name}")

    def outside_names(self) -> list[str]:
        """Hosts of clients of all kinds."""
        return [*self.client_names, *self.watcher_names, *self.holder_names, *self.transactor_names]

    def note(self, who: str, what: str, detail: object = "") -> None:
        """Add an event to the trace."""
        self.trace.note(self.heap.now, who, what, detail)

    def ignore(self, code: int, text: str, answer: bytes) -> None:
        """Where the answer does not matter; it is traced all the same."""
        self.note("operator", f"answer {Code(code).name}", text)

    def leader(self) -> Host | None:
        """Who leads in the newest term, of those that run."""
        leading = [(h.process.member.term, h.name, h) for h in self.hosts if h.process and h.process.member.is_leader]
        return max(leading)[2] if leading else None

    # What members tell -------------------------------------------------------------------------------------------------

    def on_turn(self, host: Host, turn: Turn) -> None:
        """Every revision has one content, whoever tells it and however often."""
        self.compacted = max(self.compacted, turn.compacted)
        for revision, changes in turn.revisions:
            known = self.revisions.setdefault(revision, changes)
            if known is changes:
                self._note_ends(changes)
            elif not _same(known, changes):
                raise ReplicasDiffer(f"revision {revision} at {host.name}: {changes} is not {known}")

    def _note_ends(self, changes: Revision) -> None:
        for change in changes:
            if change.is_delete and (record := self.leases.get(change.key.decode())) is not None:
                record.gone = self.heap.now

    def log(self, *prefixes: str) -> list[Logged]:
        """All writes to keys of these prefixes in order of their revision."""
        return [
            Logged(event.revision, event.key, None if event.is_delete else event.value)
            for event in self.events()
            if event.key.startswith(prefixes)
        ]

    def events(self) -> list[Event]:
        """All that ever happened, with what came before each change worked out anew."""
        latest: dict[str, Event] = {}
        found = []
        for revision in sorted(self.revisions):
            for change in self.revisions[revision]:
                event = _event(revision, change, latest.get(change.key.decode()))
                latest[event.key] = event
                found.append(event)
        return found

    # Phases ------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play it. Raises InvariantBroken or ReplicasDiffer at the step that broke one."""
        for host in self.hosts:
            host.start()
        self.heap.run_until(FIRST_LEADER_SECONDS, lambda: self.leader() is not None)
        for client in self.askers:
            client.start()
        for worker in self.others:
            worker.start()
        self.nemesis.begin()
        self.heap.run_until(self.heap.now + self.safety_seconds)
        self.nemesis.end()
        self.heap.run_until(self.heap.now + MENDING_SECONDS, self._is_mended)
        self.recovery = self._recover()
        for client in self.askers:
            client.stop()
        self.network.heal()
        self.heap.run_until(self.heap.now + DRAIN_SECONDS, lambda: all(client.is_idle for client in self.askers))
        for worker in self.others:
            worker.stop()
        if self.leases:
            self.heap.run_until(self.heap.now + LEASES_END_SECONDS)
        self.heap.run_until(self.heap.now + SETTLE_SECONDS)
        if not self._is_mended():  # a death that was written down came late
            self.heap.run_until(self.heap.now + MENDING_SECONDS, self._is_mended)
            self.heap.run_until(self.heap.now + SETTLE_SECONDS)

    def _is_mended(self) -> bool:
        """A member that found no room has the whole cluster refuse writes until it has seen that there is room again."""
        has_room = all(host.process is not None and not host.process.state.machine.alarms for host in self.hosts)
        return has_room and self.hands.is_whole()

    def _recover(self) -> Recovery:
        """Cut a random majority off from the rest, and time the first write through each of it."""
        random, count = self.random_for("core"), len(self.hosts)
        core = sorted(random.sample(self.names, random.randrange(count // 2 + 1, count + 1)))
        self.network.separate(core, set(self.names) - set(core))
        began = self.heap.now
        answered: dict[str, float] = {}
        for name in core:
            self._probe(next(host for host in self.hosts if host.name == name), began, answered)
        self.heap.run_until(began + LIVENESS_SECONDS, lambda: len(answered) == len(core))
        return Recovery(tuple(core), tuple(answered.get(name) for name in core))

    def _probe(self, host: Host, began: float, answered: dict[str, float]) -> None:
        request = PutRequest(key=f"probe/{host.name}".encode(), value=b"?").SerializeToString()

        def ended(code: int, text: str, answer: bytes) -> None:
            if code == Code.OK:
                answered.setdefault(host.name, self.heap.now - began)
                self.note("operator", "recovered", host.name)
            elif self.heap.now - began < LIVENESS_SECONDS:
                self.heap.after(PROBE_SECONDS, lambda: self._probe(host, began, answered))

        self.operator.call(host, "/etcdserverpb.KV/Put", request, PROBE_TIMEOUT_SECONDS, ended)


def _event(revision: int, change: Change, before: Event | None) -> Event:
    previous = None if before is None or before.is_delete else before
    key = change.key.decode()
    if change.is_delete:
        return Event(revision, key, True, previous=previous.revision if previous else None)
    value = KeyValue.FromString(change.key_value).value.decode()
    if previous is None:
        return Event(revision, key, False, value, revision, 1)
    return Event(revision, key, False, value, previous.create_revision, previous.version + 1, previous.revision)


def _same(left: Revision, right: Revision) -> bool:
    """Equal but for `previous`, which compaction may have taken away."""
    return [change[:3] for change in left] == [change[:3] for change in right]


BROKEN = (InvariantBroken, ReplicasDiffer)
