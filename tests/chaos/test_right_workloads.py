"""No checker of a workload raises a false alarm: clients of a right store, in any interleaving, with lost answers."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from chaos.checkers import judge_history
from chaos.history import History, Outcome
from chaos.observed import Scope
from chaos.transactions import Guard, Step, Transaction
from tests.chaos.little_store import LittleStore, unanswered

Request = tuple[tuple[Guard, ...], tuple[Step, ...]]
Maker = Callable[[Random, LittleStore, str], Request]


def bank(random: Random, store: LittleStore, unique: str) -> Request:
    """A transfer between two accounts as they are now, or a reading of all."""
    if random.random() < 0.4:
        return (), (Step("range", "bank/", end_key="bank0"),)
    source, target = random.sample(("bank/a", "bank/b", "bank/c"), 2)
    amount = random.randint(0, int((store.keys[source].value or "").split("#")[0]))
    puts = [
        Step("put", key, f"{int((store.keys[key].value or '').split('#')[0]) + change}#{unique}.{key}")
        for key, change in ((source, -amount), (target, amount))
    ]
    guards = tuple(Guard(key, "mod", "=", store.keys[key].mod_revision) for key in (source, target))
    return guards, tuple(puts)


def append(random: Random, store: LittleStore, unique: str) -> Request:
    key = random.choice(("list/x", "list/y"))
    if random.random() < 0.4:
        return (), (Step("range", key),)
    pair = store.keys.get(key)
    elements = unique if pair is None else f"{pair.value},{unique}"
    return (Guard(key, "mod", "=", pair.mod_revision if pair else 0),), (Step("put", key, elements),)


def set_(random: Random, store: LittleStore, unique: str) -> Request:
    return (), (Step("range", "set/", end_key="set0") if random.random() < 0.4 else Step("put", f"set/{unique}", unique),)


def queue(random: Random, store: LittleStore, unique: str) -> Request:
    items = [key for key in store.keys if key.startswith("queue/")]
    if items and random.random() < 0.6:
        return (), (Step("delete", random.choice(items)),)
    return (), (Step("put", f"queue/{unique}", unique),)


MAKERS: dict[str, tuple[Maker, str]] = {
    "bank": (bank, "bank/"), "append": (append, "list/"), "set": (set_, "set/"), "queue": (queue, "queue/"),
}  # fmt: skip


def right_run(seed: int, workload: str) -> History:
    random, store = Random(seed), LittleStore()
    make, prefix = MAKERS[workload]
    history = History(scopes=[Scope(workload, prefix, total=30)], is_whole=True)
    if workload == "bank":
        opening = tuple(Step("put", f"bank/{name}", f"10#open.{name}") for name in "abc")
        history.transactions.append(store.transact(Transaction(0, -100.0, -99.0, Outcome.OK, opening)))
    for number in range(120):
        guards, steps = make(random, store, str(number))
        called, returned = number - random.uniform(0, 6), number + random.uniform(0, 6)
        request = Transaction(number % 9, called, returned, Outcome.OK, steps, guards=guards)
        chance = random.random()
        if chance < 0.05:
            history.transactions.append(unanswered(request, random.choice((Outcome.UNKNOWN, Outcome.FAILED))))
        else:
            done = store.transact(request)
            history.transactions.append(unanswered(request, Outcome.UNKNOWN) if chance < 0.1 else done)
    history.log = store.log
    return history


@pytest.mark.parametrize("workload", list(MAKERS))
def test_a_right_run_raises_no_alarm(workload: str) -> None:
    for seed in range(40):
        verdicts = judge_history(right_run(seed, workload))
        assert list(verdicts.safety) == ["serial", "cycles", workload]
        assert verdicts.is_safe, (seed, verdicts.safety)


@pytest.mark.parametrize("workload", list(MAKERS))
def test_an_answer_from_before_the_last_second_is_mostly_noticed(workload: str) -> None:
    """Late answers are lies only where something had changed; most of forty are."""
    noticed = 0
    for seed in range(40):
        history = right_run(seed, workload)
        index = next(
            place for place, each in reversed(list(enumerate(history.transactions[:60])))
            if each.outcome is Outcome.OK and each.succeeded and all(step.kind == "range" for step in each.steps)
        ) if workload != "queue" else 20  # fmt: skip
        each = history.transactions[index]
        history.transactions[index] = replace(each, called=each.called + 40, returned=each.returned + 40)
        noticed += not judge_history(history).is_safe
    assert noticed >= 30
