"""A wrong history shrinks to what shows it, and stays wrong for the same reason."""

from random import Random

import pytest

from chaos.checkers.cycles import cycles
from chaos.checkers.shrink import ddmin, smallest_of_register, smallest_of_transactions
from chaos.checkers.wgl import Verdict, linearizable
from chaos.history import Operation, Outcome
from tests.chaos.test_cycles import transact
from tests.chaos.test_wgl import random_registers


def test_ddmin_finds_the_two_that_matter() -> None:
    assert ddmin(range(100), lambda part: 17 in part and 80 in part) == [17, 80]


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_a_stale_read_among_hundreds_shrinks_to_a_handful(seed: int) -> None:
    operations = random_registers(Random(seed), 300, 3)
    first = next(each for each in operations[20:] if each.kind == "put" and each.outcome is Outcome.OK)
    stale = Operation(9, "get", "k", first.value, 250.0, 250.5, Outcome.OK, first.revision, first.mod_revision)
    wrong = [*operations, stale]
    assert linearizable(wrong) is Verdict.WRONG
    window = smallest_of_register(wrong)
    assert stale in window
    assert len(window) <= 5
    assert linearizable(window) is Verdict.WRONG


def test_a_right_history_is_left_alone() -> None:
    operations = random_registers(Random(1), 30, 3)
    assert smallest_of_register(operations) == operations


def test_a_circle_among_transactions_shrinks_to_itself() -> None:
    good = [transact(100 + 20 * number, f"z:{number}", 10 + number) for number in range(30)]
    bad = [transact(0, "x@0 y:1", 2), transact(0, "y@0 x:1", 3)]
    transactions = [*good, *bad]
    (violation,) = cycles(transactions)
    assert smallest_of_transactions(transactions, [], (*violation.involved, 3, 4)) == [30, 31]
