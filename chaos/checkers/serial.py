"""Strict serializability, guided by revisions, in O(n log n): the order that the store itself claims is tried, and no other.

Every answer names a revision. So there is only one order to look at: by revision, the write of a revision before the reads
at it. The history is right where
  - each revision of the log has exactly one writer, and each acknowledged write stands in the log (no loss, no phantom, no
    duplicate, no gap);
  - nobody was answered from an older revision than one that somebody had been told before he asked (a write: from a newer);
  - replayed in that order, each guard, read, previous value, count and limit is what the store of one process answers.
`Judgement.order` is then a witness: anybody can replay it. Requests with unknown outcome are resolved from the log first: one
whose write is there happened at that revision, any other did not happen. A serializable read is only compared with the state
at its revision. Deletions by the end of a lease need no writer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chaos.checkers.violation import Violation
from chaos.history import Logged, Outcome
from chaos.models.store import Change, StoreModel
from chaos.transactions import NOT_TOLD, Transaction

__all__ = ["Judgement", "judge"]

FIRST_REVISION = 1  # of a store in which nothing was ever written
MANY = 1000  # violations after which replay stops: the rest follows from the first


@dataclass(slots=True)
class Judgement:
    """`order`: the witness, positions of transactions; complete only where nothing was violated.

    revisions   of the transactions in the order: what they are ordered by
    writers     those that made their revision; the others of it read what it had made
    dropped     positions of unknown ones that never happened
    """

    violations: list[Violation] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    revisions: dict[int, int] = field(default_factory=dict)
    writers: set[int] = field(default_factory=set)


def judge(transactions: Sequence[Transaction], log: Sequence[Logged], *, is_whole: bool = False) -> Judgement:
    """Return the verdict; `is_whole`: the log has all writes of the store, so a gap between two revisions is a loss."""
    judgement = Judgement()
    judgement.violations.extend(_of_log(log, is_whole))
    if is_whole:
        judgement.violations.extend(_of_the_future(transactions, log))
    _Replay(transactions, log, judgement).run()
    judgement.violations.extend(_real_time(transactions, judgement))
    return judgement


def _of_log(log: Sequence[Logged], is_whole: bool) -> Iterator[Violation]:
    before = FIRST_REVISION if is_whole else 0
    for logged in log:
        if logged.revision < before:
            yield Violation(f"ORDER: the log goes from revision {before} to {logged.revision}")
        elif is_whole and logged.revision > before + 1:
            yield Violation(f"GAP: the log goes from revision {before} to {logged.revision}")
        before = logged.revision


def _of_the_future(transactions: Sequence[Transaction], log: Sequence[Logged]) -> Iterator[Violation]:
    last = log[-1].revision if log else FIRST_REVISION
    for index, each in enumerate(transactions):
        if each.outcome is Outcome.OK and each.revision > last:
            yield Violation(f"FUTURE: {_name(each)} at {each.revision}, and the log ends at {last}", (index,))


class _Replay:
    """One pass over revisions and answers."""

    def __init__(self, transactions: Sequence[Transaction], log: Sequence[Logged], judgement: Judgement) -> None:
        self._transactions = transactions
        self._judgement = judgement
        self._model = StoreModel(
            keeps_past=any(step.revision for each in transactions for step in each.then + each.otherwise)
        )
        self._log: dict[int, list[Change]] = {}
        for logged in log:
            if logged.revision in self._log:
                self._log[logged.revision].append((logged.key, logged.value))
            else:
                self._log[logged.revision] = [(logged.key, logged.value)]
        self._writers: dict[int, int] = {}
        self._maybe: dict[int, list[int]] = defaultdict(list)  # deletes that do not tell whether they deleted
        self._readers: list[int] = []
        self._unknown_puts: dict[Change, list[int]] = defaultdict(list)
        self._unknown_deletes: list[int] = []
        self._sort_out()

    def _sort_out(self) -> None:
        for index, each in enumerate(self._transactions):
            if each.outcome is Outcome.OK:
                self._sort_in(index, each)
            elif each.outcome is Outcome.UNKNOWN:
                for step in each.then + each.otherwise:
                    if step.kind == "put":
                        self._unknown_puts[step.key, step.value].append(index)
                    elif step.kind == "delete":
                        self._unknown_deletes.append(index)
            else:
                self._refused(index, each)

    def _refused(self, index: int, each: Transaction) -> None:
        """What certainly did not happen may not be in the log; looked up when the log is walked."""
        for step in each.then + each.otherwise:
            if step.kind == "put":
                self._unknown_puts[step.key, step.value].append(~index)

    def _sort_in(self, index: int, each: Transaction) -> None:
        writes = may_write = False
        for number, step in enumerate(each.steps):
            if step.kind == "put":
                writes = True
            elif step.kind == "delete":
                count = each.answers[number].count if each.answers else NOT_TOLD
                writes = writes or count > 0
                may_write = may_write or count == NOT_TOLD
        if writes:
            other = self._writers.setdefault(each.revision, index)
            if other != index:
                text = f"DUPLICATE: two writes were acknowledged at revision {each.revision}"
                self._judgement.violations.append(Violation(text, (other, index)))
        elif may_write:
            self._maybe[each.revision].append(index)
        else:
            self._readers.append(index)

    def run(self) -> None:
        """Walk all revisions that anything claims."""
        transactions = self._transactions
        for revision in self._maybe:
            self._choose_deleter(revision)
        readers = self._readers
        readers.sort(key=lambda index: (transactions[index].revision, transactions[index].called))
        position, end, violations = 0, len(readers), self._judgement.violations
        for revision in sorted(self._log.keys() | self._writers.keys()):
            while position < end and transactions[readers[position]].revision < revision:
                self._play(readers[position], transactions[readers[position]].revision, None)
                position += 1
            self._write(revision)
            if len(violations) > MANY:
                return
        for index in readers[position:]:
            self._play(index, transactions[index].revision, None)
        done = set(self._judgement.order)
        self._judgement.dropped.extend(
            index for index, each in enumerate(transactions) if each.outcome is Outcome.UNKNOWN and index not in done
        )

    def _choose_deleter(self, revision: int) -> None:
        """Of several deletes at one revision the one that was called first can have written; the others found nothing."""
        candidates = sorted(self._maybe[revision], key=lambda index: self._transactions[index].called)
        tombstones = {key for key, value in self._log.get(revision, ()) if value is None}
        if revision not in self._writers:
            for index in candidates:
                steps = self._transactions[index].steps
                if tombstones and any(step.end_key or step.key in tombstones for step in steps):
                    self._writers[revision] = index
                    candidates.remove(index)
                    break
        self._readers.extend(candidates)

    def _write(self, revision: int) -> None:
        logged = self._log.get(revision)
        writer = self._writers.get(revision)
        if writer is None:
            assert logged is not None
            writer = self._resolve(revision, logged)
            if writer is None:
                return
        if logged is None:
            text = f"LOST: {_name(self._transactions[writer])} was acknowledged at {revision} and is not in the log"
            self._judgement.violations.append(Violation(text, (writer,)))
        self._judgement.writers.add(writer)
        self._play(writer, revision, logged)

    def _resolve(self, revision: int, logged: list[Change]) -> int | None:
        """Return who of unknown outcome wrote this; None where it was the end of a lease, or nobody."""
        for change in logged:
            for index in self._unknown_puts.get(change, ()):
                if index < 0:
                    text = f"REFUSED: {_name(self._transactions[~index])} had failed and stands at {revision}"
                    self._judgement.violations.append(Violation(text, (~index,)))
                elif index not in self._judgement.revisions:
                    return index
        if all(value is None for _, value in logged):
            keys = [key for key, _ in logged]
            for index in self._unknown_deletes:
                if index not in self._judgement.revisions and self._would_delete(index, keys):
                    return index
            leases = {self._model.entries[key][4] if key in self._model.entries else 0 for key in keys}
            if 0 not in leases:  # one lease, or several that ended together
                self._force(revision, logged)
                return None
        self._judgement.violations.append(Violation(f"PHANTOM: nobody asked for revision {revision}: {logged}"))
        self._force(revision, logged)
        return None

    def _would_delete(self, index: int, keys: list[str]) -> bool:
        each = self._transactions[index]
        steps = each.then if self._model.holds(each.guards) else each.otherwise
        gone: list[str] = []
        for step in steps:
            if step.kind == "put":
                return False
            if step.kind == "delete":
                gone += self._model.keys_of(step.key, step.end_key)
        return gone == keys

    def _force(self, revision: int, logged: list[Change]) -> None:
        """Follow the log, whoever did it."""
        for key, value in logged:
            if value is not None:
                self._model.write(key, value, 0, revision)
            elif key in self._model.entries:
                self._model.delete(key, revision)

    def _play(self, index: int, revision: int, logged: list[Change] | None) -> None:
        each, model, violations = self._transactions[index], self._model, self._judgement.violations
        self._judgement.order.append(index)
        self._judgement.revisions[index] = revision
        is_ok = each.outcome is Outcome.OK
        holds = model.holds(each.guards) if each.guards else True
        if is_ok and holds is not each.succeeded:
            text = f"BROKEN GUARD: {_name(each)} at {revision} says {each.succeeded}; {_guards(each, model)}"
            violations.append(Violation(text, (index,)))
            holds = each.succeeded is True
        changes: list[Change] = []
        steps = each.then if holds else each.otherwise
        if is_ok and each.answers:
            for step, answer in zip(steps, each.answers, strict=True):
                wrong = model.difference(step, answer, revision, changes)
                if wrong:
                    violations.append(Violation(f"WRONG ANSWER: {_name(each)} at {revision}: {wrong}", (index,)))
        else:
            for step in steps:
                model.perform(step, revision, changes)
        if logged is not None and changes != logged and dict(changes) != dict(logged):
            violations.append(Violation(f"OTHER WRITE: {_name(each)} at {revision}: the log has {logged}", (index,)))
            self._force(revision, logged)
        elif logged is None and changes and is_ok and index not in self._judgement.writers:
            violations.append(
                Violation(f"UNDELETED: {_name(each)} at {revision}, and {changes[0][0]} is still there", (index,))
            )


def _name(each: Transaction) -> str:
    steps = ", ".join(
        f"{step.kind} {step.key}{'..' if step.end_key else ''} {step.value}".rstrip() for step in each.steps
    )
    return f"client {each.client}'s [{steps}] of {each.called:.6f}-{each.returned:.6f}"


def _guards(each: Transaction, model: StoreModel) -> str:
    return "; ".join(
        f"{guard.target}({guard.key}) {guard.comparison} {guard.operand!r} with {model.entries.get(guard.key, 'no key')}"
        for guard in each.guards
    )


def _real_time(transactions: Sequence[Transaction], judgement: Judgement) -> Iterator[Violation]:
    """Who is called after another returned must not be answered from an older store."""
    order, revisions, writers = judgement.order, judgement.revisions, judgement.writers
    done = [index for index in order if transactions[index].outcome is Outcome.OK]
    done.sort(key=lambda index: transactions[index].returned)
    position, end, newest, newest_index = 0, len(done), 0, -1
    for index in sorted(order, key=lambda index: transactions[index].called):
        each = transactions[index]
        called = each.called
        while position < end and transactions[done[position]].returned < called:
            other = done[position]
            if revisions[other] > newest:
                newest, newest_index = revisions[other], other
            position += 1
        revision = revisions[index]
        if revision < newest + (index in writers) and not each.is_serializable:
            text = f"STALE: {_name(each)} at {revision} came after {_name(transactions[newest_index])} at {newest}"
            yield Violation(text, (newest_index, index))
