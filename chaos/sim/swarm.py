"""A seed's configuration: which faults it uses and how strongly, how large the cluster is, how quickly logs are compacted.

Each seed leaves out about half of the faults ("swarm testing", Groce et al. 2012): a fault that always acts can hide
another's effect.
"""

from dataclasses import dataclass, field
from random import Random

__all__ = ["FAULT_NAMES", "Swarm", "draw_swarm"]

FAULT_NAMES = (
    "crash", "crash at a boundary", "crash of all", "stop", "pause", "pause of the leader",
    "isolate", "isolate the leader", "halves", "one way", "bridge", "ring", "flapping",
    "loss", "duplication", "reordering", "delay",
    "slow disk", "stalled disk", "disk error", "full disk", "clock rate", "clock jump",
    "leader transfer", "compaction", "defragment",
)
FAULT_SHARE = 0.5  # of the faults that a seed uses


@dataclass(frozen=True, slots=True)
class Swarm:
    """What one seed is like. `interval_seconds`: between the beginnings of two faults, in the mean."""

    members: int
    clients: int
    watchers: int
    holders: int
    keys: int
    pause_seconds: float  # of a client between two operations, in the mean
    interval_seconds: float
    fault_seconds: float  # how long a fault lasts, in the mean
    faults: tuple[str, ...]
    member_options: dict[str, object] = field(default_factory=dict)


def draw_swarm(random: Random, *, members: int = 0, faults: tuple[str, ...] | None = None) -> Swarm:
    """Draw a configuration; `members` and `faults` can be given."""
    snapshot_count = random.choice((20, 100, 1000))
    drawn = tuple(name for name in FAULT_NAMES if random.random() < FAULT_SHARE)
    return Swarm(
        members=members or random.choice((3, 3, 3, 5)),
        clients=random.choice((2, 4, 8)),
        watchers=random.choice((0, 2, 6)),
        holders=random.choice((0, 2, 4)),
        keys=random.choice((1, 3, 8)),
        pause_seconds=random.choice((0.05, 0.2, 1.0)),
        interval_seconds=random.choice((0.5, 2.0, 6.0)),
        fault_seconds=random.choice((0.3, 1.5, 5.0)),
        faults=drawn if faults is None else faults,
        member_options={
            "snapshot_count": snapshot_count,
            "snapshot_catchup_entries": snapshot_count // 4,
            "backend_batch_interval_milliseconds": random.choice((100, 500, 2000)),
        },
    )
