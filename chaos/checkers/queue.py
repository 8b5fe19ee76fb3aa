"""A queue: each item is taken at most once, only after it was put, and none that was acknowledged is lost.

Keys: the scope's prefix and what makes an item unique. An item is put once, in a transaction; taking it is deleting its key:
the answer's count tells whether it was taken. `is_drained`: at the end everything was taken, so what is left is lost.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from chaos.checkers.violation import Violation
from chaos.observed import Scope
from chaos.outcome import Outcome
from chaos.transactions import Transaction

__all__ = ["check"]


def check(transactions: Sequence[Transaction], scope: Scope) -> list[Violation]:
    """Return a violation per item that was taken twice, from nowhere, too early, or never."""
    put: dict[str, int] = {}
    taken: dict[str, list[int]] = defaultdict(list)
    may_be_taken: set[str] = set()
    for index, each in enumerate(transactions):
        for place, step in enumerate(each.steps):
            if not step.key.startswith(scope.prefix):
                continue
            if step.kind == "put":
                put[step.key] = index
            elif step.kind == "delete" and each.outcome is Outcome.UNKNOWN:
                may_be_taken.add(step.key)
            elif step.kind == "delete" and each.outcome is Outcome.OK and each.answers[place].count > 0:
                taken[step.key].append(index)
    found = list(_of_taken(transactions, put, taken))
    if scope.is_drained:
        found += [
            Violation(f"LOST: {key} was put and never taken", (index,))
            for key, index in put.items()
            if transactions[index].outcome is Outcome.OK and key not in taken and key not in may_be_taken
        ]
    return found


def _of_taken(
    transactions: Sequence[Transaction], put: dict[str, int], taken: dict[str, list[int]]
) -> Iterator[Violation]:
    for key, takers in taken.items():
        if len(takers) > 1:
            yield Violation(f"TWICE: {key} was taken by transactions {', '.join(map(str, takers))}", tuple(takers))
        by = put.get(key)
        if by is None or transactions[by].outcome is Outcome.FAILED:
            yield Violation(f"PHANTOM: {key} was taken, and nobody put it", tuple(takers))
        elif min(transactions[index].returned for index in takers) < transactions[by].called:
            yield Violation(f"EARLY: {key} was taken before it was put", (by, *takers))
