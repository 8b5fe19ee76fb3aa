"""Banks, lists, sets, queues, locks, replicas, recovery: what is right passes, and each lie has its name."""

from dataclasses import replace

import pytest

from chaos.checkers import append, bank, judge_history, lock, queue, recovery, replicas, sets
from chaos.checkers.violation import Violation
from chaos.history import History, Logged, Outcome
from chaos.observed import Episode, Hold, Replica, Scope
from chaos.transactions import Answer, Guard, KeyValue, Step, Transaction

UNKNOWN, FAILED = Outcome.UNKNOWN, Outcome.FAILED


def put(called: float, key: str, value: str = "", outcome: Outcome = Outcome.OK, revision: int = 0) -> Transaction:
    step = Step("put", key, value)
    return Transaction(0, called, called + 1, outcome, (step,), answers=(Answer(),), revision=revision)


def read(called: float, prefix: str, **found: str) -> Transaction:
    """Everything under a prefix that ends in a slash."""
    pairs = tuple(KeyValue(prefix + name, value) for name, value in found.items())
    step = Step("range", prefix, end_key=prefix[:-1] + "0")
    return Transaction(1, called, called + 1, Outcome.OK, (step,), answers=(Answer(pairs, len(pairs)),))


def read_one(called: float, key: str, value: str | None) -> Transaction:
    pairs = () if value is None else (KeyValue(key, value),)
    return Transaction(1, called, called + 1, Outcome.OK, (Step("range", key),), answers=(Answer(pairs),))


def take(called: float, key: str, count: int = 1, outcome: Outcome = Outcome.OK) -> Transaction:
    return Transaction(2, called, called + 1, outcome, (Step("delete", key),), answers=(Answer((), count),))


def names(found: list[Violation]) -> list[str]:
    return [violation.text.split(":")[0] for violation in found]


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (read(0, "bank/", a="70#1.1", b="30#2.1"), []),
        (read(0, "bank/", a="70#1.1", b="20#2.1"), ["SUM"]),
        (read(0, "bank/", a="110#1.1", b="-10#2.1"), ["DEBT"]),
        (read_one(0, "bank/a", "70#1.1"), []),
        (replace(read(0, "bank/"), outcome=UNKNOWN, answers=()), []),
    ],
)
def test_a_bank_has_one_sum(reading: Transaction, expected: list[str]) -> None:
    assert names(bank.check([reading], Scope("bank", "bank/", 100))) == expected


A, AB = put(0, "list/x", "a"), put(2, "list/x", "a,b")


@pytest.mark.parametrize(
    ("transactions", "expected"),
    [
        ([A, AB, read_one(4, "list/x", "a,b")], []),
        ([A, AB, read_one(1.5, "list/x", "a"), read_one(4, "list/x", "a,b")], []),
        ([A, AB, read_one(4, "list/x", "a,b"), read_one(6, "list/x", "a")], ["STALE"]),
        ([A, AB, read_one(4, "list/x", "a")], ["STALE"]),
        ([A, AB, read_one(4, "list/x", None)], ["STALE"]),
        ([A, AB, read_one(2, "list/x", "b"), read_one(2.1, "list/x", "a,b")], ["FORK"]),
        ([A, replace(AB, outcome=UNKNOWN), read_one(4, "list/x", "a"), read_one(9, "list/x", "a,b")], []),
        ([A, replace(AB, outcome=FAILED), read_one(4, "list/x", "a,b")], ["PHANTOM"]),
        ([A, AB, read_one(4, "list/x", "a,b,dream")], ["PHANTOM"]),
        ([A, AB, read_one(4, "list/x", "a,b,a")], ["TWICE"]),
    ],
)
def test_lists_only_grow(transactions: list[Transaction], expected: list[str]) -> None:
    assert names(append.check(transactions, Scope("append", "list/"))) == expected


@pytest.mark.parametrize(
    ("transactions", "expected"),
    [
        ([put(0, "set/a"), read(2, "set/", a="")], []),
        ([put(0, "set/a"), read(0.5, "set/")], []),
        ([put(0, "set/a"), read(2, "set/")], ["MISSING"]),
        ([put(0, "set/a", outcome=UNKNOWN), read(2, "set/"), read(4, "set/", a="")], []),
        ([put(0, "set/a", outcome=UNKNOWN), read(2, "set/", a=""), read(4, "set/")], ["MISSING"]),
        ([put(0, "set/a", outcome=FAILED), read(2, "set/", a="")], ["PHANTOM"]),
        ([read(2, "set/", dream="")], ["PHANTOM"]),
    ],
)
def test_a_set_keeps_what_was_added(transactions: list[Transaction], expected: list[str]) -> None:
    assert names(sets.check(transactions, Scope("set", "set/"))) == expected


@pytest.mark.parametrize(
    ("transactions", "expected"),
    [
        ([put(0, "q/1"), take(2, "q/1")], []),
        ([put(0, "q/1"), take(2, "q/1"), take(4, "q/1", count=0)], []),
        ([put(0, "q/1"), take(2, "q/1"), take(4, "q/1")], ["TWICE"]),
        ([take(2, "q/1")], ["PHANTOM"]),
        ([put(0, "q/1", outcome=FAILED), take(2, "q/1")], ["PHANTOM"]),
        ([put(0, "q/1", outcome=UNKNOWN), take(2, "q/1")], []),
        ([put(5, "q/1"), take(2, "q/1")], ["EARLY"]),
        ([put(0, "q/1")], ["LOST"]),
        ([put(0, "q/1"), take(2, "q/1", outcome=UNKNOWN)], []),
        ([put(0, "q/1", outcome=UNKNOWN)], []),
    ],
)
def test_an_item_of_a_queue_is_taken_once(transactions: list[Transaction], expected: list[str]) -> None:
    assert names(queue.check(transactions, Scope("queue", "q/", is_drained=True))) == expected


FIRST = Hold(1, "lock/", "lock/1", 2, 0.0, 1.0, None, revision=2)
SECOND = Hold(2, "lock/", "lock/2", 3, 0.0, 5.0, None, revision=4)
LOCKS = [Logged(2, "lock/1", ""), Logged(3, "lock/2", ""), Logged(4, "lock/1", None)]


def fenced(hold: Hold, revision: int) -> Transaction:
    guard = Guard(hold.key, "create", "=", hold.create_revision)
    return replace(put(revision, "data", str(revision), revision=revision), guards=(guard,))


@pytest.mark.parametrize(
    ("holds", "writes", "expected"),
    [
        ([FIRST, SECOND], [fenced(FIRST, 10), fenced(FIRST, 11), fenced(SECOND, 12)], []),
        ([FIRST, SECOND], [fenced(FIRST, 10), fenced(SECOND, 11), fenced(FIRST, 12)], ["FENCE"]),
        ([FIRST, replace(SECOND, revision=3)], [], ["NOT FIRST"]),
        ([replace(FIRST, revision=5)], [], ["GONE"]),
        ([FIRST, replace(FIRST, client=2)], [], ["TOKEN"]),
    ],
)
def test_a_lock_has_one_holder_at_a_time(holds: list[Hold], writes: list[Transaction], expected: list[str]) -> None:
    assert names(lock.check(holds, writes, LOCKS)) == expected


def test_a_hold_that_was_believed_too_long_is_no_violation_while_its_writes_are_refused() -> None:
    late = replace(fenced(FIRST, 12), succeeded=False, then=(Step("put", "data", "x"),))
    assert lock.check([replace(FIRST, released=99.0), SECOND], [fenced(SECOND, 11), late], LOCKS) == []


def test_members_that_differ_are_named() -> None:
    same = [Replica("s1", 9, 7), Replica("s2", 9, 7), Replica("s3", 8, 1)]
    assert replicas.check(same) == []
    assert replicas.check([*same, Replica("s3", 9, 8)]) == [
        "DIFFERENT: at revision 9 s1 has hash 7 and s3 8",
    ]
    assert replicas.check([*same, Replica("s3", 9, 8, compact_revision=4)]) == []


def test_a_slow_recovery_is_a_matter_of_liveness() -> None:
    quick, slow = Episode("kill", ("s1",), 1, 2, 2.5), Episode("pause", (), 5, 6, 60)
    assert recovery.check([quick, Episode("kill", ("s1",), 1, 2)], limit_seconds=1) == []
    verdicts = judge_history(History(episodes=[quick, slow]))
    assert (verdicts.is_safe, verdicts.is_live, len(verdicts.liveness["recovery"])) == (True, False, 1)
    assert recovery.times([slow, quick]) == [0.5, 54]


def test_each_checker_runs_where_it_has_something_to_look_at() -> None:
    assert judge_history(History()).safety == {}
    history = History(
        transactions=[put(0, "q/1", "v", revision=2), take(2, "q/1")],
        log=[Logged(2, "q/1", "v")],
        scopes=[Scope("queue", "q/")],
        holds=[FIRST],
        replicas=[Replica("s1", 2, 3)],
    )
    assert list(judge_history(history).safety) == ["serial", "cycles", "queue", "lock", "replicas"]
