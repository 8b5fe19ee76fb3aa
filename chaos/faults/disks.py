"""Real disks that fail: power cuts, full ones, thin ones whose syncs fail after the fact. Root."""

import asyncio
from random import Random
from typing import ClassVar

from chaos.faults.base import Choose, Fault, any_member, everybody, the_leader
from chaos.machine.disks import Disk
from chaos.target import Feature, Target

__all__ = ["DISK_FAULTS"]


class PowerCut(Fault):
    """What the kernel had not written is gone, and so is the process; heal brings the machine back."""

    needs = frozenset({Feature.DISKS})
    who: ClassVar[Choose]
    cuts: ClassVar[int] = 0

    async def choose(self, target: Target, random: Random) -> list[str]:
        return type(self).who(target, random, await target.leader())

    async def inject(self, target: Target, random: Random) -> str:
        said = await super().inject(target, random)
        await asyncio.gather(*(target.hold_down(victim, self.name) for victim in self.victims))
        return said

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        _disk(target, victim).cut_power()
        target.nodes[victim].held_down.add(self.name)

    async def mend(self, target: Target, victim: str) -> None:
        await asyncio.to_thread(_disk(target, victim).restart)
        await target.release(victim, self.name)

    async def seen(self, target: Target, victim: str) -> bool:
        return not await asyncio.to_thread(_takes, _disk(target, victim), 1)


class DiskFull(Fault):
    """Others fill the disk of one member to the last block."""

    name = "disk-full"
    summary = "the disk of one member is filled to the last block"
    needs = frozenset({Feature.DISKS})

    async def choose(self, target: Target, random: Random) -> list[str]:
        return any_member(target, random, None)

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        try:
            await asyncio.to_thread(_disk(target, victim).fill)
        except OSError:
            return  # the disk is dead of another fault

    async def mend(self, target: Target, victim: str) -> None:
        try:
            await asyncio.to_thread(_disk(target, victim).empty)
        except OSError:
            return

    async def seen(self, target: Target, victim: str) -> bool:
        return not await asyncio.to_thread(_takes, _disk(target, victim), 1 << 16)


class ThinDisk(Fault):
    """The image gets no new blocks: a sync fails once, the next one "succeeds", the data is gone (fsyncgate)."""

    name = "disk-thin"
    summary = "write-backs of one member fail behind its back: fsync tells it once"
    needs = frozenset({Feature.DISKS})

    async def choose(self, target: Target, random: Random) -> list[str]:
        return any_member(target, random, None)

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        self._said = len(target.nodes[victim].words())
        target.nodes[victim].held_down.add(self.name)
        await asyncio.to_thread(_disk(target, victim).shrink)

    async def mend(self, target: Target, victim: str) -> None:
        """The machine comes back on a disk with room: what pages of memory still showed is what the disk has, or not."""
        disk = _disk(target, victim)
        await asyncio.to_thread(disk.grow)
        await target.hold_down(victim, self.name)
        await asyncio.to_thread(disk.restart)
        await target.release(victim, self.name)

    async def seen(self, target: Target, victim: str) -> bool:
        said = target.nodes[victim].words()[self._said :]
        return any(
            word in said for word in ("Input/output error", "input/output error", "No space left", "no space left")
        )


def _takes(disk: Disk, size: int) -> bool:
    try:
        (disk.path / "probe").write_bytes(bytes(size))
    except OSError:
        return False
    return True


def _disk(target: Target, victim: str) -> Disk:
    disk = target.nodes[victim].disk
    assert disk is not None
    return disk


def _cut(name: str, who: Choose, summary: str) -> type[PowerCut]:
    return type("PowerCut", (PowerCut,), {"name": name, "who": staticmethod(who), "summary": summary})


DISK_FAULTS: tuple[type[Fault], ...] = (
    _cut("power-cut", any_member, "the power of one member fails"),
    _cut("power-cut-leader", the_leader, "the power of the leader fails"),
    _cut("power-cut-all", everybody, "the power of all members fails at once"),
    DiskFull,
    ThinDisk,
)
