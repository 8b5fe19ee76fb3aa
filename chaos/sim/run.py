"""One seed -> Report. Many seeds: one after another, or on several processes; the same reports in the same order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, astuple, dataclass, field
from functools import partial

from chaos.checkers import CHECKERS, judge_history, lease, watch
from chaos.history import History, Outcome
from chaos.sim.faults.clocks import FASTEST_CLOCK
from chaos.sim.store import BROKEN, StoreWorld
from chaos.sim.workloads.transact import SCOPES

__all__ = ["Options", "Report", "play", "simulate", "simulate_many"]

TELLING_SECONDS = 0.05  # from the end of a lease until a member tells of it
WORST_RECOVERY_SECONDS = 10.0  # ten election time-outs at the default timing


@dataclass(frozen=True, slots=True)
class Options:
    """What a seed is played with. `faults` None: the seed draws them; members 0: the same."""

    seconds: float = 60.0
    members: int = 0
    faults: tuple[str, ...] | None = None
    only: tuple[int, ...] | None = None  # numbers of the schedule; None: all


@dataclass(frozen=True, slots=True)
class Report:
    """All of it is decided by seed and options. `violations` by checker; empty lists are promises kept."""

    seed: int
    trace: str
    steps: int
    virtual_seconds: float
    members: int
    operations: dict[str, int]
    counts: dict[str, int]
    boundaries: dict[str, int]
    deaths: dict[str, int]
    recovery_seconds: list[float]
    schedule: list[tuple[int, float, str, float]]  # number, begin, name and length of each fault
    violations: dict[str, list[str]]
    is_live: bool
    last_lines: list[str] = field(repr=False)

    @property
    def is_safe(self) -> bool:
        return not any(self.violations.values())

    @property
    def broken(self) -> frozenset[str]:
        """The names of the promises that were not kept."""
        names = [name for name, found in self.violations.items() if found]
        return frozenset(names if self.is_live else [*names, "liveness"])

    def document(self) -> dict[str, object]:
        """For `--output json`; the last lines only where something broke."""
        document = asdict(self)
        if self.is_safe and self.is_live:
            del document["last_lines"]
        return document


def simulate(seed: int, options: Options, show: Callable[[str], None] | None = None) -> Report:
    """Play one seed and judge it. `show` gets each line of the trace."""
    return play(StoreWorld(
        seed, options.seconds, members=options.members, faults=options.faults, only=options.only, show=show
    ))


def play(world: StoreWorld) -> Report:
    """Play a world to its end, and judge it."""
    violations: dict[str, list[str]] = {"invariants": []}
    try:
        world.run()
    except BROKEN as broken:
        violations["invariants"].append(f"{type(broken).__name__}: {broken}")
    else:
        log = world.log("register/")
        violations |= {name: check(world.history, log) for name, check in CHECKERS.items()}
        violations |= _of_transactions(world)
        violations["watch"] = watch.check(world.streams, world.events(), world.compacted)
        fastest = FASTEST_CLOCK if "clock rate" in world.swarm.faults else 1.0
        violations["lease"] = lease.check(world.leases.values(), fastest=fastest, slack_seconds=TELLING_SECONDS)
        violations["replicas"] = list(differing_replicas(world))
    seconds = () if world.recovery is None else world.recovery.seconds
    recovered = [second for second in seconds if second is not None]
    counts = {outcome.value: 0 for outcome in Outcome}
    for outcome in (*(each.outcome for each in world.history), *(each.outcome for each in world.transactions)):
        counts[outcome.value] += 1
    return Report(
        seed=world.seed,
        trace=world.trace.digest(),
        steps=world.heap.steps,
        virtual_seconds=world.heap.now,
        members=len(world.hosts),
        operations=counts,
        counts=dict(sorted(world.trace.counts.items())),
        boundaries=dict(sorted(world.boundaries_seen.items())),
        deaths=dict(sorted(world.boundaries_died.items())),
        recovery_seconds=recovered,
        schedule=[astuple(planned) for planned in world.nemesis.schedule],
        violations=violations,
        is_live=bool(recovered) and len(recovered) == len(seconds) and max(recovered) <= WORST_RECOVERY_SECONDS,
        last_lines=list(world.trace.lines),
    )


def _of_transactions(world: StoreWorld) -> dict[str, list[str]]:
    history = History(transactions=world.transactions, log=world.log("txn/", "set/"), scopes=list(SCOPES))
    return {f"transactions: {name}": found for name, found in judge_history(history).safety.items()}


def differing_replicas(world: StoreWorld) -> Iterator[str]:
    """After everything is healed and quiet all members hold the same."""
    seen = {}
    for host in world.hosts:
        if host.process is None:
            yield f"{host.name} does not run"
            continue
        machine = host.process.state.machine
        seen[host.name] = (machine.revision, machine.hash_key_values(machine.revision))
    if len(set(seen.values())) > 1:
        yield f"revision and hash differ: {seen}"


def simulate_many(seeds: Iterable[int], options: Options, jobs: int) -> Iterator[Report]:
    """The reports in the order of the seeds; `jobs` processes at a time."""
    play = partial(_quietly, options)
    if jobs == 1:
        yield from map(play, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(play, seeds)


def _quietly(options: Options, seed: int) -> Report:
    """The members' own log lines are for one seed that somebody looks at."""
    logging.disable(logging.CRITICAL)
    try:
        return simulate(seed, options)
    finally:
        logging.disable(logging.NOTSET)


