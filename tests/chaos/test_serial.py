"""Strict serializability guided by revisions: right histories pass with a witness, each lie is caught, brute force agrees."""

from dataclasses import replace
from random import Random

import pytest

from chaos.checkers.serial import judge
from chaos.history import Logged, Outcome
from chaos.transactions import Answer, Guard, KeyValue, Step, Transaction
from tests.chaos.little_store import LittleStore, lie, random_history, some_order_is_right


def texts(transactions: list[Transaction], log: list[Logged], *, is_whole: bool = True) -> list[str]:
    return [violation.text for violation in judge(transactions, log, is_whole=is_whole).violations]


def agree(seed: int) -> None:
    random = Random(seed)
    transactions, log = random_history(random, random.randint(1, 6))
    if random.random() < 0.7:
        lie(random, transactions, log)
    found = texts(transactions, log)
    assert some_order_is_right(transactions, log) == (not found), (seed, found)


def test_brute_force_agrees_on_small_histories() -> None:
    for seed in range(2_000):
        agree(seed)


@pytest.mark.slow
def test_brute_force_agrees_on_a_hundred_thousand_small_histories() -> None:
    for seed in range(2_000, 100_000):
        agree(seed)


@pytest.mark.parametrize("seed", range(20))
def test_a_pass_has_a_witness_that_a_dumb_store_replays(seed: int) -> None:
    transactions, log = random_history(Random(seed), 300, spread=20)
    judgement = judge(transactions, log, is_whole=True)
    assert not judgement.violations
    store = LittleStore()
    latest_call = float("-inf")
    for index in judgement.order:
        each = transactions[index]
        # Nobody stands behind who was called only when it had already returned.
        assert each.outcome is Outcome.UNKNOWN or each.returned >= latest_call
        latest_call = max(latest_call, each.called)
        done = store.transact(each)
        assert each.outcome is Outcome.UNKNOWN or done == each
    assert store.log == log
    assert sorted(judgement.order + judgement.dropped) == [
        index for index, each in enumerate(transactions) if each.outcome is not Outcome.FAILED
    ]


def put(value: str, revision: int, called: float, key: str = "k", outcome: Outcome = Outcome.OK) -> Transaction:
    step = Step("put", key, value)
    return Transaction(0, called, called + 1, outcome, (step,), answers=(Answer(),), revision=revision)


def get(value: str | None, mod: int, revision: int, called: float, key: str = "k") -> Transaction:
    pairs = () if value is None else (KeyValue(key, value, mod),)
    step = Step("range", key)
    return Transaction(
        1, called, called + 1, Outcome.OK, (step,), answers=(Answer(pairs, len(pairs)),), revision=revision
    )


A, B = Logged(2, "k", "a"), Logged(3, "k", "b")


@pytest.mark.parametrize(
    ("transactions", "log", "word"),
    [
        ([put("a", 2, 0)], [], "LOST"),
        ([], [A], "PHANTOM"),
        ([put("a", 2, 0, outcome=Outcome.FAILED)], [A], "REFUSED"),
        ([put("a", 2, 0), put("b", 2, 0)], [A], "DUPLICATE"),
        ([put("a", 2, 0)], [A, replace(A, revision=3)], "PHANTOM"),
        ([put("a", 2, 0), put("b", 4, 2)], [A, replace(B, revision=4)], "GAP"),
        ([put("a", 3, 0), put("b", 2, 0)], [replace(A, revision=3), replace(B, revision=2)], "ORDER"),
        ([put("a", 2, 0), put("b", 3, 2), get("a", 2, 2, 5)], [A, B], "STALE"),
        ([put("a", 3, 0), put("b", 2, 2)], [Logged(2, "k", "b"), Logged(3, "k", "a")], "STALE"),
        ([put("a", 2, 0), get("dream", 2, 2, 2)], [A], "WRONG ANSWER"),
        ([put("a", 2, 0), get(None, 0, 2, 2)], [A], "WRONG ANSWER"),
        ([put("a", 2, 0)], [replace(A, value="x")], "OTHER WRITE"),
        ([put("a", 2, 0), replace(put("b", 3, 2), guards=(Guard("k", "version", "=", 0),))], [A, B], "BROKEN GUARD"),
    ],
)
def test_each_lie_has_its_name(transactions: list[Transaction], log: list[Logged], word: str) -> None:
    assert any(text.startswith(word) for text in texts(transactions, log))


def test_a_serializable_read_may_be_old_but_not_wrong() -> None:
    old = replace(get("a", 2, 2, 5), is_serializable=True)
    writes = [put("a", 2, 0), put("b", 3, 2)]
    assert not texts([*writes, old], [A, B])
    assert texts([*writes, replace(old, revision=3)], [A, B])


def test_a_read_of_a_past_revision_sees_the_past() -> None:
    past = replace(get("a", 2, 3, 5), then=(Step("range", "k", revision=2),))
    writes = [put("a", 2, 0), put("b", 3, 2)]
    assert not texts([*writes, past], [A, B])
    assert texts([*writes, replace(past, then=(Step("range", "k", revision=3),))], [A, B])


def test_the_end_of_a_lease_deletes_without_a_writer() -> None:
    leased = replace(put("a", 2, 0), then=(Step("put", "k", "a", lease=9),))
    assert not texts([leased], [A, Logged(3, "k", None)])
    assert texts([put("a", 2, 0)], [A, Logged(3, "k", None)])


def test_deletes_that_do_not_tell_their_count_are_told_apart_by_the_log() -> None:
    delete = Transaction(2, 2, 3, Outcome.OK, (Step("delete", "k"),), answers=(Answer(),), revision=3)
    later = replace(delete, called=4, returned=5)
    assert not texts([put("a", 2, 0), delete, later], [A, Logged(3, "k", None)])
    assert any("UNDELETED" in text for text in texts([put("a", 2, 0), replace(delete, revision=2)], [A]))


# False alarms that others have had (reference, 4.5).


def test_a_write_of_the_same_value_is_still_a_write() -> None:
    same = [put("a", 2, 0), put("a", 3, 2), get("a", 3, 3, 4)]
    assert not texts(same, [A, replace(A, revision=3)])


def test_what_was_still_under_way_at_the_end_explains_what_was_read() -> None:
    under_way = replace(put("a", 0, 0, outcome=Outcome.UNKNOWN), returned=99.0, answers=(), succeeded=None)
    assert not texts([under_way, get("a", 2, 2, 1)], [A])
    assert texts([get("a", 2, 2, 1)], [A])


def test_a_log_of_some_keys_only_has_gaps_that_are_no_losses() -> None:
    assert not texts([put("a", 2, 0), put("b", 9, 2)], [A, replace(B, revision=9)], is_whole=False)
