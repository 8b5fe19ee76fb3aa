"""A set to which elements are added one by one: what was acknowledged, or seen by anybody, is in every later reading.

Keys: the scope's prefix and an element; added by a put, never removed. A reading is one range over the whole prefix without
a limit.
"""

from collections.abc import Iterator, Sequence

from chaos.checkers.bank import covers
from chaos.checkers.violation import Violation
from chaos.observed import Scope
from chaos.outcome import Outcome
from chaos.transactions import Transaction

__all__ = ["check"]


def check(transactions: Sequence[Transaction], scope: Scope) -> list[Violation]:
    """Return a violation per reading that lacks what was there before, or shows what nobody added."""
    return list(_check(transactions, scope))


def _check(transactions: Sequence[Transaction], scope: Scope) -> Iterator[Violation]:
    added: dict[str, int] = {}
    told: list[tuple[float, int, frozenset[str]]] = []
    readings: list[tuple[int, frozenset[str]]] = []
    for index, each in enumerate(transactions):
        for place, step in enumerate(each.steps):
            if step.kind == "put" and step.key.startswith(scope.prefix):
                if each.outcome is not Outcome.FAILED:
                    added[step.key] = index
                if each.outcome is Outcome.OK:
                    told.append((each.returned, index, frozenset((step.key,))))
            is_reading = step.kind == "range" and not step.limit and covers(step.key, step.end_key, scope.prefix)
            if is_reading and each.outcome is Outcome.OK and place < len(each.answers):
                shown = (pair.key for pair in each.answers[place].pairs)
                readings.append((index, frozenset(key for key in shown if key.startswith(scope.prefix))))
                told.append((each.returned, *readings[-1]))
    told.sort(key=lambda item: item[:2])
    position = 0
    by: dict[str, int] = {}
    for index, keys in sorted(readings, key=lambda reading: transactions[reading[0]].called):
        while position < len(told) and told[position][0] < transactions[index].called:
            _, teller, more = told[position]
            by.update((key, teller) for key in more - by.keys())
            position += 1
        missing = sorted(by.keys() - keys)
        if missing:
            text = f"MISSING: {len(missing)} elements, as {missing[0]}, which transaction {by[missing[0]]} knew before"
            yield Violation(text, (by[missing[0]], index))
        for key in sorted(keys - added.keys()):
            yield Violation(f"PHANTOM: nobody added {key}", (index,))
