"""Faults: what is done to a cluster, and undone. One file each; the registry is what `--faults` takes.

A fault is a class with `name`, `async inject(target, random)` that returns what it hit, and `async heal(target)`.
"""

from chaos.faults.base import Fault
from chaos.faults.kill import KillAll, KillLeader, KillMember
from chaos.faults.membership import JoinAndLeave
from chaos.faults.pause import PauseLeader, PauseMember

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault for fault in (KillMember, KillLeader, KillAll, PauseMember, PauseLeader, JoinAndLeave)
}

__all__ = ["FAULTS", "Fault"]
