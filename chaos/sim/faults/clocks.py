"""Clocks that run fast or slow, jump, or do so all the time."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from chaos.sim.faults.base import Heal, nothing, some

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["FASTEST_CLOCK", "clock_jump", "clock_rate", "clock_strobe"]

JUMP_SECONDS = 288.0  # as far as Jepsen's bumps go
FASTEST_CLOCK = 2.0  # and half of it the slowest
STROBE_SECONDS = 0.2


def clock_rate(world: StoreWorld, random: Random) -> Heal:
    """One member's clocks run at half to double speed."""
    host = some(world, random)
    host.clock.set_rate(FASTEST_CLOCK ** (2.0 * random.random() - 1.0))
    return lambda: host.clock.set_rate(1.0)


def clock_jump(world: StoreWorld, random: Random) -> Heal:
    """One member's wall clock jumps."""
    some(world, random).clock.jump(JUMP_SECONDS * (2.0 * random.random() - 1.0))
    return nothing


def clock_strobe(world: StoreWorld, random: Random) -> Heal:
    """One member's wall clock jumps there and back all the time."""
    clock, seconds, is_on = some(world, random).clock, JUMP_SECONDS * random.random(), True

    def flip(by: float) -> None:
        clock.jump(by)
        if is_on or by > 0:  # it ends where it began
            world.heap.after(STROBE_SECONDS * random.random(), lambda: flip(-by))

    def heal() -> None:
        nonlocal is_on
        is_on = False

    flip(seconds)
    return heal
