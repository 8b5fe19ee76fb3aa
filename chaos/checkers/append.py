"""Lists that only grow: any two readings of one are prefixes of each other, in the order of time.

Keys: anything under the scope's prefix. Values: the elements, joined by commas; an appender puts the list that it read with
one more element at the end, guarded by the modification revision that it read. Elements are unique over a history. From
readings alone the order of all appends is known, so no revision is trusted.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from chaos.checkers.violation import Violation
from chaos.observed import Scope
from chaos.outcome import Outcome
from chaos.transactions import Transaction

__all__ = ["check"]

Reading = tuple[int, tuple[str, ...]]  # the reader's position, what it read


def check(transactions: Sequence[Transaction], scope: Scope) -> list[Violation]:
    """Return a violation per reading that contradicts another, shrinks, repeats, or shows or lacks what it must not."""
    readings: dict[str, list[Reading]] = defaultdict(list)
    appends: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for index, each in enumerate(transactions):
        for place, step in enumerate(each.steps):
            if not step.key.startswith(scope.prefix):
                continue
            if step.kind == "put":
                appends[step.key].append((index, step.value.rpartition(",")[2]))
            elif step.kind == "range" and not step.end_key and each.outcome is Outcome.OK and place < len(each.answers):
                pairs = each.answers[place].pairs
                elements = tuple((pairs[0].value or "").split(",")) if pairs and pairs[0].value else ()
                readings[step.key].append((index, elements))
    return [
        violation
        for key in sorted(readings.keys() | appends.keys())
        for violation in _of_list(key, transactions, readings[key], appends[key])
    ]


def _of_list(
    key: str, transactions: Sequence[Transaction], readings: Sequence[Reading], appends: Sequence[tuple[int, str]]
) -> Iterator[Violation]:
    whose = {element: index for index, element in appends}
    longest_index, longest = max(readings, key=lambda reading: len(reading[1]), default=(-1, ()))
    for index, elements in readings:
        if elements != longest[: len(elements)]:
            shown = f"{','.join(elements)} and {','.join(longest)}"
            yield Violation(f"FORK: two readings of {key} exclude each other: {shown}", (index, longest_index))
    if len(set(longest)) < len(longest):
        yield Violation(f"TWICE: an element is twice in {key}: {','.join(longest)}", (longest_index,))
    for element in longest:
        owner = whose.get(element)
        if owner is None or transactions[owner].outcome is Outcome.FAILED:
            why = "nobody appended" if owner is None else "was refused"
            yield Violation(f"PHANTOM: {element} of {key} {why}", (longest_index,))
    yield from _in_time(key, transactions, readings, appends, longest)


def _in_time(
    key: str, transactions: Sequence[Transaction], readings: Sequence[Reading], appends: Sequence[tuple[int, str]],
    longest: tuple[str, ...],
) -> Iterator[Violation]:  # fmt: skip
    """What somebody was told before a reading began must be in it."""
    place = {element: number for number, element in enumerate(longest, 1)}
    told = [(transactions[index].returned, len(elements), index) for index, elements in readings]
    never = len(longest) + 1
    told += [
        (transactions[index].returned, place.get(element, never), index)
        for index, element in appends
        if transactions[index].outcome is Outcome.OK
    ]
    told.sort()
    position, least, by = 0, 0, -1
    for index, elements in sorted(readings, key=lambda reading: transactions[reading[0]].called):
        while position < len(told) and told[position][0] < transactions[index].called:
            if told[position][1] > least:
                _, least, by = told[position]
            position += 1
        if len(elements) < least:
            text = f"STALE: {key} had {len(elements)} elements, and transaction {by} had been told of more before"
            yield Violation(text, (by, index))
