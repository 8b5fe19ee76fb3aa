"""A store of one process: a dictionary, and the keys in order. Replays steps and compares answers with its own."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from operator import eq, gt, lt, ne
from typing import Any, Final

from chaos.transactions import NOT_TOLD, Answer, Guard, KeyValue, Step

__all__ = ["Change", "Entry", "StoreModel"]

Entry = tuple[str, int, int, int, int]  # value, mod revision, create revision, version, lease
Change = tuple[str, str | None]  # key and its new value; None: deleted

FIELDS: Final = {"value": 0, "mod": 1, "create": 2, "version": 3, "lease": 4}
COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {"=": eq, "!=": ne, "<": lt, ">": gt}
ABSENT: Final[Entry] = ("", 0, 0, 0, 0)


class StoreModel:
    """The state after some revision. With `keeps_past` ranges at past revisions can be answered."""

    def __init__(self, *, keeps_past: bool = False) -> None:
        self.entries: dict[str, Entry] = {}
        self._order: list[str] = []
        self._past: dict[str, list[tuple[int, Entry | None]]] | None = {} if keeps_past else None

    def holds(self, guards: Sequence[Guard]) -> bool:
        """Whether all guards hold now. A value of a key that does not exist compares with nothing, not even with `!=`."""
        for guard in guards:
            found: list[Entry | None]
            if guard.end_key:
                found = [self.entries[key] for key in self.keys_of(guard.key, guard.end_key)]
                found = found or [None]
            else:
                found = [self.entries.get(guard.key)]
            field, compare, operand = FIELDS[guard.target], COMPARISONS[guard.comparison], guard.operand
            for entry in found:
                if entry is None:
                    if field == 0 or not compare(0, operand):
                        return False
                elif not compare(entry[field], operand):
                    return False
        return True

    def keys_of(self, key: str, end_key: str) -> list[str]:
        """The keys that exist in a range, in order."""
        if not end_key:
            return [key] if key in self.entries else []
        first = bisect_left(self._order, key)
        return self._order[first:] if end_key == "\0" else self._order[first : bisect_left(self._order, end_key, first)]

    def perform(self, step: Step, revision: int, changes: list[Change]) -> tuple[list[tuple[str, Entry]], int, bool]:
        """Do it; add what changed to `changes`. Return pairs, count and more, as an answer has them."""
        if step.kind == "put":
            before = self.write(step.key, step.value, step.lease, revision)
            changes.append((step.key, step.value))
            return ([(step.key, before)] if before is not None and step.with_previous else []), NOT_TOLD, False
        if step.kind == "range":
            return self._range(step)
        gone = [(key, self.delete(key, revision)) for key in self.keys_of(step.key, step.end_key)]
        changes.extend((key, None) for key, _ in gone)
        return (gone if step.with_previous else []), len(gone), False

    def difference(self, step: Step, answer: Answer, revision: int, changes: list[Change]) -> str:
        """Do it; return how the answer differs from the right one, "" where it does not."""
        if step.kind == "range" and not step.end_key and not step.revision and not step.count_only:
            entry = self.entries.get(step.key)  # most requests are this one
            read = answer.pairs
            if entry is None:
                if not read and answer.count <= 0:
                    return ""
            elif len(read) == 1 and answer.count in (1, NOT_TOLD) and _same(read[0], step.key, entry, step.keys_only):
                return ""
        pairs, count, more = self.perform(step, revision, changes)
        if answer.count not in (count, NOT_TOLD):
            return f"{answer.count} were counted, there were {count}"
        if len(answer.pairs) != len(pairs) or (
            step.kind == "range" and answer.more != more and answer.count != NOT_TOLD
        ):
            return _text(answer, pairs)
        if step.order.lstrip("-") in ("", "key"):
            for told, (key, entry) in zip(answer.pairs, pairs):
                if not _same(told, key, entry, step.keys_only):
                    return _text(answer, pairs)
            return ""
        return "" if self._is_ordered(step, answer, pairs) else _text(answer, pairs)

    def delete(self, key: str, revision: int) -> Entry:
        """Take the key away; return what it was."""
        entry = self.entries.pop(key)
        del self._order[bisect_left(self._order, key)]
        if self._past is not None:
            self._past[key].append((revision, None))
        return entry

    def write(self, key: str, value: str, lease: int, revision: int) -> Entry | None:
        before = self.entries.get(key)
        if before is None:
            insort(self._order, key)
            entry = (value, revision, revision, 1, lease)
        else:
            entry = (value, revision, before[2], before[3] + 1, lease)
        self.entries[key] = entry
        if self._past is not None:
            self._past.setdefault(key, []).append((revision, entry))
        return before

    def _range(self, step: Step) -> tuple[list[tuple[str, Entry]], int, bool]:
        if step.revision:
            pairs = self._at(step)
        else:
            entries = self.entries
            pairs = [(key, entries[key]) for key in self.keys_of(step.key, step.end_key)]
        count = len(pairs)
        if step.order:
            pairs.sort(key=_by(step.order), reverse=step.order.startswith("-"))
        more = 0 < step.limit < count
        if more:
            pairs = pairs[: step.limit]
        return ([] if step.count_only else pairs), count, more and not step.count_only

    def _at(self, step: Step) -> list[tuple[str, Entry]]:
        """What was there at a past revision."""
        assert self._past is not None
        found = []
        for key in sorted(self._past):
            inside = (
                key == step.key
                if not step.end_key
                else key >= step.key and (step.end_key in ("\0",) or key < step.end_key)
            )
            if inside:
                versions = self._past[key]
                position = bisect_right(versions, step.revision, key=lambda version: version[0])
                entry = versions[position - 1][1] if position else None
                if entry is not None:
                    found.append((key, entry))
        return found

    def _is_ordered(self, step: Step, answer: Answer, pairs: list[tuple[str, Entry]]) -> bool:
        """Keys that are equal in what is sorted by may come in any order."""
        by = _by(step.order)
        now = dict(self._at(step)) if step.revision else self.entries
        told = [(pair.key, now.get(pair.key, ABSENT)) for pair in answer.pairs]
        return [by(pair) for pair in told] == [by(pair) for pair in pairs] and all(
            _same(pair, key, entry, step.keys_only) for pair, (key, entry) in zip(answer.pairs, told)
        )


def _by(order: str) -> Callable[[tuple[str, Entry]], Any]:
    target = order.lstrip("-")
    return (lambda pair: pair[0]) if target == "key" else (lambda pair: pair[1][FIELDS[target]])


def _same(told: KeyValue, key: str, entry: Entry, keys_only: bool) -> bool:
    return (
        told.key == key
        and (told.value == entry[0] or keys_only)
        and (told.mod_revision == entry[1] or told.mod_revision == NOT_TOLD)
        and (told.create_revision == entry[2] or told.create_revision == NOT_TOLD)
        and (told.version == entry[3] or told.version == NOT_TOLD)
        and (told.lease == entry[4] or told.lease == NOT_TOLD)
    )


def _text(answer: Answer, pairs: list[tuple[str, Entry]]) -> str:
    told = ", ".join(f"{pair.key}={pair.value!r}@{pair.mod_revision}" for pair in answer.pairs) or "nothing"
    true = ", ".join(f"{key}={entry[0]!r}@{entry[1]}" for key, entry in pairs) or "nothing"
    return f"{told} was read, there was {true}" + (" and more" if answer.more else "")
