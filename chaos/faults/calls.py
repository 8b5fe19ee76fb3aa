"""Disk calls that fail, wait, tear or end the process, and clocks that lie: orders to the library before libc."""

import asyncio
import errno
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar

from chaos.faults.base import Choose, Fault, any_member, the_leader
from chaos.machine.shim import Action, Call, Control
from chaos.target import Feature, Target

__all__ = ["CALL_FAULTS"]

STROBE_SECONDS = 0.05
JUMP_SECONDS = 288.0


class Calls(Fault):
    """One order. A member that ends of it is started again by the heal."""

    needs = frozenset({Feature.SHIM})
    order: ClassVar[dict[str, Any]]
    at: ClassVar[tuple[int, int]] = (1, 1)
    who: ClassVar[Choose]

    async def choose(self, target: Target, random: Random) -> list[str]:
        return type(self).who(target, random, await target.leader())

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        control = _control(target, victim)
        target.nodes[victim].held_down.add(self.name)  # its end is this fault's
        control.order(**self.order, at=random.randint(*self.at))

    async def mend(self, target: Target, victim: str) -> None:
        _control(target, victim).clear()
        if self.order["action"] in (Action.KILL, Action.TORN, Action.FAIL):
            await _settle(target, victim)
        await target.release(victim, self.name)

    async def seen(self, target: Target, victim: str) -> bool:
        return _control(target, victim).hits > 0


class Clock(Fault):
    """Clocks of one member (or of all) show another time; heal lets them show the true one again."""

    needs = frozenset({Feature.SHIM})
    lie: ClassVar[Callable[[Control, Random], None]]

    async def choose(self, target: Target, random: Random) -> list[str]:
        return random.sample(target.members, random.randint(1, len(target.members)))

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        self._before = {**getattr(self, "_before", {}), victim: _control(target, victim).lies}
        type(self).lie(_control(target, victim), random)

    async def mend(self, target: Target, victim: str) -> None:
        _control(target, victim).set_clock(offset_seconds=0, rate=1)

    async def seen(self, target: Target, victim: str) -> bool:
        return bool(_control(target, victim).lies > self._before[victim])


class Strobe(Clock):
    """The wall clock jumps to and fro."""

    name = "clock-strobe"
    summary = "the wall clocks jump to and fro, twenty times a second"

    async def inject(self, target: Target, random: Random) -> str:
        said = await super().inject(target, random)
        self._strobing = asyncio.create_task(self._strobe(target, random))
        return said

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        self._before = {**getattr(self, "_before", {}), victim: _control(target, victim).lies}

    async def _strobe(self, target: Target, random: Random) -> None:
        while True:
            for victim in self.victims:
                _jump(_control(target, victim), random)
            await asyncio.sleep(STROBE_SECONDS)

    async def heal(self, target: Target) -> None:
        self._strobing.cancel()
        await asyncio.gather(self._strobing, return_exceptions=True)
        await super().heal(target)


def _control(target: Target, victim: str) -> Control:
    control = target.nodes[victim].control
    assert control is not None
    return control


async def _settle(target: Target, victim: str) -> None:
    """A member that was told of a bad disk may be about to end: let it."""
    node = target.nodes[victim]
    if node.process is not None:
        try:
            await asyncio.wait_for(node.process.wait(), 0.5)
        except TimeoutError:
            return


def _jump(control: Control, random: Random) -> None:
    control.set_clock(offset_seconds=random.uniform(-JUMP_SECONDS, JUMP_SECONDS))


def _drift(control: Control, random: Random) -> None:
    control.set_clock(rate=random.choice((0.5, 0.8, 1.25, 2.0)))


def _kind(
    name: str, summary: str, call: Call, action: Action, *, path: str = "/data/", value: int = 0,
    at: tuple[int, int] = (1, 1), who: Choose = any_member,
) -> type[Fault]:  # fmt: skip
    order = {"call": call, "action": action, "path": path, "value": value}
    return type(
        "Calls", (Calls,), {"name": name, "summary": summary, "order": order, "at": at, "who": staticmethod(who)}
    )


CALL_FAULTS: tuple[type[Fault], ...] = (
    _kind("sync-delay", "every sync of one member takes 0.3 s more", Call.SYNC, Action.DELAY, value=300_000),
    _kind("sync-stall-leader", "a sync of the leader takes 3 s", Call.SYNC, Action.DELAY, value=3_000_000, who=the_leader),
    _kind("sync-error", "syncs of one member fail: EIO", Call.SYNC, Action.FAIL, value=errno.EIO, at=(1, 40)),
    _kind("sync-error-leader", "syncs of the leader's log fail: EIO", Call.SYNC, Action.FAIL, path="/data/log/",
          value=errno.EIO, at=(1, 40), who=the_leader),
    _kind("write-error", "writes of one member fail: EIO", Call.WRITE, Action.FAIL, value=errno.EIO, at=(1, 40)),
    _kind("no-space", "writes of one member find no room: ENOSPC", Call.WRITE, Action.FAIL, value=errno.ENOSPC),
    _kind("torn-write", "half of a write, then SIGKILL", Call.WRITE, Action.TORN, at=(1, 60)),
    _kind("kill-at-sync", "SIGKILL just before a sync", Call.SYNC, Action.KILL, at=(1, 60)),
    _kind("kill-leader-at-sync", "SIGKILL of the leader just before a sync", Call.SYNC, Action.KILL, at=(1, 60), who=the_leader),
    type("Jump", (Clock,), {"name": "clock-jump", "summary": "wall clocks jump by up to 288 s", "lie": staticmethod(_jump)}),
    type("Drift", (Clock,), {"name": "clock-rate", "summary": "clocks run at half to double speed", "lie": staticmethod(_drift)}),
    Strobe,
)  # fmt: skip
