"""Crash at every effect boundary: a written run, once for each boundary of each member, with a death there.

    sweep(seed) and one_of_each(seed) yield runs, `Coverage` sums them up

The run has clients, compactions, segments that begin and end, a member that is replaced and gets a snapshot, and a disk
that is full for a while: so that every name of a boundary is passed. What was passed is where there is to die.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos.sim.run import Report, play
from chaos.sim.store import StoreWorld
from chaos.sim.swarm import Planned, Script, Swarm

__all__ = ["SCRIPT", "Coverage", "Sweep", "one_of_each", "passed", "sweep"]

SECONDS = 5.0
_OPTIONS: dict[str, object] = {
    "snapshot_count": 8, "snapshot_catchup_entries": 2, "backend_batch_interval_milliseconds": 500,
}
SCRIPT = Script(
    Swarm(
        members=3, clients=2, watchers=1, holders=0, transactors=1, keys=2, pause_seconds=0.2,
        interval_seconds=1.0, fault_seconds=1.0, faults=(), member_options=_OPTIONS,
    ),
    (
        Planned(1, 0.5, "compaction", 0.1), Planned(2, 1.0, "isolate", 1.5), Planned(3, 1.2, "full disk", 0.4),
        Planned(4, 2.8, "replacement", 0.1), Planned(5, 3.5, "stop", 0.3), Planned(6, 4.2, "leader transfer", 0.1),
    ),
)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One run in which the `boundary`-th boundary of `member` was its death."""

    member: int  # from 0
    boundary: int  # from 1
    report: Report


@dataclass(slots=True)
class Coverage:
    """Deaths by name of the boundary, the names that were passed, and the runs that broke a promise."""

    passed: Counter[str] = field(default_factory=Counter)
    died: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    broken: list[Sweep] = field(default_factory=list)

    def add(self, run: Sweep) -> None:
        """Count one."""
        self.runs += 1
        self.passed.update(run.report.boundaries)
        self.died.update(run.report.deaths)
        if run.report.broken:
            self.broken.append(run)

    @property
    def never_died_at(self) -> list[str]:
        """Names that were passed, and never were a death."""
        return sorted(self.passed.keys() - self.died.keys())


def _world(seed: int) -> StoreWorld:
    return StoreWorld(seed, SECONDS, script=SCRIPT)


def passed(seed: int) -> list[int]:
    """How many boundaries each member passes when nobody dies."""
    world = _world(seed)
    play(world)
    return [host.boundaries.count for host in world.hosts]


def sweep(seed: int, *, stride: int = 1) -> Iterator[Sweep]:
    """Every `stride`-th boundary of every member."""
    for member, count in enumerate(passed(seed)):
        for boundary in range(1, count + 1, stride):
            yield _die(seed, member, boundary)


def one_of_each(seed: int) -> Iterator[Sweep]:
    """One death at each kind of boundary: where a member first passes it."""
    world, seen = _world(seed), set[str]()
    play(world)
    for member, host in enumerate(world.hosts):
        for name in sorted(host.boundaries.first.keys() - seen):
            seen.add(name)
            yield _die(seed, member, host.boundaries.first[name])


def _die(seed: int, member: int, boundary: int) -> Sweep:
    world = _world(seed)
    world.hosts[member].boundaries.arm(boundary)
    return Sweep(member, boundary, play(world))
