"""Linearizability's real-time order, by revisions: who is called after another returned must not see an older store.

A write's revision must be greater than every revision that was returned before the write was called; a read's must not be
smaller. With `replay` (each answer is right at its revision) this is a witness of strict serializability in O(n log n).
"""

from collections.abc import Sequence

from chaos.history import Logged, Operation, Outcome


def check(operations: Sequence[Operation], log: Sequence[Logged]) -> list[str]:
    """Return a line per operation that is behind what somebody had already been told."""
    done = [operation for operation in operations if operation.outcome is Outcome.OK]
    returns = sorted(done, key=lambda operation: operation.returned)
    found = []
    newest: Operation | None = None
    position = 0
    for operation in sorted(done, key=lambda operation: operation.called):
        while position < len(returns) and returns[position].returned < operation.called:
            if newest is None or returns[position].revision > newest.revision:
                newest = returns[position]
            position += 1
        if newest is None:
            continue
        is_write = operation.kind in ("put", "cas")  # a delete of nothing makes no revision
        least = newest.revision + 1 if is_write else newest.revision
        if operation.revision < least:
            found.append(f"STALE: {operation} came after {newest}")
    return found
