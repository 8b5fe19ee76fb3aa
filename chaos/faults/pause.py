"""SIGSTOP and SIGCONT: a process that stands still for a while and does not know it."""

import signal

from chaos.faults.base import Fault, OneMember, TheLeader
from chaos.target import Target


class Pause(Fault):
    """SIGSTOP now; heal lets it go on with what it believed before."""

    async def hurt(self, target: Target, victim: str) -> None:
        await target.signal(victim, signal.SIGSTOP)

    async def mend(self, target: Target, victim: str) -> None:
        await target.signal(victim, signal.SIGCONT)


class PauseMember(Pause, OneMember):
    name = "pause"


class PauseLeader(Pause, TheLeader):
    name = "pause-leader"
