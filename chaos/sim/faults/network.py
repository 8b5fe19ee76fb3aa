"""Links that carry nothing, or carry badly."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from chaos.sim.faults.base import Fault, Heal, leader_or_some, nothing, some

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["bridge", "flapping", "halves", "isolate", "isolate_leader", "one_way", "ring", "weather"]

FLAP_SECONDS = 0.4


def _cut(world: StoreWorld, links: set[tuple[str, str]]) -> Heal:
    added = links - world.network.cut
    world.network.cut |= added
    return lambda: world.network.cut.difference_update(added)


def _separate(world: StoreWorld, left: set[str], right: set[str], *, is_one_way: bool = False) -> Heal:
    there = {(a, b) for a in left for b in right}
    return _cut(world, there if is_one_way else there | {(b, a) for a, b in there})


def isolate(world: StoreWorld, random: Random) -> Heal:
    """One member hears no other, and its clients only now and then: they are of its side or not."""
    return _isolate(world, random, some(world, random).name)


def isolate_leader(world: StoreWorld, random: Random) -> Heal:
    """The same, for whoever leads."""
    return _isolate(world, random, leader_or_some(world, random).name)


def _isolate(world: StoreWorld, random: Random, name: str) -> Heal:
    outside = world.outside_names()
    inside = {name, *(client for client in outside if random.random() < 0.5)}
    return _separate(world, inside, {*world.names, *outside} - inside)


def halves(world: StoreWorld, random: Random) -> Heal:
    """A minority and a majority."""
    shuffled = random.sample(world.names, len(world.names))
    middle = len(shuffled) // 2
    return _separate(world, set(shuffled[:middle]), set(shuffled[middle:]))


def one_way(world: StoreWorld, random: Random) -> Heal:
    """What one member says reaches nobody, though it hears all; or the other way round."""
    name = some(world, random).name
    others = set(world.names) - {name}
    if random.random() < 0.5:
        return _separate(world, {name}, others, is_one_way=True)
    return _separate(world, others, {name}, is_one_way=True)


def bridge(world: StoreWorld, random: Random) -> Heal:
    """Two halves that only one member can reach both of."""
    rest = random.sample(world.names, len(world.names))[1:]
    middle = len(rest) // 2
    return _separate(world, set(rest[:middle]), set(rest[middle:]))


def ring(world: StoreWorld, random: Random) -> Heal:
    """Each member reaches its two neighbours alone, so that each sees another majority."""
    shuffled = random.sample(world.names, len(world.names))
    count = len(shuffled)
    places = range(count)
    return _cut(world, {
        (shuffled[i], shuffled[j]) for i in places for j in places if i != j and (i - j) % count not in (1, count - 1)
    })


def flapping(world: StoreWorld, random: Random) -> Heal:
    """A link that comes and goes."""
    pair = random.sample(world.names, 2)
    is_on = True
    heal_cut: Heal = nothing

    def flip() -> None:
        nonlocal heal_cut
        heal_cut()
        if is_on:
            heal_cut = _separate(world, {pair[0]}, {pair[1]}) if heal_cut is nothing else nothing
            world.heap.after(FLAP_SECONDS * (0.5 + random.random()), flip)

    def heal() -> None:
        nonlocal is_on, heal_cut
        is_on = False
        heal_cut()
        heal_cut = nothing

    flip()
    return heal


def weather(attribute: str, most: float) -> Fault:
    """All packets suffer, up to `most`."""

    def fault(world: StoreWorld, random: Random) -> Heal:
        setattr(world.network.weather, attribute, most * random.random())
        return lambda: setattr(world.network.weather, attribute, 0.0)

    return fault
