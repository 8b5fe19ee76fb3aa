"""Clients as state machines: no coroutines, one operation at a time, everything recorded. The registry is their order."""

from chaos.sim.workloads.register import RegisterClient
from chaos.sim.workloads.watch import Watching

__all__ = ["RegisterClient", "Watching"]
