"""The checkers pass every history of a right store and catch each kind of lie."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.checkers import CHECKERS, durability, real_time, replay
from chaos.history import Logged, Operation, Outcome, load, save


def right_history(seed: int, count: int = 60) -> tuple[list[Operation], list[Logged]]:
    """Return a history of a linearizable store: each operation takes effect at a random point between call and return."""
    random = Random(seed)
    latest: dict[str, Logged] = {}
    log: list[Logged] = []
    operations = []
    revision = 1
    for number in range(count):
        point = float(number)
        called, returned = point - random.uniform(0, 5), point + random.uniform(0, 5)
        key = f"k{random.randrange(3)}"
        kind = random.choice(("put", "get", "cas"))
        before = latest.get(key)
        value: str | None
        if kind == "get":
            value, mod_revision = (before.value, before.revision) if before else (None, 0)
        else:
            revision += 1
            value, mod_revision = f"v{number}", revision
            latest[key] = Logged(revision, key, value)
            log.append(latest[key])
        expected = (before.revision if before else 0) if kind == "cas" else None
        lost = kind != "get" and random.random() < 0.1
        outcome = Outcome.UNKNOWN if lost else Outcome.OK
        seen = 0 if lost else revision
        operations.append(
            Operation(number % 5, kind, key, value, called, returned, outcome, seen, mod_revision, expected)
        )
    return operations, log


@given(st.integers(0, 10_000))
def test_a_right_history_passes_every_checker(seed: int) -> None:
    operations, log = right_history(seed)
    assert {name: check(operations, log) for name, check in CHECKERS.items()} == {name: [] for name in CHECKERS}


def acknowledged(operations: list[Operation], kind: str) -> int:
    return next(i for i, op in enumerate(operations) if op.kind == kind and op.outcome is Outcome.OK)


@pytest.mark.parametrize("seed", range(5))
def test_a_lost_write_is_caught(seed: int) -> None:
    operations, log = right_history(seed)
    lost = operations[acknowledged(operations, "put")]
    assert any(
        "LOST" in text for text in durability.check(operations, [item for item in log if item.value != lost.value])
    )


def test_a_write_that_happened_twice_is_caught() -> None:
    operations, log = right_history(1)
    assert durability.check(operations, [*log, replace(log[0], revision=log[-1].revision + 1)])


def test_a_refused_write_that_happened_is_caught() -> None:
    operations, log = right_history(1)
    index = acknowledged(operations, "put")
    operations[index] = replace(operations[index], outcome=Outcome.FAILED)
    assert any("refused" in text for text in durability.check(operations, log))


def test_a_stale_read_is_caught() -> None:
    early = Operation(0, "put", "k", "new", 0.0, 1.0, Outcome.OK, revision=5, mod_revision=5)
    late = Operation(1, "get", "k", "old", 2.0, 3.0, Outcome.OK, revision=4, mod_revision=4)
    assert any("STALE" in text for text in real_time.check([early, late], []))


def test_a_read_of_a_value_that_was_not_there_is_caught() -> None:
    read = Operation(1, "get", "k", "dream", 2.0, 3.0, Outcome.OK, revision=4, mod_revision=4)
    assert replay.check([read], [Logged(4, "k", "real")])


def test_a_swap_whose_guard_did_not_hold_is_caught() -> None:
    swap = Operation(1, "cas", "k", "b", 2.0, 3.0, Outcome.OK, revision=5, mod_revision=5, expected=3)
    assert replay.check([swap], [Logged(4, "k", "a"), Logged(5, "k", "b")])


def test_a_history_is_read_back_as_it_was_written(tmp_path) -> None:  # type: ignore[no-untyped-def]
    operations, log = right_history(7)
    save(tmp_path / "h", operations, log)
    assert load(tmp_path / "h") == (operations, log)
    (tmp_path / "bad").write_text("{}\nnonsense\n")
    with pytest.raises(ValueError, match=":1: not a line"):
        load(tmp_path / "bad")
