"""Disks that are slow, fail, fill up, or forget. What rots, rots on a minority: the others must still know everything."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from chaos.sim.faults.base import Heal, leader_or_some, nothing, some
from chaos.sim.faults.processes import restart

if TYPE_CHECKING:
    from chaos.sim.host import Host
    from chaos.sim.store import StoreWorld

__all__ = ["bit_rot", "disk_error", "full_disk", "lost_state", "slow_disk", "stalled_disk"]

MAX_CALLS = 30
STALL_SECONDS = 5.0


def slow_disk(world: StoreWorld, random: Random) -> Heal:
    """Every fsync of one member takes up to 200 times as long."""
    host = some(world, random)
    host.speed.slowness = 10.0 ** (2.3 * random.random())

    def heal() -> None:
        host.speed.slowness = 1.0

    return heal


def stalled_disk(world: StoreWorld, random: Random) -> Heal:
    """An fsync that hangs, longer than an election may take."""
    leader_or_some(world, random).speed.stalled_until = world.heap.now + STALL_SECONDS * random.random()
    return nothing


def disk_error(world: StoreWorld, random: Random) -> Heal:
    """From some system call on, every one of one member's log fails: its process must end and not try again."""
    host = some(world, random)
    host.files.fail_at(random.randrange(1, MAX_CALLS))

    def heal() -> None:
        host.files.mend()
        restart(host)()

    return heal


def full_disk(world: StoreWorld, random: Random) -> Heal:
    """One member's log and state find no room; what is written may be cut short."""
    host = some(world, random)
    host.files.has_room = False

    def heal() -> None:
        host.files.has_room = True

    return heal


def bit_rot(world: StoreWorld, random: Random) -> Heal:
    """A bit of one member's log flips; some notice at once, because they are started again, others much later."""
    host = _who_may_lose(world, random)
    if host is None or (where := host.rot()) is None:
        return nothing
    world.note(host.name, "bit flipped", where)
    if random.random() < 0.7:
        host.crash("after a bit has flipped")
    return restart(host)


def lost_state(world: StoreWorld, random: Random) -> Heal:
    """The disk with the state of one member is replaced by an empty one; its log is on another."""
    host = _who_may_lose(world, random)
    if host is None:
        return nothing
    host.crash("its state is lost")
    host.lose_state()
    return restart(host)


def _who_may_lose(world: StoreWorld, random: Random) -> Host | None:
    """A member that may lose data, or None: too many are about to be mended already."""
    host = some(world, random)
    for other in world.hosts:
        other.look()
    others = sum(other.is_doubtful for other in world.hosts if other is not host)
    return host if others < (len(world.hosts) - 1) // 2 and not host.is_away else None
