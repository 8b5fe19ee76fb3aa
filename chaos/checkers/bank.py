"""A bank: transfers move money between accounts, so that every reading of all accounts at once shows the same sum.

Keys: the scope's prefix and an account's name. Values: the balance in decimal digits, then "#" and what makes the value
unique, as in `70#3.12`. A reading is one range over the whole prefix without a limit. No balance is ever below nought.
"""

from collections.abc import Iterator, Sequence

from chaos.checkers.violation import Violation
from chaos.observed import Scope
from chaos.outcome import Outcome
from chaos.transactions import KeyValue, Transaction

__all__ = ["balance", "check", "covers"]


def check(transactions: Sequence[Transaction], scope: Scope) -> list[Violation]:
    """Return a violation per reading whose sum is another than the scope's total, or that shows a debt."""
    return [
        Violation(text, (index,))
        for index, each in enumerate(transactions)
        if each.outcome is Outcome.OK
        for step, answer in zip(each.steps, each.answers)
        if step.kind == "range" and not step.limit and covers(step.key, step.end_key, scope.prefix)
        for text in _of_reading(index, answer.pairs, scope)
    ]


def balance(value: str) -> int:
    """The money in a value. Raises ValueError where it is none."""
    return int(value.partition("#")[0])


def covers(key: str, end_key: str, prefix: str) -> bool:
    """Whether a range has all keys of the prefix."""
    return key <= prefix and (end_key == "\0" or end_key >= prefix[:-1] + chr(ord(prefix[-1]) + 1))


def _of_reading(index: int, pairs: Sequence[KeyValue], scope: Scope) -> Iterator[str]:
    accounts = {pair.key: balance(pair.value or "") for pair in pairs if pair.key.startswith(scope.prefix)}
    if sum(accounts.values()) != scope.total:
        yield f"SUM: transaction {index} read {sum(accounts.values())} instead of {scope.total}: {accounts}"
    for account, money in accounts.items():
        if money < 0:
            yield f"DEBT: transaction {index} read {money} in {account}"
