"""Clients as state machines: no coroutines, one operation at a time, everything recorded. The registry is their order."""

from typing import Protocol

from chaos.sim.workloads.lease import Holder
from chaos.sim.workloads.register import RegisterClient
from chaos.sim.workloads.transact import Transactor
from chaos.sim.workloads.watch import Watching


class Worker(Protocol):
    """A client of any kind: begins, and ends when it is told to."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


__all__ = ["Holder", "RegisterClient", "Transactor", "Watching", "Worker"]
