"""Cycles between transactions: never in a right history; each anomaly has its name."""

from random import Random

import pytest

from chaos.checkers.cycles import cycles
from chaos.history import Logged, Outcome
from chaos.transactions import Answer, KeyValue, Step, Transaction
from tests.chaos.little_store import lie, random_history, some_order_is_right


def never_alarmed_for_nothing(seed: int) -> bool:
    random = Random(seed)
    transactions, log = random_history(random, random.randint(1, 6))
    lie(random, transactions, log)
    found = cycles(transactions, log)
    assert not found or not some_order_is_right(transactions, log), (seed, found)
    return bool(found)


def test_an_alarm_is_always_right() -> None:
    assert sum(map(never_alarmed_for_nothing, range(2_000))) > 50


@pytest.mark.slow
def test_an_alarm_is_right_on_a_hundred_thousand_small_histories() -> None:
    assert sum(map(never_alarmed_for_nothing, range(2_000, 100_000))) > 2_000


@pytest.mark.parametrize("seed", range(10))
def test_long_right_histories_have_none(seed: int) -> None:
    transactions, log = random_history(Random(seed), 500, spread=10)
    assert cycles(transactions, log) == []


def transact(called: float, steps: str, revision: int = 0, *, outcome: Outcome = Outcome.OK) -> Transaction:
    """`x=1@4` reads value 1 of x written at 4, `x@0` finds nothing, `x:2` puts."""
    asked, answers = [], []
    for text in steps.split():
        if ":" in text:
            key, value = text.split(":")
            asked.append(Step("put", key, value))
            answers.append(Answer())
        else:
            name, mod = text.split("@")
            key, _, value = name.partition("=")
            asked.append(Step("range", key))
            answers.append(Answer((KeyValue(key, value, int(mod)),) if int(mod) else ()))
    return Transaction(0, called, called + 10, outcome, tuple(asked), answers=tuple(answers), revision=revision)


LATER = transact(50, "x=1@2 y=2@3")


@pytest.mark.parametrize(
    ("name", "transactions", "log"),
    [
        ("G1a", [transact(0, "x:1", outcome=Outcome.FAILED), transact(0, "x=1@2")], []),
        ("G1a", [transact(0, "x=1@2")], []),
        ("G0", [transact(0, "x:1", 3), transact(50, "x:2", 2)], []),
        (
            "G0",
            [transact(0, "x:1 y:1"), transact(0, "x:2 y:2")],
            [Logged(2, "x", "1"), Logged(3, "x", "2"), Logged(4, "y", "2"), Logged(5, "y", "1")],
        ),
        ("G1c", [transact(0, "x:1 y=2@3", 2), transact(0, "y:2 x=1@2", 3)], []),
        ("G-single", [transact(0, "x:1", 2), transact(20, "x:2", 3), transact(50, "x=1@2", 3)], []),
        ("G-single", [transact(0, "x:1 y:1", 2), transact(0, "x=1@2 y@0", 1)], []),
        ("G2", [transact(0, "x@0 y:1", 2), transact(0, "y@0 x:1", 3)], []),
    ],
)
def test_each_anomaly_has_its_name(name: str, transactions: list[Transaction], log: list[Logged]) -> None:
    assert [violation.text.split(":")[0] for violation in cycles(transactions, log)] == [name]


def test_the_circle_is_shown_and_small() -> None:
    bad = [transact(0, "x:1", 2), transact(20, "x:2", 3), transact(50, "x=1@2", 3)]
    good = [transact(100 + 20 * number, f"z:{number}", 10 + number) for number in range(30)]
    (violation,) = cycles([*good, *bad])
    assert violation.involved == (31, 32)
