"""A member of one: it applies what is proposed in the next turn of the loop, and leads unless told otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from kvstore.api import ApiLimits, AuthOptions, Services
from kvstore.member.membership import Change
from kvstore.member.ports import NO_LEADER, UNAVAILABLE, Done, Failed, MemberInfo, MemberStatus, Ok
from kvstore.mvcc import layout
from kvstore.mvcc.state import StateMachine
from kvstore.rpc import Channel, Server
from kvstore.storage.memory import MemoryStore
from kvstore.storage.port import OrderedStore

MEMBER_ID, CLUSTER_ID, OTHER_ID = 0xA, 0xC, 0xB


class FakeMember:
    """See kvstore.api.MemberPort."""

    def __init__(self, state: StateMachine) -> None:
        self.state = state
        self.cluster_id = CLUSTER_ID
        self.member_id = MEMBER_ID
        self.term = 3
        self.leader = MEMBER_ID
        self.is_learner = False
        self.has_room = True
        self.proposals: list[bytes] = []
        self.holds_proposals = False
        self.held: list[tuple[bytes, Done]] = []
        self.on_proposal: Callable[[], None] = lambda: None
        self.remote: FakeMember | None = None  # who answers `ask`
        self._callbacks: list[Callable[[int, int], None]] = []
        self._answerers: dict[str, Callable[[bytes, Callable[[bytes], None]], None]] = {}

    @property
    def is_leader(self) -> bool:
        return self.leader == self.member_id

    @property
    def applied_index(self) -> int:
        return self.state.applied_index

    def elect(self, leader: int) -> None:
        """Another term with another leader (0: none)."""
        self.term += 1
        self.leader = leader
        for callback in self._callbacks:
            callback(leader, self.term)

    def propose(self, data: bytes, done: Done) -> None:
        self.proposals.append(data)
        self.on_proposal()
        if self.holds_proposals:
            self.held.append((data, done))
        else:
            asyncio.get_running_loop().call_soon(self._apply, data, done)

    def release(self) -> None:
        """Apply what was held back."""
        held, self.held, self.holds_proposals = self.held, [], False
        for data, done in held:
            self._apply(data, done)

    def _apply(self, data: bytes, done: Done) -> None:
        if not self.leader:
            done(Failed(UNAVAILABLE, NO_LEADER))
            return
        outcome = self.state.apply(self.state.applied_index + 1, self.term, data)
        done(Ok(outcome))
        self.state.end_of_turn()

    def read(self, done: Done) -> None:
        result = Ok(None) if self.leader else Failed(UNAVAILABLE, NO_LEADER)
        asyncio.get_running_loop().call_soon(done, result)

    def status(self) -> MemberStatus:
        members = (
            MemberInfo(MEMBER_ID, "one", ("http://127.0.0.1:2380",), ("http://127.0.0.1:2379",)),
            MemberInfo(OTHER_ID, "", ("http://127.0.0.2:2380",), (), is_learner=True),
        )
        index = self.applied_index
        return MemberStatus(
            cluster_id=CLUSTER_ID,
            member_id=MEMBER_ID,
            leader=self.leader,
            term=self.term,
            role="leader",
            commit_index=index,
            applied_index=index,
            last_index=index,
            first_index=1,
            is_learner=self.is_learner,
            members=members,
            pending_proposals=0,
            log_bytes=0,
        )

    def on_leadership(self, callback: Callable[[int, int], None]) -> None:
        self._callbacks.append(callback)

    def transfer_leadership(self, to: int, done: Done) -> None:
        self.elect(to)
        done(Ok(None))

    def change_membership(self, change: Change, done: Done) -> None:
        done(Ok(self.status().members))

    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None:
        loop = asyncio.get_running_loop()
        if self.remote is None:
            loop.call_soon(done, None)
        else:
            loop.call_soon(self.remote._answerers[subject], payload, done)

    def answer(self, subject: str, handler: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
        self._answerers[subject] = handler


class FakeServer:
    """The services of a FakeMember on a real socket, and a channel to them."""

    def __init__(
        self, limits: ApiLimits | None = None, store: OrderedStore | None = None, auth: AuthOptions | None = None
    ) -> None:
        self.state = StateMachine(store or MemoryStore(layout.TABLES))
        self.member = FakeMember(self.state)
        loop = asyncio.get_running_loop()
        self.services = Services(self.member, self.state, limits or ApiLimits(), Random(1), loop, auth=auth)
        self.server = Server(self.services.routes(), http1=self.services.http)
        self.channel: Channel

    async def __aenter__(self) -> FakeServer:
        await self.server.start("127.0.0.1", 0)
        self.channel = Channel(f"127.0.0.1:{self.server.port}")
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.channel.close()
        self.services.stop()
        await self.server.stop()
