"""A seed's configuration: which faults it uses and how strongly, how large the cluster is, how quickly logs are compacted.

Each seed leaves out about half of the faults ("swarm testing", Groce et al. 2012): a fault that always acts can hide
another's effect.
"""

from dataclasses import dataclass, field
from random import Random

__all__ = ["FAULT_NAMES", "Planned", "Script", "Swarm", "draw_member_options", "draw_schedule", "draw_swarm"]

FAULT_NAMES = (
    "crash", "crash at a boundary", "crash of all", "stop", "upgrade", "pause", "pause of the leader",
    "isolate", "isolate the leader", "halves", "one way", "bridge", "ring", "flapping",
    "loss", "duplication", "reordering", "delay",
    "slow disk", "stalled disk", "disk error", "full disk", "bit rot", "lost state",
    "clock rate", "clock jump", "clock strobe",
    "leader transfer", "compaction", "defragment", "replacement", "stray learner",
)
FAULT_SHARE = 0.5  # of the faults that a seed uses


@dataclass(frozen=True, slots=True)
class Swarm:
    """What one seed is like. `interval_seconds`: between the beginnings of two faults, in the mean."""

    members: int
    clients: int
    watchers: int
    holders: int
    transactors: int
    keys: int
    pause_seconds: float  # of a client between two operations, in the mean
    interval_seconds: float
    fault_seconds: float  # how long a fault lasts, in the mean
    faults: tuple[str, ...]
    member_options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of a schedule: `number` names its place, so that the same schedule without some others is the same."""

    number: int
    at: float  # seconds after the beginning of the faults
    name: str
    seconds: float  # until it is healed


@dataclass(frozen=True, slots=True)
class Script:
    """A run that is written down instead of drawn."""

    swarm: Swarm
    schedule: tuple[Planned, ...]


def draw_swarm(random: Random, *, members: int = 0, faults: tuple[str, ...] | None = None) -> Swarm:
    """Draw a configuration; `members` and `faults` can be given."""
    drawn = tuple(name for name in FAULT_NAMES if random.random() < FAULT_SHARE)
    return Swarm(
        members=members or random.choice((3, 3, 3, 5)),
        clients=random.choice((2, 4, 8)),
        watchers=random.choice((0, 2, 6)),
        holders=random.choice((0, 2, 4)),
        transactors=random.choice((0, 2, 4)),
        keys=random.choice((1, 3, 8)),
        pause_seconds=random.choice((0.05, 0.2, 1.0)),
        interval_seconds=random.choice((0.5, 2.0, 6.0)),
        fault_seconds=random.choice((0.3, 1.5, 5.0)),
        faults=drawn if faults is None else faults,
        member_options=draw_member_options(random),
    )


def draw_member_options(random: Random) -> dict[str, object]:
    """How one member is configured; members may differ."""
    snapshot_count = random.choice((20, 100, 1000))
    return {
        "snapshot_count": snapshot_count,
        "snapshot_catchup_entries": snapshot_count // 4,
        "backend_batch_interval_milliseconds": random.choice((100, 500, 2000)),
    }


def draw_schedule(random: Random, swarm: Swarm, seconds: float) -> tuple[Planned, ...]:
    """All that goes wrong in so many seconds."""
    found: list[Planned] = []
    now = random.expovariate(1 / swarm.interval_seconds)
    while now < seconds and swarm.faults:
        fault_seconds = random.expovariate(1 / swarm.fault_seconds)
        found.append(Planned(len(found) + 1, round(now, 6), random.choice(swarm.faults), round(fault_seconds, 6)))
        now += random.expovariate(1 / swarm.interval_seconds)
    return tuple(found)
