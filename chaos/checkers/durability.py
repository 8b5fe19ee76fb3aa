"""Nothing acknowledged is lost, nothing refused is kept, and the log itself is in order and without duplicates."""

from collections.abc import Sequence
from itertools import pairwise

from chaos.history import Logged, Operation, Outcome


def check(operations: Sequence[Operation], log: Sequence[Logged]) -> list[str]:
    """Return a line per violation: an acknowledged write that is missing or elsewhere, a failed one that is there."""
    found = [
        f"the log goes from revision {before.revision} to {after.revision}"
        for before, after in pairwise(log)
        if after.revision < before.revision or (after.revision, after.key) == (before.revision, before.key)
    ]
    by_value: dict[str, Logged] = {}
    for logged in log:
        if logged.value is None:
            continue
        if logged.value in by_value:
            found.append(
                f"{logged.value!r} was written once and stands at {by_value[logged.value].revision} and {logged.revision}"
            )
        by_value[logged.value] = logged
    for operation in operations:
        if operation.kind in ("get", "delete") or operation.value is None:
            continue
        logged_at = by_value.get(operation.value)
        if operation.outcome is Outcome.OK and logged_at is None:
            found.append(f"LOST: {operation} was acknowledged and is not in the log")
        elif operation.outcome is Outcome.OK and logged_at is not None and logged_at.revision != operation.revision:
            found.append(f"{operation} was acknowledged at {operation.revision} and stands at {logged_at.revision}")
        elif operation.outcome is Outcome.FAILED and logged_at is not None:
            found.append(f"{operation} was refused and stands at {logged_at.revision}")
    return found
