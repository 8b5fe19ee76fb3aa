"""kill -9, and a start afterwards: what was not made durable is gone."""

import signal
from random import Random

from chaos.faults.base import Fault, OneMember, TheLeader
from chaos.target import Target


class Kill(Fault):
    """SIGKILL now; heal starts the process again on the same files."""

    async def hurt(self, target: Target, victim: str) -> None:
        await target.signal(victim, signal.SIGKILL)

    async def mend(self, target: Target, victim: str) -> None:
        await target.start(victim)


class KillMember(Kill, OneMember):
    name = "kill"


class KillLeader(Kill, TheLeader):
    name = "kill-leader"


class KillAll(Kill):
    name = "kill-all"

    async def choose(self, target: Target, random: Random) -> list[str]:
        return random.sample(target.members, len(target.members))
