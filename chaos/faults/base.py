"""What a fault is."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from random import Random
from typing import ClassVar

from chaos.machine.disks import why_no_disks
from chaos.machine.shim import COMPILER
from chaos.net.tun import why_no_switch
from chaos.target import Feature, Target

__all__ = ["Fault", "any_member", "everybody", "minority", "the_leader"]

Choose = Callable[[Target, Random, str | None], list[str]]  # the leader's name, where one is known

BUSY = "another fault is destroying a member's files"


class Fault(ABC):
    """Injected for a while, then healed. `injected`, `healed` and `effects` count; all are shown in the report.

    name            what `--faults` takes                     summary   one line for `pilothouse chaos list`
    needs           what the target must have for it
    is_destructive  it takes away what one member keeps: only one such fault at a time
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    needs: ClassVar[frozenset[Feature]] = frozenset()
    is_destructive: ClassVar[bool] = False

    def __init__(self) -> None:
        self.injected = 0
        self.healed = 0
        self.effects = 0
        self.victims: list[str] = []

    @classmethod
    def why_not(cls, target_is_preloadable: bool) -> str:
        """Return why it cannot be injected on this machine or program; "": it can."""
        if Feature.DISKS in cls.needs and (reason := why_no_disks()):
            return reason
        if Feature.SWITCH in cls.needs and (reason := why_no_switch()):
            return reason
        if Feature.SHIM in cls.needs:
            if not target_is_preloadable:
                return "the program does not call libc: no library can stand before it"
            if COMPILER is None:
                return "no C compiler"
        return ""

    async def inject(self, target: Target, random: Random) -> str:
        """Choose victims and hurt them; return their names for the report."""
        if self.is_destructive:
            if target.damage.locked():
                raise BlockingIOError(BUSY)
            await target.damage.acquire()
        self.victims = await self.choose(target, random)
        self.injected += 1
        for victim in self.victims:
            await self.hurt(target, victim, random)
        return ", ".join(self.victims)

    async def heal(self, target: Target) -> None:
        """Undo it, and count whether its effect was seen; the target serves again some time later."""
        try:
            was_seen = any([await self.seen(target, victim) for victim in self.victims])
            await asyncio.gather(*(self.mend(target, victim) for victim in self.victims))
            self.effects += was_seen or any([await self.seen_after(target, victim) for victim in self.victims])
        finally:
            self.victims = []
            self.healed += 1
            if self.is_destructive and target.damage.locked():
                target.damage.release()

    @abstractmethod
    async def choose(self, target: Target, random: Random) -> list[str]: ...

    @abstractmethod
    async def hurt(self, target: Target, victim: str, random: Random) -> None: ...

    async def mend(self, target: Target, victim: str) -> None:  # noqa: B027 (some undo themselves)
        """Undo what `hurt` did."""

    async def seen(self, target: Target, victim: str) -> bool:
        """Whether something of it can be seen now, just before the heal."""
        return False

    async def seen_after(self, target: Target, victim: str) -> bool:
        """Whether something of it can be seen just after the heal."""
        return False


def any_member(target: Target, random: Random, leader: str | None) -> list[str]:
    """One member by chance."""
    return [random.choice(target.members)]


def the_leader(target: Target, random: Random, leader: str | None) -> list[str]:
    """The leader; anybody where none leads."""
    return [leader or random.choice(target.members)]


def everybody(target: Target, random: Random, leader: str | None) -> list[str]:
    """All members, in some order."""
    return random.sample(target.members, len(target.members))


def minority(target: Target, random: Random, leader: str | None) -> list[str]:
    """As many as may be missing."""
    return random.sample(target.members, (len(target.members) - 1) // 2)
