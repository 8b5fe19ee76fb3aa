"""Plays a schedule of faults (swarm.py draws it): each begins, lasts, and is healed; several may overlap."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from chaos.sim.faults import FAULTS, Heal
from chaos.sim.swarm import Planned

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["Nemesis"]


class Nemesis:
    """`only`: the numbers of those to play, None: all."""

    def __init__(self, world: StoreWorld, schedule: Collection[Planned], only: Collection[int] | None) -> None:
        self._world = world
        self.schedule = tuple(each for each in schedule if only is None or each.number in only)
        self._heals: dict[int, Heal] = {}
        self._is_on = False

    def begin(self) -> None:
        """From now on things go wrong."""
        self._is_on = True
        for planned in self.schedule:
            self._world.heap.after(planned.at, lambda planned=planned: self._act(planned))  # type: ignore[misc]

    def _act(self, planned: Planned) -> None:
        if not self._is_on:
            return
        world = self._world
        world.note("nemesis", f"fault {planned.name}", planned.number)
        self._heals[planned.number] = FAULTS[planned.name](world, world.random_for(f"fault-{planned.number}"))
        world.heap.after(planned.seconds, lambda: self._heal(planned.number))

    def _heal(self, number: int) -> None:
        heal = self._heals.pop(number, None)
        if heal is not None:
            self._world.note("nemesis", "healed", number)
            heal()

    def end(self) -> None:
        """All is healed, in the order in which it went wrong; every process runs."""
        self._is_on = False
        for number in list(self._heals):
            self._heal(number)
        world = self._world
        world.network.heal()
        for host in world.hosts:
            host.resume()
            host.clock.set_rate(1.0)
            host.files.mend()
            host.speed.slowness = 1.0
            if host.may_start:
                host.start()
