"""A million transactions of fifty clients are judged in half a minute of processor time."""

import gc
import time
from random import Random

import pytest

from chaos.checkers.serial import judge
from chaos.history import Logged, Outcome
from chaos.transactions import Answer, Guard, KeyValue, Step, Transaction

ABSENT = KeyValue("", None, 0, 0, 0)


def many_transactions(count: int, clients: int, keys: int, seed: int) -> tuple[list[Transaction], list[Logged]]:
    """Return transactions on three keys each: two fifths guarded, a third of them reads; 5 in 1000 of unknown outcome."""
    random = Random(seed)
    names = [f"k{number}" for number in range(keys)]
    latest: dict[str, KeyValue] = {}
    log: list[Logged] = []
    found = []
    revision = 1
    for number in range(count):
        moment = number / clients
        chosen = random.sample(names, 3)
        pairs = [latest.get(name, ABSENT) for name in chosen]
        guards = (Guard(chosen[0], "mod", "=", pairs[0].mod_revision),) if random.random() < 0.4 else ()
        read = Answer((pairs[0],), 1) if pairs[0].key else Answer((), 0)
        if random.random() < 0.33:
            more = Answer((pairs[1],), 1) if pairs[1].key else Answer((), 0)
            steps, answers = (Step("range", chosen[0]), Step("range", chosen[1])), (read, more)
        else:
            revision += 1
            steps, answers = (Step("range", chosen[0]),), (read,)
            for place in (1, 2):
                before, value = pairs[place], f"{number}.{place}"
                created = before.create_revision or revision
                latest[chosen[place]] = KeyValue(chosen[place], value, revision, created, before.version + 1, 0)
                log.append(Logged(revision, chosen[place], value))
                steps, answers = (*steps, Step("put", chosen[place], value)), (*answers, Answer())
        is_lost = random.random() < 0.005
        found.append(Transaction(
            number % clients, moment - random.random(), moment + random.random(),
            Outcome.UNKNOWN if is_lost else Outcome.OK, steps, (), guards, None if is_lost else True,
            () if is_lost else answers, 0 if is_lost else revision,
        ))  # fmt: skip
    return found, log


@pytest.mark.slow
def test_a_million_transactions_in_thirty_seconds_of_processor_time() -> None:
    gc.disable()
    try:
        transactions, log = many_transactions(1_000_000, 50, 1000, 1)
        before = time.process_time()
        judgement = judge(transactions, log, is_whole=True)
        seconds = time.process_time() - before
    finally:
        gc.enable()
    assert judgement.violations == []
    assert len(judgement.order) + len(judgement.dropped) == 1_000_000
    print(f"1,000,000 transactions, {len(log):,} writes: {seconds:.1f} s of processor time")
    assert seconds < 30


def test_the_time_grows_with_the_length_and_not_faster() -> None:
    seconds = []
    for count in (5_000, 40_000):
        transactions, log = many_transactions(count, 50, 1000, 2)
        before = time.process_time()
        assert judge(transactions, log, is_whole=True).violations == []
        seconds.append(time.process_time() - before)
    assert seconds[1] < 8 * 3 * seconds[0]
