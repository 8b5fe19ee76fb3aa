"""What operators do while the cluster works, and what members that come and go do to it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from chaos.sim.faults.base import CALL_SECONDS, Heal, nothing, some
from kvstore.pb.rpc_pb2 import CompactionRequest, DefragmentRequest, MoveLeaderRequest

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["compaction", "defragment", "leader_transfer", "replacement", "stray_learner"]

NEAR = 20  # revisions


def leader_transfer(world: StoreWorld, random: Random) -> Heal:
    """MoveLeader under load."""
    leader, target = world.leader(), some(world, random)
    if leader is not None and target.process is not None:
        request = MoveLeaderRequest(targetID=target.process.member.member_id).SerializeToString()
        world.operator.call(leader, "/etcdserverpb.Maintenance/MoveLeader", request, CALL_SECONDS, world.ignore)
    return nothing


def compaction(world: StoreWorld, random: Random) -> Heal:
    """The history up to a little before now is dropped."""
    host = some(world, random)
    if host.process is not None and world.may_compact:
        revision = host.process.state.machine.revision - random.randrange(NEAR)
        if revision > 0:
            request = CompactionRequest(revision=revision, physical=random.random() < 0.5).SerializeToString()
            world.operator.call(host, "/etcdserverpb.KV/Compact", request, CALL_SECONDS, world.ignore)
    return nothing


def defragment(world: StoreWorld, random: Random) -> Heal:
    """Defragment one member."""
    request = DefragmentRequest().SerializeToString()
    world.operator.call(some(world, random), "/etcdserverpb.Maintenance/Defragment", request, CALL_SECONDS, world.ignore)
    return nothing


def replacement(world: StoreWorld, random: Random) -> Heal:
    """One member is removed and comes back with empty disks under another id, as a voter or as a learner to promote."""
    host = some(world, random)
    for other in world.hosts:
        other.look()
    if not any(other.is_doubtful or other.is_away for other in world.hosts):
        world.hands.replace(host, is_learner=random.random() < 0.5)
    return nothing


def stray_learner(world: StoreWorld, random: Random) -> Heal:
    """A learner is added that nobody starts, and removed again."""
    return world.hands.add_stray(some(world, random))
