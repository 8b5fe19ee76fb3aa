"""Signals: processes that end at once, or in order, or stand still and do not know it."""

import signal
from pathlib import Path
from random import Random
from typing import ClassVar

from chaos.faults.base import Choose, Fault, any_member, everybody, minority, the_leader
from chaos.target import Target

__all__ = ["PROCESS_FAULTS", "RollingRestart"]


class End(Fault):
    """A signal that ends it; heal starts the process again on the same files."""

    number: ClassVar[signal.Signals] = signal.SIGKILL
    who: ClassVar[Choose]

    async def choose(self, target: Target, random: Random) -> list[str]:
        return type(self).who(target, random, await target.leader())

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        await target.hold_down(victim, self.name, self.number)

    async def mend(self, target: Target, victim: str) -> None:
        await target.release(victim, self.name)

    async def seen(self, target: Target, victim: str) -> bool:
        return not target.nodes[victim].is_running


class Pause(End):
    """SIGSTOP now; heal lets it go on with what it believed before."""

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        target.nodes[victim].paused.add(self.name)
        target.send_signal(victim, signal.SIGSTOP)

    async def mend(self, target: Target, victim: str) -> None:
        target.nodes[victim].paused.discard(self.name)
        if not target.nodes[victim].paused:
            target.send_signal(victim, signal.SIGCONT)

    async def seen(self, target: Target, victim: str) -> bool:
        pid = target.pids().get(victim)
        return pid is not None and _state(pid) == "T"


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


class RollingRestart(Fault):
    """Every member after the other ends in order and starts with another flag than before."""

    name = "rolling-restart"
    summary = "each member in turn: SIGTERM, start with other flags"
    SNAPSHOT_COUNTS: ClassVar = ("50", "100", "1000")

    async def choose(self, target: Target, random: Random) -> list[str]:
        return everybody(target, random, None)

    async def hurt(self, target: Target, victim: str, random: Random) -> None:
        await target.hold_down(victim, self.name, signal.SIGTERM)
        target.nodes[victim].flags["snapshot-count"] = random.choice(self.SNAPSHOT_COUNTS)
        await target.release(victim, self.name)

    async def seen(self, target: Target, victim: str) -> bool:
        return target.nodes[victim].starts > 1


def _kind(base: type[End], name: str, who: Choose, summary: str, number: signal.Signals = signal.SIGKILL) -> type[End]:
    return type(base.__name__, (base,), {"name": name, "who": staticmethod(who), "summary": summary, "number": number})


PROCESS_FAULTS: tuple[type[Fault], ...] = (
    _kind(End, "kill", any_member, "SIGKILL one member"),
    _kind(End, "kill-leader", the_leader, "SIGKILL the leader"),
    _kind(End, "kill-minority", minority, "SIGKILL as many as may be missing"),
    _kind(End, "kill-all", everybody, "SIGKILL all members"),
    _kind(End, "stop", any_member, "SIGTERM one member", signal.SIGTERM),
    _kind(End, "stop-leader", the_leader, "SIGTERM the leader", signal.SIGTERM),
    _kind(End, "stop-all", everybody, "SIGTERM all members", signal.SIGTERM),
    _kind(Pause, "pause", any_member, "SIGSTOP one member"),
    _kind(Pause, "pause-leader", the_leader, "SIGSTOP the leader"),
    _kind(Pause, "pause-all", everybody, "SIGSTOP all members"),
    RollingRestart,
)
