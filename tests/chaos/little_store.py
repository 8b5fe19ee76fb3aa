"""A store as dumb as can be, random histories of it, and brute force: every order is tried. Shares nothing with the checkers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from chaos.history import Logged, Outcome
from chaos.transactions import Answer, Guard, KeyValue, Step, Transaction

KEYS = ("a", "b", "c")


@dataclass(slots=True)
class LittleStore:
    revision: int = 1
    keys: dict[str, KeyValue] = field(default_factory=dict)
    log: list[Logged] = field(default_factory=list)

    def copy(self) -> LittleStore:
        return LittleStore(self.revision, dict(self.keys), list(self.log))

    def within(self, key: str, end_key: str) -> list[KeyValue]:
        return [
            pair
            for name, pair in sorted(self.keys.items())
            if (name == key if not end_key else name >= key and (end_key == "\0" or name < end_key))
        ]

    def compares(self, guard: Guard) -> bool:
        found = self.within(guard.key, guard.end_key)
        if not found:
            if guard.target == "value":
                return False
            found = [KeyValue(guard.key, "", 0, 0, 0, 0)]
        return all(self.compare(guard, pair) for pair in found)

    @staticmethod
    def compare(guard: Guard, pair: KeyValue) -> bool:
        side = {
            "value": pair.value, "mod": pair.mod_revision, "create": pair.create_revision,
            "version": pair.version, "lease": pair.lease,
        }[guard.target]  # fmt: skip
        operand = guard.operand
        assert type(side) is type(operand)
        match guard.comparison:
            case "=":
                return side == operand
            case "!=":
                return side != operand
            case "<":
                return side < operand  # type: ignore[operator]
            case _:
                return side > operand  # type: ignore[operator]

    def transact(self, request: Transaction) -> Transaction:
        """Perform it; return it with the right answer."""
        held = all(self.compares(guard) for guard in request.guards)
        steps = request.then if held else request.otherwise
        before, answers = self.revision, []
        for step in steps:
            found = self.within(step.key, step.end_key)
            if step.kind == "range":
                shown = found[: step.limit] if step.limit else found
                answers.append(Answer(tuple(shown), len(found), len(shown) < len(found)))
            elif step.kind == "delete":
                for pair in found:
                    del self.keys[pair.key]
                    self.log.append(Logged(before + 1, pair.key, None))
                self.revision = before + 1 if found else self.revision
                answers.append(Answer(tuple(found) if step.with_previous else (), len(found)))
            else:
                self.revision = before + 1
                old = self.keys.get(step.key)
                created, version = (old.create_revision, old.version + 1) if old else (before + 1, 1)
                self.keys[step.key] = KeyValue(step.key, step.value, before + 1, created, version, step.lease)
                self.log.append(Logged(before + 1, step.key, step.value, step.lease))
                answers.append(Answer((old,) if old and step.with_previous else ()))
        return replace(
            request, succeeded=held, answers=tuple(answers), revision=self.revision, outcome=Outcome.OK
        )  # fmt: skip


def random_steps(random: Random, number: int, writes: bool) -> tuple[Step, ...]:
    steps = []
    keys = random.sample(KEYS, random.choice((1, 1, 2)))
    for place, key in enumerate(keys):
        kind = random.choice(("put", "put", "delete", "range")) if writes else "range"
        end_key = random.choice(("", "", "\0", "c")) if kind == "range" or (len(keys) == 1 and kind == "delete") else ""
        steps.append(Step(
            kind, key, value=f"{number}.{place}" if kind == "put" else "", end_key=end_key,
            with_previous=kind != "range" and random.random() < 0.5, limit=random.choice((0, 0, 1)) if kind == "range" else 0,
        ))  # fmt: skip
    return tuple(steps)


def random_history(random: Random, count: int, spread: float = 2.0) -> tuple[list[Transaction], list[Logged]]:
    """Return what clients of a right store may have seen: each takes effect at one moment between call and return."""
    store = LittleStore()
    found = []
    for number in range(count):
        guards = []
        if random.random() < 0.5:
            key = random.choice(KEYS)
            pair = store.keys.get(key)
            target = random.choice(("version", "create", "mod", "lease"))
            now = {
                "version": pair.version, "create": pair.create_revision, "mod": pair.mod_revision, "lease": pair.lease
            }[target] if pair else 0  # fmt: skip
            guards.append(Guard(key, target, random.choice(("=", "=", "!=", "<", ">")), now + random.choice((0, 0, 1))))
        request = Transaction(
            client=number % 3,
            called=number - random.uniform(0, spread),
            returned=number + random.uniform(0, spread),
            outcome=Outcome.OK,
            then=random_steps(random, number, random.random() < 0.7),
            otherwise=random_steps(random, -number - 1, random.random() < 0.3),
            guards=tuple(guards),
        )
        chance = random.random()
        if chance < 0.08:  # never arrived
            found.append(unanswered(request, random.choice((Outcome.UNKNOWN, Outcome.FAILED))))
        else:
            done = store.transact(request)
            found.append(unanswered(request, Outcome.UNKNOWN) if chance < 0.16 else done)
    return found, store.log


def unanswered(request: Transaction, outcome: Outcome) -> Transaction:
    return replace(request, outcome=outcome, succeeded=None, answers=(), revision=0)


def lie(random: Random, transactions: list[Transaction], log: list[Logged]) -> None:
    """Change one thing that a client was told, or that the log tells; it may still be a right history afterwards."""
    index = random.randrange(len(transactions))
    each = transactions[index]
    kind = random.randrange(7)
    if kind == 0:
        transactions[index] = replace(each, revision=max(1, each.revision + random.choice((-1, 1))))
    elif kind == 1 and each.succeeded is not None and len(each.then) == len(each.otherwise):
        transactions[index] = replace(each, succeeded=not each.succeeded)
    elif kind == 2 and each.answers:
        place = random.randrange(len(each.answers))
        answers = list(each.answers)
        answers[place] = other_answer(random, answers[place])
        transactions[index] = replace(each, answers=tuple(answers))
    elif kind == 3:
        later = random.uniform(1, 4)
        transactions[index] = replace(each, called=each.called + later, returned=each.returned + later)
    elif kind == 4 and log:
        del log[random.randrange(len(log))]
    elif kind == 5 and log:
        log.append(replace(log[random.randrange(len(log))], revision=log[-1].revision + 1))
    elif kind == 6:
        transactions[index] = unanswered(each, random.choice((Outcome.UNKNOWN, Outcome.FAILED)))


def other_answer(random: Random, answer: Answer) -> Answer:
    if not answer.pairs or random.random() < 0.3:
        return replace(answer, count=answer.count + 1)
    pair = answer.pairs[0]
    changed = random.choice((
        replace(pair, value="dream"), replace(pair, mod_revision=pair.mod_revision + 1),
        replace(pair, version=pair.version + 1), replace(pair, create_revision=pair.create_revision + 1),
    ))  # fmt: skip
    return replace(answer, pairs=(changed, *answer.pairs[1:]))


def some_order_is_right(transactions: list[Transaction], log: list[Logged]) -> bool:
    """Try every order that keeps real time, with and without each unknown request; the log must come out exactly."""
    waiting = [each for each in transactions if each.outcome is not Outcome.FAILED]

    def search(store: LittleStore, left: list[Transaction]) -> bool:
        if store.log != log[: len(store.log)]:
            return False
        if all(each.outcome is Outcome.UNKNOWN for each in left) and store.log == log:
            return True
        first_return = min((each.returned for each in left if each.outcome is Outcome.OK), default=float("inf"))
        for number, each in enumerate(left):
            if each.called > first_return:
                continue
            after = store.copy()
            done = after.transact(each)
            if each.outcome is Outcome.OK and done != each:
                continue
            if search(after, left[:number] + left[number + 1 :]):
                return True
        return False

    return search(LittleStore(), waiting)
