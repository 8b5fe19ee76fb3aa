"""Checkers: pure functions from what was written down to what is wrong with it.

    registers   durability, replay, real_time: by revisions; wgl: by search, without them
    anything    serial: strict serializability with a witness; cycles: anomalies between transactions, without that order
    workloads   bank, append, sets, queue, lock (and elections)
    the rest    watch, lease, replicas, recovery
    shrink      the smallest part of a history that is still wrong

`CHECKERS` are those that need a register's operations and the log alone; `judge_history` runs all that apply to a history.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chaos.checkers import (
    append,
    bank,
    cycles,
    durability,
    lease,
    lock,
    queue,
    real_time,
    recovery,
    replay,
    replicas,
    serial,
    sets,
    watch,
    wgl,
)  # fmt: skip
from chaos.checkers.violation import Violation
from chaos.history import History, Logged, Operation
from chaos.transactions import of_operation

__all__ = ["CHECKERS", "Verdicts", "judge_history"]

Checker = Callable[[Sequence[Operation], Sequence[Logged]], list[str]]


def _serial(operations: Sequence[Operation], log: Sequence[Logged]) -> list[str]:
    return [violation.text for violation in serial.judge([*map(of_operation, operations)], log).violations]


CHECKERS: dict[str, Checker] = {
    "durability": durability.check,
    "replay": replay.check,
    "real-time": real_time.check,
    "serial": _serial,
    "registers": lambda operations, _: wgl.check(operations),
}

WORKLOADS = {"bank": bank.check, "append": append.check, "set": sets.check, "queue": queue.check}


@dataclass(slots=True)
class Verdicts:
    """By checker; an empty list is a promise kept, a checker that is not there had nothing to look at.

    involved   by checker and violation: positions in `History.all_transactions()`
    """

    safety: dict[str, list[str]] = field(default_factory=dict)
    liveness: dict[str, list[str]] = field(default_factory=dict)
    involved: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)

    @property
    def is_safe(self) -> bool:
        return not any(self.safety.values())

    @property
    def is_live(self) -> bool:
        return not any(self.liveness.values())

    def add(self, name: str, violations: Sequence[Violation]) -> None:
        """Note what a checker that knows transactions found."""
        self.safety.setdefault(name, []).extend(violation.text for violation in violations)
        self.involved.setdefault(name, []).extend(violation.involved for violation in violations)


def judge_history(history: History, *, recovery_limit_seconds: float = recovery.LIMIT_SECONDS) -> Verdicts:
    """Run every checker that has something to look at."""
    verdicts = Verdicts()
    if history.operations and not history.transactions:  # the plain ones take the log for the registers' alone
        verdicts.safety["durability"] = durability.check(history.operations, history.log)
        verdicts.safety["replay"] = replay.check(history.operations, history.log)
        verdicts.safety["real-time"] = real_time.check(history.operations, history.log)
    if history.operations:
        verdicts.safety["registers"] = wgl.check(history.operations)
    transactions = history.all_transactions()
    if transactions:
        verdicts.add("serial", serial.judge(transactions, history.log, is_whole=history.is_whole).violations)
        verdicts.add("cycles", cycles.cycles(transactions, history.log))
    for scope in history.scopes:
        if scope.workload in WORKLOADS:
            verdicts.add(scope.workload, WORKLOADS[scope.workload](transactions, scope))
    if history.holds:
        verdicts.add("lock", lock.check(history.holds, transactions, history.log))
    if history.streams:
        verdicts.safety["watch"] = watch.check(history.streams, history.events, history.compacted)
    if history.leases:
        fastest, slack = history.about.get("fastest_clock", 1.0), history.about.get("lease_slack_seconds", 0.0)
        verdicts.safety["lease"] = lease.check(history.leases, fastest=fastest, slack_seconds=slack)
    if history.replicas:
        verdicts.safety["replicas"] = replicas.check(history.replicas)
    if history.episodes:
        verdicts.liveness["recovery"] = recovery.check(history.episodes, limit_seconds=recovery_limit_seconds)
    return verdicts
