"""Run a workload while faults come and go, then compare what clients were told with what the store kept."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from chaos.checkers import CHECKERS
from chaos.faults import FAULTS, Fault
from chaos.history import Logged, Operation, Outcome
from chaos.target import Target
from chaos.workloads import WORKLOADS
from chaos.workloads.register import PREFIX
from kvstore.client import Client, EtcdError, prefix_end

RECOVERY_LIMIT_SECONDS = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """A run: which faults, which workload, how long (seconds), how many clients, and the seed of every choice."""

    faults: tuple[str, ...]
    workload: str
    seconds: float
    clients: int
    seed: int
    fault_seconds: tuple[float, float] = (0.5, 4.0)
    calm_seconds: tuple[float, float] = (1.0, 3.0)


@dataclass(slots=True)
class Report:
    """What happened and what is wrong with it. `violations` by checker; `recoveries` in seconds after each heal."""

    operations: list[Operation] = field(default_factory=list)
    log: list[Logged] = field(default_factory=list)
    injected: dict[str, int] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)

    def count(self, outcome: Outcome) -> int:
        return sum(operation.outcome is outcome for operation in self.operations)

    @property
    def is_safe(self) -> bool:
        return not any(self.violations.values())


async def run(target: Target, options: Options, say: Say) -> Report:
    """Return the report of one run; a store that does not recover in RECOVERY_LIMIT_SECONDS raises TimeoutError."""
    loop = asyncio.get_running_loop()
    random = Random(options.seed)
    report = Report()
    ends = loop.time() + options.seconds
    workload = WORKLOADS[options.workload]
    clients = [
        workload(target.endpoints, number, Random(random.random()), lambda: loop.time() < ends, report.operations)
        for number in range(options.clients)
    ]
    faults = [FAULTS[name]() for name in options.faults]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(as_coroutine(client))
        group.create_task(disturb(target, faults, options, random, ends, report, say))
    report.injected = {fault.name: fault.injected for fault in faults}
    report.log = await read_log(target.endpoints)
    report.violations = {name: check(report.operations, report.log) for name, check in CHECKERS.items()}
    return report


async def as_coroutine(work: object) -> None:
    await work  # type: ignore[misc]


async def disturb(
    target: Target, faults: Sequence[Fault], options: Options, random: Random, ends: float, report: Report, say: Say
) -> None:
    """Inject one fault after another, heal each, and wait until the store serves again."""
    loop = asyncio.get_running_loop()
    while faults:
        await asyncio.sleep(random.uniform(*options.calm_seconds))
        if loop.time() >= ends:
            return
        fault = random.choice(faults)
        victims = await fault.inject(target, random)
        say(f"{fault.name}: {victims} ({len(report.operations)} operations so far)")
        await asyncio.sleep(random.uniform(*options.fault_seconds))
        await fault.heal(target)
        healed = loop.time()
        await serve_again(target.endpoints)
        report.recoveries.append(loop.time() - healed)


async def serve_again(endpoints: Sequence[str]) -> None:
    """Return when a write succeeds."""
    async with asyncio.timeout(RECOVERY_LIMIT_SECONDS):
        while True:
            async with Client(endpoints) as client:
                try:
                    await client.put(b"chaos/alive", b"")
                except EtcdError:
                    await asyncio.sleep(0.05)
                else:
                    return


async def read_log(endpoints: Sequence[str]) -> list[Logged]:
    """Return every write to the workload's keys since revision 1, in order, as a watch tells it."""
    prefix = PREFIX.encode()
    log: list[Logged] = []
    async with Client(endpoints) as client:
        last = (await client.range(prefix)).header.revision
        mark = await client.put(b"chaos/end", b"")
        assert mark.header.revision > last
        watch = client.watch(b"chaos/", prefix_end(b"chaos/"), start_revision=1)
        async with asyncio.timeout(RECOVERY_LIMIT_SECONDS):
            async for batch in watch:
                for event in batch.events:
                    if event.kv.key.startswith(prefix):
                        log.append(Logged(event.kv.mod_revision, event.kv.key.decode(), event.kv.value.decode()))
                if batch.events and batch.events[-1].kv.mod_revision >= mark.header.revision:
                    break
        watch.cancel()
    return log
