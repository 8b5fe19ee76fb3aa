"""What a member counts on its way, for the metrics page: plain additions, once a turn, a save or a batch."""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

__all__ = ["DISK_BOUNDS_SECONDS", "Figures", "Histogram"]

DISK_BOUNDS_SECONDS = tuple(0.001 * 2**power for power in range(14))  # etcd's buckets: 1 ms to 8.2 s
SLOW_TURN_SECONDS = 0.1


class Histogram:
    """How long something took. `counts` has one more than `bounds`: what took longer than the last."""

    __slots__ = ("bounds", "counts", "total_seconds")

    def __init__(self, bounds: tuple[float, ...] = DISK_BOUNDS_SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_seconds += seconds


@dataclass(slots=True)
class Figures:
    """Bytes are counted by the other member's id."""

    fsync: Histogram = field(default_factory=Histogram)  # saves of the log
    commit: Histogram = field(default_factory=Histogram)  # commits of the state
    slow_turns: int = 0  # longer than SLOW_TURN_SECONDS
    sent_bytes: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    received_bytes: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    lost: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # times that what was sent may not have arrived
