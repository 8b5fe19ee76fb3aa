"""The hands of operators, and of whoever runs a member: they carry out what takes several steps, each until it is done.

    replace     remove a member, empty its disks, add it again (as a voter, or as a learner and promote it)
    add_stray   add a learner that nobody starts; once healed, it is removed
    mend        what kvstore.member.rejoin does for a member whose log or state is damaged: the same questions to the others
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from chaos.sim.calls import Caller, Ended
from kvstore.member.membership import NOT_A_LEARNER
from kvstore.member.rescue import REPLACE
from kvstore.member.wire import decode_header
from kvstore.pb.rpc_pb2 import (
    MemberAddRequest,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberRemoveRequest,
)
from kvstore.rpc import Code
from kvstore.storage import codec
from kvstore.storage.data_dir import Identity
from kvstore.storage.raft_log import StateTooOld

if TYPE_CHECKING:
    from chaos.sim.host import Host, Process
    from chaos.sim.store import StoreWorld

__all__ = ["Hands"]

CLUSTER = "/etcdserverpb.Cluster/"
PAUSE_SECONDS = 0.5
TIMEOUT_SECONDS = 5.0
PATROL_SECONDS = 2.0
STRAY_URL = "http://nobody:2380"

Next = Callable[[], None]


class Hands:
    """All that is under way ends by itself once enough members hear one another."""

    def __init__(self, world: StoreWorld) -> None:
        self._world = world
        self._random: Random = world.random_for("hands")
        self._caller = Caller(world, "hands")
        self._wanted_strays, self._is_patrolling = 0, False

    def _soon(self, step: Next) -> None:
        self._world.heap.after(PAUSE_SECONDS * (0.5 + self._random.random()), step)

    def _ask(self, path: str, request: bytes, ended: Ended, *, but: Host | None = None) -> None:
        """Ask any member that runs, but not that one."""
        running = [host for host in self._world.hosts if host.is_up and host is not but]
        if running:
            self._caller.call(self._random.choice(running), path, request, TIMEOUT_SECONDS, ended)
        else:
            self._soon(lambda: ended(Code.UNAVAILABLE, "nobody runs", b""))

    # Replacing a member ----------------------------------------------------------------------------------------------

    def replace(self, host: Host, *, is_learner: bool) -> None:
        """Begin."""
        host.is_away = True
        host.doubt()
        former = host.member_id
        self._world.note("hands", "replaces", host.name)

        def emptied() -> None:
            host.crash("is replaced")
            self._add(host, is_learner=is_learner)

        self._remove(former, host, emptied)

    def _remove(self, member_id: int, host: Host | None, then: Next) -> None:
        def ended(code: int, text: str, answer: bytes) -> None:
            if code in (Code.OK, Code.NOT_FOUND):
                then()
            else:
                self._soon(lambda: self._remove(member_id, host, then))

        self._ask(CLUSTER + "MemberRemove", MemberRemoveRequest(ID=member_id).SerializeToString(), ended, but=host)

    def _add(self, host: Host, *, is_learner: bool) -> None:
        """An answer that was lost shows as 'Peer URLs already exists': so the list tells, not the answer."""
        request = MemberAddRequest(peerURLs=[host.url], isLearner=is_learner).SerializeToString()

        def listed(code: int, text: str, answer: bytes) -> None:
            rows = MemberListResponse.FromString(answer).members if code == Code.OK else ()
            row = next((row for row in rows if list(row.peerURLs) == [host.url]), None)
            if row is None:
                self._soon(lambda: self._add(host, is_learner=is_learner))
            else:
                self._join(host, row.ID, is_learner=row.isLearner)

        def added(code: int, text: str, answer: bytes) -> None:
            self._ask(CLUSTER + "MemberList", MemberListRequest(linearizable=True).SerializeToString(), listed, but=host)

        self._ask(CLUSTER + "MemberAdd", request, added, but=host)

    def _join(self, host: Host, member_id: int, *, is_learner: bool) -> None:
        """Start it with the table that another member tells."""
        for process in self._others(host):
            table, cluster_id = process.member.changes.table, process.member.cluster_id
            if table.get(member_id) is not None:
                self._start_anew(host, Identity(cluster_id, member_id, host.name), table.encode())
                if is_learner:
                    self._promote(member_id, host)
                return
        self._soon(lambda: self._join(host, member_id, is_learner=is_learner))

    def _others(self, host: Host) -> list[Process]:
        found = [other.process for other in self._world.hosts if other is not host and other.is_up and other.process]
        self._random.shuffle(found)
        return found

    def _start_anew(self, host: Host, identity: Identity, table: bytes) -> None:
        host.begin_anew(identity, table)
        host.is_away = False
        host.start()

    def _promote(self, member_id: int, host: Host) -> None:
        def ended(code: int, text: str, answer: bytes) -> None:
            is_done = code in (Code.OK, Code.NOT_FOUND) or text == NOT_A_LEARNER.text
            if not is_done:
                self._soon(lambda: self._promote(member_id, host))

        self._ask(CLUSTER + "MemberPromote", MemberPromoteRequest(ID=member_id).SerializeToString(), ended)

    # A learner that never comes --------------------------------------------------------------------------------------

    def add_stray(self, asked: Host) -> Next:
        """Ask `asked` to add one. Once healed, strays are looked for again and again: a request may be done much later."""
        request = MemberAddRequest(peerURLs=[STRAY_URL], isLearner=True).SerializeToString()
        self._caller.call(asked, CLUSTER + "MemberAdd", request, TIMEOUT_SECONDS, self._world.ignore)
        self._wanted_strays += 1
        return self._unwant

    def _unwant(self) -> None:
        self._wanted_strays -= 1
        if not self._is_patrolling:
            self._is_patrolling = True
            self._patrol()

    def _patrol(self) -> None:
        def again() -> None:
            self._world.heap.after(PATROL_SECONDS, self._patrol)

        def listed(code: int, text: str, answer: bytes) -> None:
            rows = MemberListResponse.FromString(answer).members if code == Code.OK and not self._wanted_strays else ()
            stray = next((row.ID for row in rows if list(row.peerURLs) == [STRAY_URL]), 0)
            if stray:
                self._remove(stray, None, again)
            else:
                again()

        self._ask(CLUSTER + "MemberList", MemberListRequest(linearizable=True).SerializeToString(), listed)

    # A member whose disk has failed it -------------------------------------------------------------------------------

    def mend(self, host: Host, error: Exception) -> None:
        """It has refused to serve, because of `error`."""
        if host.is_away:
            return
        host.is_away = True
        if isinstance(error, StateTooOld):
            self._fetch_state(host, error)
        else:
            self._ask_for_another_id(host, host.member_id)

    def _ask_for_another_id(self, host: Host, former: int) -> None:
        def ended(code: int, text: str, answer: bytes) -> None:
            if code == Code.OK:
                member_id, table = codec.unpack(answer)
                self._start_anew(host, Identity(cluster_id, member_id, host.name), table)
            else:
                self._soon(lambda: self._ask_for_another_id(host, former))

        cluster_id = host.config().cluster_id
        self._ask(REPLACE, codec.pack([cluster_id, former]), ended, but=host)

    def _fetch_state(self, host: Host, error: StateTooOld) -> None:
        """Another member's state under its own log; where the log holds nothing that follows it, in the place of both."""
        for process in self._others(host):
            member = process.member
            if not member.upkeep.commit():
                continue
            _, header, chunks = member.upkeep.picture(member.raft, host.member_id, member.changes.table)
            install, membership = decode_header(header)
            if install.mark.index >= error.restored.snapshot.index:
                self._world.note("hands", "fetches a state", f"for {host.name} at {install.mark.index}")
                host.put_state(list(chunks), install.mark, membership, error.restored)
                host.is_away = False
                host.start()
                return
        self._soon(lambda: self._fetch_state(host, error))

    def is_whole(self) -> bool:
        """Whether every member runs, has a vote, and nobody else has one."""
        leader = self._world.leader()
        if leader is None or leader.process is None:
            return False
        raft = leader.process.member.raft
        everybody = {host.process.member.member_id for host in self._world.hosts if host.process is not None}
        configuration = raft.log.configuration_at(raft.log.committed)
        return (
            len(everybody) == len(self._world.hosts)
            and not configuration.is_joint
            and set(configuration.members()) == everybody == set(configuration.voters)
        )
