"""Members without a loop: an in-memory network that loses, repeats and delays, disks that finish late, crashes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from kvstore.member.config import MemberConfig
from kvstore.member.member import Member
from kvstore.member.ports import Failed, MemberInfo, Ok, Result
from kvstore.member.wire import Encoder, decode_header, decode_message
from kvstore.raft.invariants import Invariants
from kvstore.raft.types import Effects, Input, Message
from kvstore.storage.memory import MemoryStore
from kvstore.storage.raft_log import TABLES, RaftLog
from tests.kvstore.member.kit import DictState

NAMES = ("m1", "m2", "m3")


class MemorySnapshots:
    """The Snapshots port in memory."""

    def __init__(self) -> None:
        self._chunks: dict[int, list[bytes]] = {}

    def begin(self, sender: int) -> None:
        self._chunks[sender] = []

    def add(self, sender: int, chunk: bytes) -> None:
        self._chunks[sender].append(chunk)

    def take(self, sender: int) -> Iterable[bytes]:
        return self._chunks.pop(sender)

    def discard(self, sender: int) -> None:
        self._chunks.pop(sender, None)


class LateDisk:
    """The Disk port that works when it is told to; what it has not done is lost in a crash."""

    is_full = False

    def __init__(self) -> None:
        self._jobs: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()

    def submit(self, work: Callable[[], None], done: Callable[[], None], *, is_awaited: bool = False) -> None:
        self._jobs.append((work, done))

    def finish(self, count: int = 1 << 30) -> None:
        while self._jobs and count:
            work, done = self._jobs.popleft()
            work()
            done()
            count -= 1

    def drain(self) -> bool:
        self.finish()
        return True


class DurableState(DictState):
    """A dictionary whose commits survive a crash of its member."""

    def __init__(self, disk: list[tuple[int, dict[str, str]]]) -> None:
        super().__init__()
        self._disk = disk
        if disk:
            self.applied_index, self.data = disk[-1][0], dict(disk[-1][1])

    def commit(self) -> int:
        self._disk[:] = [(self.applied_index, dict(self.data))]
        return self.applied_index


class World:
    """Three members; `packets` are deliveries that wait."""

    def __init__(self, random: Random, **options: object) -> None:
        self.random = random
        self.options = {"snapshot_count": 20, "snapshot_catchup_entries": 5, **options}
        self.packets: list[Callable[[], None]] = []
        self.streams: dict[Callable[[], None], Callable[[], None]] = {}  # a snapshot's packet -> what its loss does
        self.stores = {name: MemoryStore(TABLES) for name in NAMES}
        self.state_disks: dict[str, list[tuple[int, dict[str, str]]]] = {name: [] for name in NAMES}
        self.members: dict[str, Member] = {}
        self.states: dict[str, DurableState] = {}
        self.disks: dict[str, LateDisk] = {}
        self.invariants = Invariants()
        self.cut_off: set[int] = set()
        for name in NAMES:
            self.start(name)

    def start(self, name: str) -> None:
        urls = {n: f"http://{n}:2380" for n in NAMES}
        config = MemberConfig(name=name, initial_cluster=tuple(urls.items()), initial_advertise_peer_urls=(urls[name],),
                              **self.options)  # type: ignore[arg-type]
        state, disk, snapshots = DurableState(self.state_disks[name]), LateDisk(), MemorySnapshots()
        network = Network(self, config.member_id, snapshots)
        self.disks[name], self.states[name] = disk, state
        member = Member(config, RaftLog(self.stores[name]), state, network, disk, snapshots,
                        Random(self.random.random()), lambda: None)
        self.members[name] = member
        self.invariants.restarted(member.raft)
        member.raft = Watched(member, self.invariants)  # type: ignore[assignment]

    def crash(self, name: str) -> None:
        """What was not fsynced is lost; nobody is told."""
        del self.members[name]
        self.stores[name].crash()

    def lose(self, packet: Callable[[], None]) -> None:
        """The packet never arrives; who streams a snapshot hears of it."""
        self.streams.pop(packet, lambda: None)()

    def by_id(self, member_id: int) -> Member | None:
        return next((m for m in self.members.values() if m.member_id == member_id), None)

    def leader(self) -> str | None:
        leaders = [(m.term, name) for name, m in self.members.items() if m.is_leader]
        return max(leaders)[1] if leaders else None

    def put(self, name: str, key: str, value: str) -> list[Result]:
        answers: list[Result] = []
        self.members[name].propose(f"{key}={value}".encode(), answers.append)
        return answers

    def read(self, name: str) -> list[Result]:
        answers: list[Result] = []
        self.members[name].read(answers.append)
        return answers

    def turn_all(self) -> None:
        """Everything moves on once: turns, disks, the network."""
        for name in sorted(self.members):
            self.members[name].turn()
            self.disks[name].finish()
        packets, self.packets = self.packets, []
        for packet in packets:
            packet()

    def run_until(self, condition: Callable[[], object], ticks: int = 200) -> None:
        for _ in range(ticks):
            for _ in range(12):
                self.turn_all()
                if condition():
                    return
            for name in sorted(self.members):
                self.members[name].tick()
        raise AssertionError(f"not reached in {ticks} ticks")


class Network:
    """The Transport port of one member: messages become bytes and wait in world.packets."""

    def __init__(self, world: World, member_id: int, snapshots: MemorySnapshots) -> None:
        self._world, self._me = world, member_id
        self._encoder = Encoder()
        self.snapshots = snapshots

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            packed = self._encoder.message(message).SerializeToString()
            self._world.packets.append(lambda to=message.to, packed=packed: self._deliver(to, packed))  # type: ignore[misc]

    def _deliver(self, to: int, packed: bytes) -> None:
        from kvstore.pb import raft_pb2

        member = self._reachable(to)
        if member is not None:
            member.deliver([decode_message(self._me, to, raft_pb2.Message.FromString(packed))])

    def _reachable(self, to: int) -> Member | None:
        cut_off = self._world.cut_off
        return self._world.by_id(to) if (self._me in cut_off) == (to in cut_off) else None

    def send_snapshot(self, to: int, header: bytes, chunks: Iterator[bytes], done: Callable[[bool], None]) -> None:
        copied = list(chunks)

        def arrive() -> None:
            member = self._reachable(to)
            if member is None:
                done(False)
                return
            snapshots = member._transport.snapshots  # type: ignore[attr-defined]
            snapshots.begin(self._me)
            for chunk in copied:
                snapshots.add(self._me, chunk)
            member.deliver_snapshot(*decode_header(header))
            done(True)

        self._world.streams[arrive] = lambda: done(False)
        self._world.packets.append(arrive)

    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None:
        member = self._reachable(to)
        if member is None:
            done(None)
        else:
            member.on_ask(subject, payload, done)

    def set_peers(self, peers: Sequence[MemberInfo]) -> None:
        pass


class Watched:
    """A member's Raft core with the invariants looked at after each step."""

    def __init__(self, member: Member, invariants: Invariants) -> None:
        self._core, self._invariants = member.raft, invariants

    def step(self, inputs: Iterable[Input]) -> Effects:
        effects = self._core.step(inputs)
        self._invariants.observe(self._core, effects)
        return effects

    def __getattr__(self, name: str) -> object:
        return getattr(self._core, name)


__all__ = ["NAMES", "Failed", "Ok", "World"]
