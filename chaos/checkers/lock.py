"""Locks and elections. Believing to hold a lock proves nothing: a paused holder goes on believing. Fenced writes prove it.

A fenced write is a transaction guarded by `create(holder's key) = token`, the token being the revision that created the key.
    fence       in the order of revisions the fenced writes of one holder stand together: no other holder's come between
    owner       at the revision at which a lock was granted its key exists with the token, and no older key waits before it
    token       no two holders have the same one
The log must have the locks' own keys, too. Elections are the same: to campaign is to wait for the lock.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from chaos.checkers.violation import Violation
from chaos.history import Logged
from chaos.observed import Hold
from chaos.outcome import Outcome
from chaos.transactions import Transaction

__all__ = ["check"]

Life = tuple[int, int]  # the revision that created the key, and the one that deleted it (endless: still there)
ENDLESS = 1 << 63


def check(holds: Sequence[Hold], transactions: Sequence[Transaction], log: Sequence[Logged]) -> list[Violation]:
    """Return a violation per broken promise."""
    by_name: dict[str, list[Hold]] = defaultdict(list)
    for hold in holds:
        by_name[hold.name].append(hold)
    found: list[Violation] = []
    for name, mine in by_name.items():
        lives = _lives(name, log)
        found += _tokens(mine)
        found += (violation for hold in mine for violation in _owner(hold, lives))
        found += _fence(name, mine, transactions)
    return found


def _lives(name: str, log: Sequence[Logged]) -> dict[str, list[Life]]:
    lives: dict[str, list[Life]] = defaultdict(list)
    for logged in log:
        if not logged.key.startswith(name):
            continue
        mine = lives[logged.key]
        is_there = bool(mine) and mine[-1][1] == ENDLESS
        if logged.value is None and is_there:
            mine[-1] = (mine[-1][0], logged.revision)
        elif logged.value is not None and not is_there:
            mine.append((logged.revision, ENDLESS))
    return lives


def _tokens(holds: Sequence[Hold]) -> Iterator[Violation]:
    first: dict[tuple[str, int], Hold] = {}
    for hold in holds:
        other = first.setdefault((hold.key, hold.create_revision), hold)
        if other is not hold and other.client != hold.client:
            yield Violation(f"TOKEN: clients {other.client} and {hold.client} hold {hold.key}@{hold.create_revision}")


def _owner(hold: Hold, lives: dict[str, list[Life]]) -> Iterator[Violation]:
    """Needs the revision of the answer that granted it."""
    if not hold.revision:
        return
    alive = {}
    for key, mine in lives.items():
        place = bisect_right(mine, hold.revision, key=lambda life: life[0])
        if place and mine[place - 1][1] > hold.revision:
            alive[key] = mine[place - 1][0]
    if alive.get(hold.key) != hold.create_revision:
        yield Violation(f"GONE: {hold} was granted, and its key was {alive.get(hold.key, 'not there')}")
        return
    older = [key for key, created in alive.items() if created < hold.create_revision]
    if older:
        yield Violation(f"NOT FIRST: {hold} was granted while {older[0]} was before it")


def _fence(name: str, holds: Sequence[Hold], transactions: Sequence[Transaction]) -> Iterator[Violation]:
    tokens = {(hold.key, hold.create_revision) for hold in holds}
    fenced = []
    for index, each in enumerate(transactions):
        if each.outcome is not Outcome.OK or not each.succeeded or all(step.kind == "range" for step in each.then):
            continue
        for guard in each.guards:
            if guard.target == "create" and guard.comparison == "=" and (guard.key, guard.operand) in tokens:
                fenced.append((each.revision, index, (guard.key, guard.operand)))
    fenced.sort()
    last_of: dict[tuple[str, int | str], int] = {}
    before: tuple[str, int | str] | None = None
    before_index = -1
    for _, index, token in fenced:
        if token != before and token in last_of:
            text = f"FENCE: {token[0]}@{token[1]} of {name} wrote on after transaction {before_index} of another holder"
            yield Violation(text, (last_of[token], before_index, index))
        last_of[token] = index
        before, before_index = token, index
