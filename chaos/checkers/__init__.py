"""Checkers: pure functions (operations, the store's log) -> violations. The registry is the order of a report."""

from collections.abc import Callable, Sequence

from chaos.checkers import durability, real_time, replay
from chaos.history import Logged, Operation

Checker = Callable[[Sequence[Operation], Sequence[Logged]], list[str]]

CHECKERS: dict[str, Checker] = {
    "durability": durability.check,
    "replay": replay.check,
    "real-time": real_time.check,
}
