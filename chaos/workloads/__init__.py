"""Workloads: clients that record what they did. One file each; the registry is what `--workload` takes."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random

from chaos.history import Operation
from chaos.workloads import register

Workload = Callable[[Sequence[str], int, Random, Callable[[], bool], list[Operation]], Awaitable[None]]

WORKLOADS: dict[str, Workload] = {"register": register.client}
