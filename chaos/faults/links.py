"""Networks that part, slow down, break off and lie; on proxies without rights, on the switch with root.

A row of the table is a shape (which directions are hurt) and what is wrong with them.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import permutations
from random import Random
from typing import Any, ClassVar

from chaos.faults.base import Fault
from chaos.net.conditions import CLIENTS, Condition
from chaos.target import Feature, Target

__all__ = ["LINK_FAULTS"]

Direction = tuple[str, str]
Shape = Callable[[list[str], str, Random], Iterable[Direction]]  # members, leader (or a member), chance -> directions

FLAP_SECONDS = 0.2
NONSENSE_BYTES = 4096


def one(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """One member and the others hear nothing of each other."""
    return _around(random.choice(members), members)


def of_leader(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """The leader is alone."""
    return _around(leader, members)


def everywhere(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """Every direction between members."""
    return permutations(members, 2)


def halves(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """A majority and the rest."""
    shuffled = random.sample(members, len(members))
    few, many = shuffled[: len(members) // 2], shuffled[len(members) // 2 :]
    return [pair for a in few for b in many for pair in ((a, b), (b, a))]


def bridge(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """Two groups that only one member hears both of."""
    middle, *rest = random.sample(members, len(members))
    return [pair for a in rest[::2] for b in rest[1::2] if middle not in (a, b) for pair in ((a, b), (b, a))]


def ring(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """Everybody hears his two neighbours alone: with five, all have a majority and none the same."""
    order = random.sample(members, len(members))
    near = {(order[i], order[i - 1]) for i in range(len(order))} | {(order[i - 1], order[i]) for i in range(len(order))}
    return [pair for pair in permutations(members, 2) if pair not in near] or list(permutations(order[:2], 2))


def one_way(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """One member speaks to nobody, and hears all."""
    victim = random.choice(members)
    return [(victim, other) for other in members if other != victim]


def deaf(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """One member hears nobody, and is heard."""
    return [(there, here) for here, there in one_way(members, leader, random)]


def hole(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """Nothing comes to or from one member, of clients neither."""
    return _around(random.choice(members), [*members, CLIENTS])


def to_clients(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """From one member to its clients: slow readers, watchers that stand still."""
    return [(random.choice(members), CLIENTS)]


def both_clients(members: list[str], leader: str, random: Random) -> Iterable[Direction]:
    """Between one member and its clients."""
    victim = random.choice(members)
    return [(victim, CLIENTS), (CLIENTS, victim)]


def _around(victim: str, members: Iterable[str]) -> list[Direction]:
    return [pair for other in members if other != victim for pair in ((victim, other), (other, victim))]


class Links(Fault):
    """Conditions on some directions; `victims` are the directions by name."""

    shape: ClassVar[Shape]
    wrong: ClassVar[dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self._rules: list[Condition] = []

    async def choose(self, target: Target, random: Random) -> list[str]:
        leader = await target.leader() or random.choice(target.members)
        directions = type(self).shape(target.members, leader, random)
        self._rules = [Condition(source, destination, **type(self).wrong) for source, destination in directions]
        return [f"{rule.source}>{rule.destination}" for rule in self._rules]

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        target.rules.add(self._of(victim))

    async def mend(self, target: Target, victim: str) -> None:
        target.rules.remove(self._of(victim))

    async def seen(self, target: Target, victim: str) -> bool:
        return self._of(victim).touched > 0

    def _of(self, victim: str) -> Condition:
        return next(rule for rule in self._rules if f"{rule.source}>{rule.destination}" == victim)


class Flapping(Links):
    """The cut comes and goes, five times a second."""

    async def inject(self, target: Target, random: Random) -> str:
        said = await super().inject(target, random)
        self._flapping = asyncio.create_task(self._flap())
        return said

    async def _flap(self) -> None:
        while True:
            await asyncio.sleep(FLAP_SECONDS)
            for rule in self._rules:
                rule.cut = not rule.cut

    async def heal(self, target: Target) -> None:
        self._flapping.cancel()
        await asyncio.gather(self._flapping, return_exceptions=True)
        await super().heal(target)


class Reset(Fault):
    """All connections of one member end with RST, again and again."""

    for_clients: ClassVar[bool] = False

    async def choose(self, target: Target, random: Random) -> list[str]:
        return [random.choice(target.members)]

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        proxies = target.client_proxies if self.for_clients else target.proxies
        self._hits = sum(proxy.reset(None if name == victim else victim) for name, proxy in proxies.items())

    async def seen(self, target: Target, victim: str) -> bool:
        return self._hits > 0


class Nonsense(Fault):
    """Strangers connect to a member's ports and speak nonsense, or say nothing at all (half-open connections)."""

    name = "nonsense"
    summary = "strangers send random bytes, and open connections that say nothing"

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[asyncio.StreamWriter] = []
        self._ended = 0

    async def choose(self, target: Target, random: Random) -> list[str]:
        return [random.choice(target.members)]

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        for host, port in (target.nodes[victim].peer, target.nodes[victim].client):
            for is_idle in (False, True, True):
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(1):
                        reader, writer = await asyncio.open_connection(host, port)
                        self._idle.append(writer)
                        if not is_idle:
                            writer.write(random.randbytes(NONSENSE_BYTES))
                            self._ended += (await reader.read()) is not None

    async def mend(self, target: Target, victim: str) -> None:
        for writer in self._idle:
            writer.close()
        self._idle.clear()

    async def seen(self, target: Target, victim: str) -> bool:
        return self._ended > 0


def _kind(name: str, shape: Shape, wrong: dict[str, Any], *needs: Feature, base: type[Links] = Links) -> type[Links]:
    replace(Condition("", ""), **wrong)  # a name that a condition does not have is an error here, not in a run
    return type(base.__name__, (base,), {
        "name": name, "shape": staticmethod(shape), "wrong": wrong, "needs": frozenset(needs or (Feature.LINKS,)),
        "summary": f"{shape.__doc__} ({', '.join(f'{key} {value}' for key, value in wrong.items())})",
    })  # fmt: skip


CUT: dict[str, Any] = {"cut": True}
LINK_FAULTS: tuple[type[Fault], ...] = (
    _kind("partition-one", one, CUT),
    _kind("partition-leader", of_leader, CUT),
    _kind("partition-halves", halves, CUT),
    _kind("partition-all", everywhere, CUT),
    _kind("partition-bridge", bridge, CUT),
    _kind("partition-ring", ring, CUT),
    _kind("partition-mute", one_way, CUT),
    _kind("partition-deaf", deaf, CUT),
    _kind("partition-flapping", one, CUT, base=Flapping),
    _kind("blackhole", hole, CUT, Feature.LINKS, Feature.CLIENT_LINKS),
    _kind("link-delay", everywhere, {"delay_seconds": 0.05, "jitter_seconds": 0.1}),
    _kind("link-delay-leader", of_leader, {"delay_seconds": 0.4}),
    _kind("link-bandwidth", one, {"bytes_per_second": 20_000.0}),
    _kind("link-truncate", one, {"truncate": True}),
    type("PeerReset", (Reset,), {"name": "link-reset", "summary": "RST on every peer connection of one member",
                                 "needs": frozenset({Feature.LINKS})}),
    type("ClientReset", (Reset,), {"name": "client-reset", "summary": "RST on every client connection", "for_clients": True,
                                   "needs": frozenset({Feature.CLIENT_LINKS})}),
    _kind("client-stall", to_clients, CUT, Feature.CLIENT_LINKS),
    _kind("client-slow", to_clients, {"bytes_per_second": 5_000.0}, Feature.CLIENT_LINKS),
    _kind("client-hole", both_clients, CUT, Feature.CLIENT_LINKS),
    _kind("client-delay", both_clients, {"delay_seconds": 0.05, "jitter_seconds": 0.2}, Feature.CLIENT_LINKS),
    _kind("client-truncate", both_clients, {"truncate": True}, Feature.CLIENT_LINKS),
    Nonsense,
    _kind("packet-loss", everywhere, {"loss": 0.2}, Feature.SWITCH),
    _kind("packet-duplicate", everywhere, {"duplicate": 0.3}, Feature.SWITCH),
    _kind("packet-reorder", everywhere, {"reorder": 0.3}, Feature.SWITCH),
    _kind("packet-delay", everywhere, {"delay_seconds": 0.05, "jitter_seconds": 0.02}, Feature.SWITCH),
    _kind("packet-corrupt", everywhere, {"corrupt": 0.05}, Feature.SWITCH),
    _kind("packet-hole", hole, CUT, Feature.SWITCH),
)  # fmt: skip
