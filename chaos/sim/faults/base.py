"""What every fault shares: its form, and whom it befalls."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.sim.host import Host
    from chaos.sim.store import StoreWorld

__all__ = ["CALL_SECONDS", "Fault", "Heal", "leader_or_some", "nothing", "some"]

CALL_SECONDS = 5.0
Heal = Callable[[], None]
Fault = Callable[["StoreWorld", Random], Heal]


def nothing() -> None:
    """The healing of what heals by itself."""


def some(world: StoreWorld, random: Random) -> Host:
    """Any member's host."""
    return random.choice(world.hosts)


def leader_or_some(world: StoreWorld, random: Random) -> Host:
    """The leader's host, or any where nobody leads."""
    return world.leader() or some(world, random)
