"""Processes that die, halt, or come back as another version."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from chaos.sim.faults.base import Heal, leader_or_some, some
from chaos.sim.swarm import draw_member_options

if TYPE_CHECKING:
    from chaos.sim.host import Host
    from chaos.sim.store import StoreWorld

__all__ = ["crash", "crash_all", "crash_at_boundary", "pause", "pause_leader", "restart", "stop", "upgrade"]

MAX_BOUNDARIES = 300


def restart(*hosts: Host) -> Heal:
    """Start what does not run, and may."""

    def heal() -> None:
        for host in hosts:
            if host.may_start:
                host.start()

    return heal


def crash(world: StoreWorld, random: Random) -> Heal:
    """kill -9 and a power cut in one: what was not synced may be gone."""
    host = some(world, random)
    host.crash("by the nemesis")
    return restart(host)


def crash_at_boundary(world: StoreWorld, random: Random) -> Heal:
    """The same, between two effects."""
    host = some(world, random)
    host.boundaries.arm(random.randrange(1, MAX_BOUNDARIES))

    def heal() -> None:
        host.boundaries.arm(0)
        restart(host)()

    return heal


def crash_all(world: StoreWorld, random: Random) -> Heal:
    """The whole building loses power."""
    for host in world.hosts:
        host.crash("with all others")
    return restart(*world.hosts)


def stop(world: StoreWorld, random: Random) -> Heal:
    """SIGTERM."""
    host = some(world, random)
    host.stop()
    return restart(host)


def upgrade(world: StoreWorld, random: Random) -> Heal:
    """SIGTERM, and a start with another configuration: members differ for a while, or for good."""
    host = some(world, random)
    host.stop()
    host.options = draw_member_options(random)
    return restart(host)


def pause(world: StoreWorld, random: Random) -> Heal:
    """SIGSTOP, then SIGCONT."""
    host = some(world, random)
    host.pause()
    return host.resume


def pause_leader(world: StoreWorld, random: Random) -> Heal:
    """SIGSTOP to whoever leads."""
    host = leader_or_some(world, random)
    host.pause()
    return host.resume
