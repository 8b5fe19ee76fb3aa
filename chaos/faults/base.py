"""What a fault is."""

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

from chaos.target import Target


class Fault(ABC):
    """Injected for a while, then healed. `injected` and `healed` count; both are shown in the report."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.injected = 0
        self.healed = 0
        self.victims: list[str] = []

    async def inject(self, target: Target, random: Random) -> str:
        """Choose victims and hurt them; return their names for the report."""
        self.victims = await self.choose(target, random)
        for victim in self.victims:
            await self.hurt(target, victim)
        self.injected += 1
        return ", ".join(self.victims)

    async def heal(self, target: Target) -> None:
        """Undo it; the target serves again some time later."""
        for victim in self.victims:
            await self.mend(target, victim)
        self.victims = []
        self.healed += 1

    @abstractmethod
    async def choose(self, target: Target, random: Random) -> list[str]: ...

    @abstractmethod
    async def hurt(self, target: Target, victim: str) -> None: ...

    @abstractmethod
    async def mend(self, target: Target, victim: str) -> None: ...


class OneMember(Fault):
    """A fault of one member chosen by chance."""

    async def choose(self, target: Target, random: Random) -> list[str]:
        return [random.choice(target.members)]


class TheLeader(Fault):
    """A fault of the member that leads now; of any where none does."""

    async def choose(self, target: Target, random: Random) -> list[str]:
        return [await target.leader() or random.choice(target.members)]
