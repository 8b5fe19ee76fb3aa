"""Every answer is right at its revision: the store's log is replayed, and reads and guards are compared with it."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeGuard

from chaos.history import Logged, Operation, Outcome


def check(operations: Sequence[Operation], log: Sequence[Logged]) -> list[str]:
    """Return a line per read that saw another value than the log has, and per swap whose guard did not hold."""
    versions: dict[str, list[Logged]] = defaultdict(list)
    for logged in log:
        versions[logged.key].append(logged)
    revisions = {key: [logged.revision for logged in items] for key, items in versions.items()}

    def latest(key: str, revision: int) -> Logged | None:
        position = bisect_right(revisions.get(key, []), revision)
        return versions[key][position - 1] if position else None

    found = []
    for operation in operations:
        if operation.outcome is not Outcome.OK:
            continue
        if operation.kind == "get":
            expected = latest(operation.key, operation.revision)
            seen = (operation.value, operation.mod_revision) if operation.value is not None else None
            if seen != ((expected.value, expected.revision) if _exists(expected) else None):
                found.append(f"WRONG READ: {operation}; the log has {expected}")
        elif operation.kind == "cas":
            before = latest(operation.key, operation.revision - 1)
            if (before.revision if _exists(before) else 0) != operation.expected:
                found.append(f"BROKEN GUARD: {operation}; before it the log has {before}")
    return found


def _exists(logged: Logged | None) -> TypeGuard[Logged]:
    return logged is not None and logged.value is not None
