"""Clients as state machines: no coroutines, one operation at a time, everything recorded. The registry is their order."""

from chaos.sim.workloads.register import RegisterClient

__all__ = ["RegisterClient"]
