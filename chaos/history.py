"""What clients did and what they were told."""

import enum
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


class Outcome(enum.StrEnum):
    """How an operation ended for its client. UNKNOWN: it may have happened, or may still happen."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on one key. Times are seconds of one monotonic clock; values are unique over a history.

    kind      put | get | cas | delete
    value     what was written (put, cas) or read (get; None: the key did not exist)
    expected  for cas: the modification revision that was asked for (0: must not exist)
    revision  the store's revision in the answer's header; 0 when there was no answer
    """

    client: int
    kind: str
    key: str
    value: str | None
    called: float
    returned: float
    outcome: Outcome
    revision: int = 0
    mod_revision: int = 0
    expected: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Logged:
    """One write as the store's own history (a watch from revision 1) tells it. `value` None: the key was deleted."""

    revision: int
    key: str
    value: str | None


def save(path: Path, operations: Iterable[Operation], log: Iterable[Logged]) -> None:
    """Write one JSON object a line: first the operations, then the log."""
    with path.open("w") as file:
        for operation in operations:
            file.write(json.dumps({"operation": asdict(operation)}) + "\n")
        for logged in log:
            file.write(json.dumps({"logged": asdict(logged)}) + "\n")


def load(path: Path) -> tuple[list[Operation], list[Logged]]:
    """The inverse of `save`. Raises ValueError naming the line that is not of this form."""
    operations: list[Operation] = []
    log: list[Logged] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            document = json.loads(line)
            if "operation" in document:
                fields = document["operation"]
                operations.append(Operation(**{**fields, "outcome": Outcome(fields["outcome"])}))
            else:
                log.append(Logged(**document["logged"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: not a line of a history ({error})") from error
    return operations, log
