"""Linearizability of each key by search, without trusting a single revision: what Wing and Gong, and Lowe, describe.

Calls and returns of one key stand in a linked list. The search takes any operation whose call comes before the first return
that is left, if the register allows it, lifts it out of the list, and goes on; at a dead end it puts the last one back. Pairs
of (what was taken, state) that were seen are not tried again: what was taken is known by a hash of one random number for each
operation (Zobrist), so a pass is quick; a verdict "cannot be ordered" is searched again with exact sets, since two sets may
share a hash. An operation that does not change the register, given its recorded answer, is taken as soon as it is right and
never put back for another choice: taking it then cannot do harm.

Values are unique over a history; the search of one key stops at `most_steps` and says unknown, which is no pass.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from chaos.history import Operation, Outcome

__all__ = ["Verdict", "check", "linearizable"]

MOST_STEPS = 2_000_000
ENDLESS = float("inf")


class Verdict(enum.StrEnum):
    """UNKNOWN: the search was given up."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


def check(operations: Iterable[Operation], *, most_steps: int = MOST_STEPS) -> list[str]:
    """Return a line per key whose operations cannot be ordered, or for which that was not found out."""
    keys: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        keys[operation.key].append(operation)
    found = []
    for key, mine in keys.items():
        match linearizable(mine, most_steps=most_steps):
            case Verdict.WRONG:
                found.append(f"NO ORDER: the {len(mine)} operations of {key} cannot be ordered")
            case Verdict.UNKNOWN:
                found.append(f"UNDECIDED: {key} has {len(mine)} operations, given up after {most_steps} steps")
    return found


def linearizable(operations: Sequence[Operation], *, most_steps: int = MOST_STEPS) -> Verdict:
    """Whether the operations of one key can be ordered; exact for RIGHT and WRONG."""
    calls = _relevant(operations)
    verdict = _Search(calls, exact=False).run(most_steps)
    return _Search(calls, exact=True).run(most_steps) if verdict is Verdict.WRONG else verdict


@dataclass(frozen=True, slots=True)
class _Call:
    """What is compared and set. `needs`: the state must be this, where `is_guarded`; `sets`: the state after it."""

    called: float
    returned: float
    is_guarded: bool
    needs: str | None
    is_write: bool
    sets: str | None

    @property
    def is_optional(self) -> bool:
        return self.returned == ENDLESS


def _relevant(operations: Sequence[Operation]) -> list[_Call]:
    """Without what did not happen. A swap names the value that it replaces by the mod revision that its client saw.

    A write of unknown outcome that nobody read may be left out (a delete: where nobody found nothing afterwards): whether it
    happened or was overwritten at once makes no difference. One that was read had happened when its first reader returned.
    """
    done = [each for each in operations if each.outcome is Outcome.OK]
    values = {each.mod_revision: each.value for each in done if each.mod_revision}
    read: dict[str | None, float] = {}
    for each in done:
        if each.kind == "get":
            read[each.value] = min(each.returned, read.get(each.value, ENDLESS))
    needing = [each.returned for each in done if _saw_nothing(each)]
    lost = [
        each for each in operations if each.outcome is Outcome.UNKNOWN and each.kind == "cas" and each.value in read
    ]
    needing += [ENDLESS for each in lost if _saw_nothing(each)]
    last_absent = max(needing, default=-ENDLESS)
    found = []
    for each in operations:
        returned = each.returned
        if each.outcome is not Outcome.OK:
            if each.outcome is Outcome.FAILED or each.kind == "get":
                continue
            if each.called > last_absent if each.kind == "delete" else each.value not in read:
                continue
            # Where its reader had returned before it was called, no order will be found: let it run until the end.
            is_seen = each.kind != "delete" and read[each.value] > each.called
            returned = read[each.value] if is_seen else ENDLESS
        knows = each.kind == "cas" and (not each.expected or each.expected in values)
        found.append(_Call(
            each.called,
            returned,
            is_guarded=each.kind == "get" or knows,
            needs=each.value if each.kind == "get" else values[each.expected] if knows and each.expected else None,
            is_write=each.kind != "get",
            sets=None if each.kind == "delete" else each.value,
        ))  # fmt: skip
    return found


def _saw_nothing(operation: Operation) -> bool:
    if operation.kind == "get":
        return operation.value is None
    return operation.kind == "cas" and not operation.expected


class _Search:
    """Entries 1..2n of the list: calls at positions with `return_of`, returns elsewhere; 0 is the head."""

    def __init__(self, calls: Sequence[_Call], *, exact: bool) -> None:
        self._calls = calls
        marks = [(each.called, 0, index) for index, each in enumerate(calls)]
        marks += [(each.returned, 1, index) for index, each in enumerate(calls)]
        marks.sort()
        size = len(marks)
        self._operation = [-1] * (size + 2)
        self._return_of = [0] * (size + 2)
        place_of_call: dict[int, int] = {}
        for place, (_, is_return, index) in enumerate(marks, 1):
            self._operation[place] = index
            if is_return:
                self._return_of[place_of_call[index]] = place
            else:
                place_of_call[index] = place
        self._next = list(range(1, size + 2)) + [0]
        self._previous = [0, *range(size + 1)]
        self._end = size + 1
        random = Random(size)
        self._marks = [1 << index if exact else random.getrandbits(61) for index in range(len(calls))]
        self._left = sum(not each.is_optional for each in calls)

    def run(self, most_steps: int) -> Verdict:
        """Search until an order is found, none is left, or there were too many steps."""
        state: str | None = None
        taken, left = 0, self._left
        seen: set[tuple[int, str | None]] = set()
        stack: list[tuple[int, str | None, bool]] = []  # place, state before it, whether it may be put back for another
        place = self._next[0]
        for _ in range(most_steps):
            if not left:
                return Verdict.RIGHT
            return_place = self._return_of[place]
            if return_place:
                index = self._operation[place]
                call = self._calls[index]
                if not call.is_guarded or call.needs == state:
                    after = call.sets if call.is_write else state
                    key = (taken ^ self._marks[index], after)
                    if not call.is_write or key not in seen:
                        seen.add(key)
                        stack.append((place, state, call.is_write))
                        taken, state, left = key[0], after, left - (not call.is_optional)
                        self._lift(place, return_place)
                        place = self._next[0]
                        continue
                place = self._next[place]
                continue
            is_choice = False  # a return, or the end: what was taken last is put back
            while stack and not is_choice:
                place, state, is_choice = stack.pop()
                index = self._operation[place]
                taken ^= self._marks[index]
                left += not self._calls[index].is_optional
                self._unlift(place, self._return_of[place])
            if not is_choice:
                return Verdict.WRONG
            place = self._next[place]
        return Verdict.UNKNOWN

    def _lift(self, call: int, return_: int) -> None:
        following, previous = self._next, self._previous
        for place in (call, return_):
            before, after = previous[place], following[place]
            following[before], previous[after] = after, before

    def _unlift(self, call: int, return_: int) -> None:
        following, previous = self._next, self._previous
        for place in (return_, call):
            following[previous[place]] = previous[following[place]] = place
