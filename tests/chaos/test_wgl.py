"""The search for an order of one key: right histories pass, wrong ones do not, and brute force agrees."""

from dataclasses import replace
from random import Random

import pytest

from chaos.checkers.wgl import Verdict, check, linearizable
from chaos.history import Operation, Outcome


def random_registers(random: Random, count: int, spread: float) -> list[Operation]:
    value: str | None = None
    revision = mod = 0
    found = []
    for number in range(count):
        kind = random.choice(("put", "get", "get", "cas", "delete"))
        called, returned = number - random.uniform(0, spread), number + random.uniform(0, spread)
        chance = random.random()
        outcome = Outcome.OK if chance > 0.15 else Outcome.UNKNOWN
        happens = chance > 0.08
        written = f"v{number}"
        expected = None
        if kind == "get":
            shown, outcome = value, Outcome.OK
            found.append(Operation(number % 4, kind, "k", shown, called, returned, outcome, revision, mod))
            continue
        if kind == "cas":
            expected = mod
        if happens:
            revision += 1
            value, mod = (None, 0) if kind == "delete" else (written, revision)
        told = revision if outcome is Outcome.OK else 0
        shown = None if kind == "delete" else written
        mod_told = 0 if kind == "delete" else told
        found.append(Operation(number % 4, kind, "k", shown, called, returned, outcome, told, mod_told, expected))
    return found


def lie(random: Random, operations: list[Operation]) -> None:
    index = random.randrange(len(operations))
    each = operations[index]
    if each.kind == "get" and random.random() < 0.7:
        other = random.choice(operations)
        operations[index] = replace(each, value=other.value, mod_revision=other.mod_revision)
    else:
        later = random.uniform(-3, 3)
        operations[index] = replace(each, called=each.called + later, returned=each.returned + later)


def some_order_is_right(operations: list[Operation]) -> bool:
    values: dict[int | None, str | None] = {
        each.mod_revision: each.value for each in operations if each.mod_revision and each.outcome is Outcome.OK
    }
    values[0] = None

    def search(state: str | None, left: list[Operation]) -> bool:
        if all(each.outcome is not Outcome.OK for each in left):
            return True
        first_return = min(each.returned for each in left if each.outcome is Outcome.OK)
        for index, each in enumerate(left):
            if each.called > first_return:
                continue
            if each.kind == "get" and each.value != state:
                continue
            if each.kind == "cas" and each.expected in values and values[each.expected] != state:
                continue
            after = state if each.kind == "get" else None if each.kind == "delete" else each.value
            if search(after, left[:index] + left[index + 1 :]):
                return True
        return False

    return search(None, [each for each in operations if each.outcome is not Outcome.FAILED])


def agree(seed: int) -> None:
    random = Random(seed)
    operations = random_registers(random, random.randint(2, 7), random.choice((1, 3)))
    if random.random() < 0.7:
        lie(random, operations)
    right = Verdict.RIGHT if some_order_is_right(operations) else Verdict.WRONG
    assert linearizable(operations) is right, seed


def test_brute_force_agrees_on_small_histories() -> None:
    for seed in range(2_000):
        agree(seed)


@pytest.mark.slow
def test_brute_force_agrees_on_a_hundred_thousand_small_histories() -> None:
    for seed in range(2_000, 100_000):
        agree(seed)


@pytest.mark.parametrize("seed", range(5))
def test_long_right_histories_pass(seed: int) -> None:
    assert check(random_registers(Random(seed), 3_000, 4)) == []


def operation(kind: str, value: str | None, called: float, outcome: Outcome = Outcome.OK) -> Operation:
    return Operation(0, kind, "k", value, called, called + 1, outcome)


def test_a_read_of_an_overwritten_value_cannot_be_ordered() -> None:
    stale = [operation("put", "a", 0), operation("put", "b", 2), operation("get", "a", 4)]
    assert check(stale) == ["NO ORDER: the 3 operations of k cannot be ordered"]


def test_a_value_may_not_come_and_go() -> None:
    unknown = operation("put", "b", 2, Outcome.UNKNOWN)
    flicker = [operation("put", "a", 0), unknown, operation("get", "b", 4), operation("get", "a", 6)]
    assert linearizable(flicker) is Verdict.WRONG
    assert linearizable(flicker[:3]) is Verdict.RIGHT
    assert linearizable([flicker[0], unknown, flicker[3]]) is Verdict.RIGHT


def test_a_search_that_is_given_up_is_no_pass() -> None:
    operations = random_registers(Random(1), 50, 4)
    assert linearizable(operations, most_steps=10) is Verdict.UNKNOWN
    assert "UNDECIDED" in check(operations, most_steps=10)[0]


def test_a_write_of_what_is_there_already_is_not_taken_for_nothing() -> None:
    twice = [operation("put", "a", 0), operation("put", "b", 2), operation("put", "a", 2.5), operation("get", "b", 9)]
    assert linearizable(twice) is Verdict.RIGHT
    assert linearizable([*twice, operation("get", "a", 11)]) is Verdict.WRONG


def test_what_was_still_under_way_explains_what_was_read() -> None:
    assert linearizable([operation("put", "a", 0, Outcome.UNKNOWN), operation("get", "a", 0.5)]) is Verdict.RIGHT
    assert linearizable([operation("get", "a", 0.5)]) is Verdict.WRONG
