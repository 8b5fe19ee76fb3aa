"""What operators do while clients work: compaction, defragmentation, snapshots, another leader, other members."""

import asyncio
import shutil
from random import Random
from typing import ClassVar

from google.protobuf.message import Message

from chaos.faults.base import Fault, any_member, everybody
from chaos.target import Node, Target, free_ports
from kvstore.client import Client, Compacted, EtcdError
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError

__all__ = ["MAINTENANCE_FAULTS", "is_voter", "remove_member", "until_done"]

ATTEMPTS = 60
PAUSE_SECONDS = 0.25
CALL_TIMEOUT_SECONDS = 8.0
LEARNER_SECONDS = 15.0  # for a learner to catch up
_CLUSTER = "/etcdserverpb.Cluster/"
_MAINTENANCE = "/etcdserverpb.Maintenance/"


class Request(Fault):
    """A request that is its own effect once it is answered."""

    def __init__(self) -> None:
        super().__init__()
        self._answered = False

    async def choose(self, target: Target, random: Random) -> list[str]:
        return any_member(target, random, None)

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                self._answered = await self.ask(target, victim, random)
        except (EtcdError, RpcError, TimeoutError):
            self._answered = False  # another fault is at work; nothing was promised

    async def ask(self, target: Target, victim: str, random: Random) -> bool:
        raise NotImplementedError

    async def seen(self, target: Target, victim: str) -> bool:
        return self._answered


class Compact(Request):
    name = "compact"
    summary = "the history up to shortly before now is dropped"

    async def ask(self, target: Target, victim: str, random: Random) -> bool:
        async with Client(target.direct) as client:
            try:
                await client.compact(
                    max(1, target.may_compact() - random.randrange(100)), physical=random.random() < 0.5
                )
            except Compacted:
                return False
            return True


class Defragment(Request):
    name = "defragment"
    summary = "one member, or all at once, rewrite their files"

    async def choose(self, target: Target, random: Random) -> list[str]:
        return random.choice((any_member, everybody))(target, random, None)

    async def ask(self, target: Target, victim: str, random: Random) -> bool:
        await _call(target, victim, _MAINTENANCE + "Defragment", rpc.DefragmentRequest())
        return True


class Snapshot(Request):
    name = "snapshot"
    summary = "a snapshot is taken from one member"

    async def ask(self, target: Target, victim: str, random: Random) -> bool:
        async with Client(["{}:{}".format(*target.nodes[victim].client)]) as client:
            return await client.snapshot(target.folder / f"snapshot-{self.injected}") > 0


class TransferLeader(Request):
    name = "transfer-leader"
    summary = "the leader is told to hand over to another"

    async def ask(self, target: Target, victim: str, random: Random) -> bool:
        leader = await target.leader()
        if leader is None:
            return False
        followers = [one for one in await _members(target) if one.name in target.nodes and one.name != leader]
        if not followers:
            return False
        await _call(
            target, leader, _MAINTENANCE + "MoveLeader", rpc.MoveLeaderRequest(targetID=random.choice(followers).ID)
        )
        return True


class JoinAndLeave(Fault):
    """Adds a member that nobody has heard of; heal removes it and waits for its process to end."""

    name = "membership"
    summary = "a fresh member joins as a voter, and leaves again"
    is_learner: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._nodes: dict[str, Node] = {}

    async def choose(self, target: Target, random: Random) -> list[str]:
        return [f"{self.name}-{self.injected}"]

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        folder = target.folder / victim
        folder.mkdir()
        client, peer = (("127.0.0.1", port) for port in free_ports(2))
        node = Node(victim, folder, client, peer, peer_url="http://{}:{}".format(*peer), state="existing")
        self._nodes[victim] = node
        await until_done(
            target, "MemberAdd", rpc.MemberAddRequest(peerURLs=[node.peer_url], isLearner=self.is_learner),
            "etcdserver: Peer URLs already exists",
        )  # fmt: skip
        known = [f"{one.name}={url}" for one in await _members(target) for url in one.peerURLs if one.name]
        await target.launch(node, [*known, f"{victim}={node.peer_url}"])

    async def mend(self, target: Target, victim: str) -> None:
        node = self._nodes.pop(victim)
        await remove_member(target, node.peer_url)
        if node.process is not None:
            try:
                await asyncio.wait_for(node.process.wait(), 5)  # it learns that it was removed, and stops
            except TimeoutError:
                await target.end(node)
        await asyncio.to_thread(shutil.rmtree, node.folder, True)

    async def seen(self, target: Target, victim: str) -> bool:
        return any(one.name == victim for one in await _members(target))


class PromoteLearner(JoinAndLeave):
    """It learns first, and votes when it has caught up."""

    name = "learner"
    summary = "a fresh member joins as a learner, is promoted, and leaves again"
    is_learner = True

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        await super().hurt(target, victim, random)
        url = self._nodes[victim].peer_url
        found = [one.ID for one in await _members(target) if url in one.peerURLs]
        try:
            async with asyncio.timeout(LEARNER_SECONDS):
                await until_done(
                    target, "MemberPromote", rpc.MemberPromoteRequest(ID=found[0]),
                    "etcdserver: can only promote a learner member",
                )  # fmt: skip
        except (TimeoutError, IndexError, RpcError):
            return  # other faults kept it from catching up


async def remove_member(target: Target, peer_url: str) -> None:
    """Remove whoever is known under the address."""
    for member in await _members(target):
        if peer_url in member.peerURLs:
            await until_done(
                target, "MemberRemove", rpc.MemberRemoveRequest(ID=member.ID), "etcdserver: member not found"
            )


async def is_voter(target: Target, peer_url: str) -> bool:
    """Whether who is known under the address has a vote: a member that joins learns first."""
    return any(peer_url in member.peerURLs and not member.isLearner for member in await _members(target))


async def _members(target: Target) -> list[rpc.Member]:
    answer = await until_done(target, "MemberList", rpc.MemberListRequest(linearizable=True))
    return list(rpc.MemberListResponse.FromString(answer).members)


async def _call(target: Target, member: str, path: str, request: Message) -> bytes:
    channel = Channel("{}:{}".format(*target.nodes[member].client))
    try:
        return await channel.unary(path, request.SerializeToString(), timeout=CALL_TIMEOUT_SECONDS)
    finally:
        await channel.close()


async def until_done(target: Target, method: str, request: Message, done_already: str = "") -> bytes:
    """Ask one member after the other until one does it; an attempt whose end is unknown may have done it."""
    for attempt in range(ATTEMPTS):
        member = target.members[attempt % len(target.members)]
        try:
            return await _call(target, member, _CLUSTER + method, request)
        except RpcError as error:
            if done_already and error.text == done_already:
                return b""
            last = error
        await asyncio.sleep(PAUSE_SECONDS)
    raise last


MAINTENANCE_FAULTS: tuple[type[Fault], ...] = (
    Compact, Defragment, Snapshot, TransferLeader, JoinAndLeave, PromoteLearner,
)  # fmt: skip
