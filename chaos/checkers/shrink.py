"""The smallest part of a history that is still wrong (delta debugging): so few requests that one sees why.

What is left out must not itself make a history wrong. Therefore a part of a history is judged without what depends on all of
it: the log is cut to what the kept requests wrote or read, and a write that a kept read observed is never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from chaos.checkers import cycles
from chaos.checkers.wgl import Verdict, linearizable
from chaos.history import Logged, Operation, Outcome
from chaos.transactions import Transaction

__all__ = ["ddmin", "smallest_of_register", "smallest_of_transactions"]

Item = TypeVar("Item")
MOST_TESTS = 2000


def ddmin(items: Sequence[Item], is_wrong: Callable[[list[Item]], bool], *, most_tests: int = MOST_TESTS) -> list[Item]:
    """Return a part that is still wrong and no piece of which may be left out; best effort after `most_tests`."""
    kept, pieces, tests = list(items), 2, 0
    while len(kept) >= 2 and tests < most_tests:
        size = max(1, len(kept) // pieces)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            tests += 1
            if rest and is_wrong(rest):
                kept, pieces = rest, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(kept), 2 * pieces)
    return kept


def smallest_of_register(operations: Sequence[Operation]) -> list[Operation]:
    """Return the fewest operations of one key that cannot be ordered; all where they can."""
    if linearizable(operations) is not Verdict.WRONG:
        return list(operations)
    in_time = sorted(operations, key=lambda each: each.returned)
    low, high = 1, len(in_time)
    while low < high:  # an order of a whole is an order of its beginning: look for the first end that has none
        middle = (low + high) // 2
        if linearizable(_started_before(operations, in_time[middle - 1].returned)) is Verdict.WRONG:
            high = middle
        else:
            low = middle + 1
    window = _started_before(operations, in_time[low - 1].returned)
    deletes = [each for each in window if each.kind == "delete"]
    return ddmin(window, lambda part: _is_closed(part, deletes) and linearizable(part) is Verdict.WRONG)


def _started_before(operations: Sequence[Operation], end: float) -> list[Operation]:
    """The history as it was at a moment: who had returned, and who was still waiting (a write that may have happened)."""
    return [each if each.returned <= end else _as_unknown(each) for each in operations if each.called <= end]


def _as_unknown(operation: Operation) -> Operation:
    return replace(operation, outcome=Outcome.UNKNOWN, revision=0, mod_revision=0)


def _is_closed(part: Sequence[Operation], deletes: Sequence[Operation]) -> bool:
    """Whether what is read is also written, so that no read is wrong only because its write was left out.

    Who found nothing, after somebody had put, may owe that to any delete that had begun. A swap whose expected value is not
    known any more is taken for a put.
    """
    written = {each.value for each in part if each.kind in ("put", "cas")}
    first_put = min((each.called for each in part if each.kind in ("put", "cas")), default=float("inf"))
    kept = {id(each) for each in part if each.kind == "delete"}
    for each in part:
        if each.kind == "get" and each.value is not None and each.value not in written:
            return False
        needs_nothing = each.value is None if each.kind == "get" else each.kind == "cas" and not each.expected
        owes = [delete for delete in deletes if delete.called <= each.returned] if needs_nothing else []
        if first_put <= each.returned and any(id(delete) not in kept for delete in owes):
            return False
    return True


def smallest_of_transactions(
    transactions: Sequence[Transaction], log: Sequence[Logged], involved: Collection[int]
) -> list[int]:
    """Return the positions of the fewest transactions that show it.

    Those that the checker named are joined by who wrote what they read, and who overwrote that; where some of them come
    before each other in a circle, as few as possible that do are left.
    """
    if not involved:
        return []
    writer = {
        (step.key, step.value): index
        for index, each in enumerate(transactions)
        for step in each.then + each.otherwise
        if step.kind == "put"
    }
    read = {
        (pair.key, pair.mod_revision): pair.value
        for index in involved
        for answer in transactions[index].answers
        for pair in answer.pairs
    }
    wide = set(involved) | {
        writer[key, value or ""] for (key, _), value in read.items() if (key, value or "") in writer
    }
    for key, revision in read:
        following = (each for each in log if each.revision > revision and each.key == key and each.value is not None)
        overwritten = next(following, None)
        if overwritten is not None:
            wide |= {writer[change] for change in [(key, overwritten.value or "")] if change in writer}

    def has_circle(part: list[int]) -> bool:
        found = cycles.cycles([transactions[index] for index in part])
        return any(not each.text.startswith("G1a") for each in found)

    candidates = sorted(wide)
    return ddmin(candidates, has_circle) if has_circle(candidates) else candidates
