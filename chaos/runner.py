"""Run workloads while faults come and go, then judge what clients were told by what the store did."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from chaos.checkers import Verdicts, judge_history
from chaos.faults import FAULTS, Fault
from chaos.historian import Historian
from chaos.history import History, Outcome
from chaos.observed import Episode, Led, Replica
from chaos.target import Target
from chaos.workloads import WORKLOADS, Bench
from chaos.workloads.session import Recorder
from kvstore.client import EtcdError
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError

__all__ = ["Options", "Report", "run"]

RECOVERY_LIMIT_SECONDS = 30.0
ALIVE = b"chaos/alive"
WATCHMAN = -1  # the number of who asks whether the store is back
LOOK_SECONDS = 0.5  # between two questions who leads
LAST_LEASES_SECONDS = 12.0  # the longest lease, a change of leader, and some
FASTEST_CLOCK = 2.0  # of the fault clock-rate
LEASE_SLACK_SECONDS = 0.25

Say = Callable[[str], None]
_marks = count()


@dataclass(frozen=True, slots=True)
class Options:
    """A run: which faults, which workloads, how long (seconds), how many clients of each, and the seed of every choice.

    overlap   how many faults may be there at once
    """

    faults: tuple[str, ...]
    workloads: tuple[str, ...]
    seconds: float
    clients: int
    seed: int
    overlap: int = 2
    fault_seconds: tuple[float, float] = (0.5, 4.0)
    calm_seconds: tuple[float, float] = (0.5, 2.0)


@dataclass(slots=True)
class Report:
    """What happened and what is wrong with it. `effects`, `injected` by fault; `recoveries` in seconds after each heal."""

    history: History = field(default_factory=History)
    injected: dict[str, int] = field(default_factory=dict)
    effects: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)  # members that ended without a fault to blame
    verdicts: Verdicts = field(default_factory=Verdicts)

    def count(self, outcome: Outcome) -> int:
        plain = sum(operation.outcome is outcome for operation in self.history.operations)
        return plain + sum(transaction.outcome is outcome for transaction in self.history.transactions)

    @property
    def operations(self) -> int:
        return len(self.history.operations) + len(self.history.transactions)


async def run(target: Target, options: Options, say: Say) -> Report:
    """Return the report of one run on a target that is up; a store that does not come back raises TimeoutError."""
    loop = asyncio.get_running_loop()
    report = Report()
    report.history.about = {"seed": options.seed, "workloads": list(options.workloads), "faults": list(options.faults)}
    report.history.scopes = [WORKLOADS[name].scope for name in options.workloads]
    historian = Historian(target.direct, report.history)
    target.may_compact = lambda: historian.told
    random, ends = Random(options.seed), loop.time() + options.seconds
    faults = [FAULTS[name]() for name in options.faults]
    try:
        async with asyncio.TaskGroup() as group:
            for bench, client in _clients(target, options, random, lambda: loop.time() < ends, report.history):
                group.create_task(_as_coroutine(client(bench)))
            for _ in range(min(options.overlap, len(faults))):
                group.create_task(disturb(target, faults, options, Random(random.random()), ends, report, say))
            group.create_task(_observe(target, ends, report))
        await _settle(target, historian, report)
    finally:
        await historian.close()
    report.injected = {fault.name: fault.injected for fault in faults}
    report.effects = {fault.name: fault.effects for fault in faults}
    await asyncio.to_thread(_judge, report, historian)
    return report


def _clients(
    target: Target, options: Options, random: Random, go_on: Callable[[], bool], history: History
) -> list[tuple[Bench, Callable[[Bench], Awaitable[None]]]]:
    by_member = dict(zip(target.members, target.endpoints, strict=True))
    places = [name for name in options.workloads for _ in range(options.clients)]
    return [
        (Bench(target.endpoints, by_member, number, Random(random.random()), go_on, history), WORKLOADS[name].client)
        for number, name in enumerate(places)
    ]


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


async def disturb(
    target: Target, faults: Sequence[Fault], options: Options, random: Random, ends: float, report: Report, say: Say
) -> None:
    """Inject one fault after another, heal each, and wait until the store serves again. Several may run side by side."""
    loop = asyncio.get_running_loop()
    busy = target.busy_faults
    while True:
        await asyncio.sleep(random.uniform(*options.calm_seconds))
        if loop.time() >= ends:
            return
        idle = [fault for fault in faults if fault.name not in busy]
        if not idle:
            continue
        fault = min(idle, key=lambda one: (one.injected, random.random()))
        busy.add(fault.name)
        injected = loop.time()
        try:
            victims = await fault.inject(target, random)
        except BlockingIOError:
            busy.discard(fault.name)
            continue
        except OSError as error:  # this machine does not let us, which no look beforehand told
            report.skipped[fault.name] = str(error)
            say(f"{fault.name}: {error}")
            await fault.heal(target)
            continue  # it stays busy: it is not tried again
        except BaseException:
            await fault.heal(target)
            raise
        say(f"{fault.name}: {victims} ({report.operations} operations so far)")
        try:
            await asyncio.sleep(random.uniform(*options.fault_seconds))
        finally:
            await fault.heal(target)
            busy.discard(fault.name)
        healed = loop.time()
        await target.tend()
        recovered = None
        if not busy - report.skipped.keys():  # what still holds another fault says nothing of this one
            await serve_again(target.direct, report.history)
            recovered = loop.time()
            if not busy - report.skipped.keys():
                report.recoveries.append(recovered - healed)
            else:
                recovered = None
        report.history.episodes.append(Episode(fault.name, tuple(victims.split(", ")), injected, healed, recovered))


async def serve_again(endpoints: Sequence[str], history: History) -> None:
    """Return when a write succeeds. Raises TimeoutError with the last refusal."""
    last: EtcdError | None = None
    try:
        async with asyncio.timeout(RECOVERY_LIMIT_SECONDS):
            while True:
                async with Recorder(endpoints, WATCHMAN, history) as client:
                    try:
                        await client.put(ALIVE, str(next(_marks)).encode(), timeout_seconds=1.0)
                    except EtcdError as error:
                        last = error
                        await asyncio.sleep(0.05)
                    else:
                        return
    except TimeoutError as error:
        raise TimeoutError(f"no write for {RECOVERY_LIMIT_SECONDS} s, the last was refused: {last}") from error


async def _observe(target: Target, ends: float, report: Report) -> None:
    """Note who leads, now and then; start again who ended by himself."""
    loop = asyncio.get_running_loop()
    while loop.time() < ends:
        for name, answer in zip(target.members, await asyncio.gather(*map(target.status, target.members))):
            if answer is not None and answer[0]:
                report.history.led.append(Led(name, answer[1], loop.time()))
        await target.tend()
        await asyncio.sleep(LOOK_SECONDS)


async def _settle(target: Target, historian: Historian, report: Report) -> None:
    """All members are back, all leases have ended, all has been told, and every member tells its hash."""
    await target.tend()
    await serve_again(target.direct, report.history)
    if report.history.leases:
        await asyncio.sleep(LAST_LEASES_SECONDS)
    await historian.finish(RECOVERY_LIMIT_SECONDS)
    report.history.replicas = await _replicas(target, historian.told)
    report.ended = target.unexpected_ends


async def _replicas(target: Target, revision: int) -> list[Replica]:
    """Ask each member until it has come as far as the revision."""
    found = []
    request = rpc.HashKVRequest(revision=revision).SerializeToString()
    for name, endpoint in zip(target.members, target.direct, strict=True):
        async with asyncio.timeout(RECOVERY_LIMIT_SECONDS):
            while True:
                channel = Channel(endpoint)
                try:
                    raw = await channel.unary("/etcdserverpb.Maintenance/HashKV", request, timeout=5)
                except RpcError:
                    await asyncio.sleep(0.1)
                    continue
                finally:
                    await channel.close()
                answer = rpc.HashKVResponse.FromString(raw)
                found.append(Replica(name, revision, answer.hash, answer.compact_revision))
                break
    return found


def _judge(report: Report, historian: Historian) -> None:
    history = report.history
    history.log, history.events, history.is_whole = historian.log, historian.events, True
    history.compacted = max((replica.compact_revision for replica in history.replicas), default=0)
    for record in history.leases:
        if record.key in historian.deleted:
            record.gone = historian.deleted[record.key][1]
    if "clock-rate" in report.injected:
        history.about["fastest_clock"] = FASTEST_CLOCK
    history.about["lease_slack_seconds"] = LEASE_SLACK_SECONDS
    with contextlib.suppress(IndexError):
        if history.log[0].revision > 2:
            history.is_whole = False  # the store was not new
    report.verdicts = judge_history(history, recovery_limit_seconds=RECOVERY_LIMIT_SECONDS)
