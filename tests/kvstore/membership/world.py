"""A world of members that grows and shrinks: who is added joins with the table of whoever is alive, as bootstrap does."""

from random import Random

from kvstore.member.config import MemberConfig
from kvstore.member.member import Member
from kvstore.member.membership import Change, ChangeKind
from kvstore.member.ports import Result
from kvstore.storage.data_dir import Identity
from kvstore.storage.memory import MemoryStore
from kvstore.storage.raft_log import TABLES, RaftLog
from tests.kvstore.member.world import NAMES, DurableState, LateDisk, MemorySnapshots, Network, Watched, World


class StrictNetwork(Network):
    """Who was removed is told so by whomever it says something to."""

    def _reachable(self, to: int) -> Member | None:
        member = super()._reachable(to)
        if member is None or self._me not in member.changes.gone:
            return member
        mine = self._world.by_id(self._me)
        if mine is not None:
            mine.changes.leave()
        return None


class GrowingWorld(World):
    """Names beyond the first three join when they are started; `left` holds who was told that it was removed."""

    def __init__(self, random: Random, **options: object) -> None:
        self.joined: dict[str, tuple[Identity, bytes]] = {}
        self.left: set[str] = set()
        super().__init__(random, **{"strict_reconfig_check": False, **options})

    def start(self, name: str) -> None:
        identity, table = self.joined.get(name, (None, b""))
        founders = {one: f"http://{one}:2380" for one in (NAMES if identity is None else (name,))}
        config = MemberConfig(
            name=name, initial_cluster=tuple(founders.items()), initial_advertise_peer_urls=(founders[name],),
            identity=identity, founding_table=table, **self.options,  # type: ignore[arg-type]
        )  # fmt: skip
        self.stores.setdefault(name, MemoryStore(TABLES))
        state = DurableState(self.state_disks.setdefault(name, []))
        disk, snapshots = LateDisk(), MemorySnapshots()
        network = StrictNetwork(self, config.member_id, snapshots)
        member = Member(config, RaftLog(self.stores[name]), state, network, disk, snapshots,
                        Random(self.random.random()), lambda: None)  # fmt: skip
        member.changes.on_removed = lambda: self.left.add(name)
        self.disks[name], self.states[name], self.members[name] = disk, state, member
        self.invariants.restarted(member.raft)
        member.raft = Watched(member, self.invariants)  # type: ignore[assignment]

    def change(self, name: str, change: Change) -> list[Result]:
        answers: list[Result] = []
        self.members[name].change_membership(change, answers.append)
        return answers

    def add(self, at: str, name: str, *, is_learner: bool = False) -> list[Result]:
        return self.change(at, Change(ChangeKind.ADD, 0, (f"http://{name}:2380",), is_learner))

    def join(self, at: str, name: str) -> bool:
        """Start `name`, which `at` must know already."""
        member = self.members[at]
        row = next((one for one in member.members() if one.peer_urls == (f"http://{name}:2380",)), None)
        if row is None:
            return False
        identity = Identity(member.cluster_id, row.member_id, name)
        self.joined[name] = (identity, member.changes.table.encode())
        self.start(name)
        return True

    def end_of_removed(self) -> None:
        """Who knows that it was removed ends, as its process does."""
        for name in sorted(self.left & self.members.keys()):
            self.crash(name)

    def is_settled(self) -> bool:
        """All members that are wanted run, and Raft's configuration is what all their tables say."""
        leader = self.leader()
        if leader is None:
            return False
        table = self.members[leader].changes.table
        configuration = self.members[leader].raft.log.configuration
        if set(configuration.voters) != table.voters() or configuration.outgoing or configuration.learners:
            return False
        wanted = [self.by_id(member) for member in table.voters()]
        return all(one is not None and one.changes.table.encode() == table.encode() for one in wanted)
