"""What clients did and what they were told, and the file that keeps it: one JSON object a line, the key says what it is."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from chaos.leasing import LeaseRecord, Renewal
from chaos.observed import Episode, Hold, Led, Replica, Scope
from chaos.outcome import Outcome
from chaos.transactions import Answer, Guard, KeyValue, Step, Transaction, of_operation
from chaos.watching import Event, Response, Stream

__all__ = ["History", "Logged", "Operation", "Outcome", "load", "load_history", "save", "save_history"]


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
    """One write as the store's own history (a watch from revision 1) tells it. `value` None: the key was deleted.

    Several of one revision stand in the order of the transaction that made them. `lease`: the key's, 0 for none.
    """

    revision: int
    key: str
    value: str | None
    lease: int = 0


@dataclass(slots=True)
class History:
    """All that a run wrote down. What a workload does not have stays empty.

    log        every write to the keys of the operations and transactions, in order of revision
    is_whole   the log has every write to the whole store, so no revision may be missing in it
    about      anything that helps a reader: seed, version, workload, command
    """

    operations: list[Operation] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    log: list[Logged] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    leases: list[LeaseRecord] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    replicas: list[Replica] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    led: list[Led] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)  # all that ever happened, for the streams
    compacted: int = 0
    is_whole: bool = False
    about: dict[str, Any] = field(default_factory=dict)

    def all_transactions(self) -> list[Transaction]:
        """Operations and transactions in the one form that checkers understand."""
        return [*map(of_operation, self.operations), *self.transactions]

    def prefixes(self, workload: str) -> Iterator[Scope]:
        """The scopes of one workload."""
        return (scope for scope in self.scopes if scope.workload == workload)


def save_history(path: Path, history: History) -> None:
    """Write one JSON object a line; what has its default is left out, the log comes last."""
    with path.open("w") as file:
        for name, items in _lines(history):
            file.write(json.dumps({name: items}) + "\n")


def load_history(path: Path) -> History:
    """The inverse of `save_history`; reads the register form of `save`, too. Raises ValueError that names the line."""
    history = History()
    with path.open() as file:
        for number, line in enumerate(file, 1):
            try:
                _add(history, json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}:{number}: not a line of a history ({error})") from error
    return history


def save(path: Path, operations: Iterable[Operation], log: Iterable[Logged]) -> None:
    """Write the register form: first the operations, then the log."""
    save_history(path, History(operations=list(operations), log=list(log)))


def load(path: Path) -> tuple[list[Operation], list[Logged]]:
    """The inverse of `save`. Raises ValueError naming the line that is not of this form."""
    history = load_history(path)
    return history.operations, history.log


KINDS: dict[str, str] = {  # the key of a line -> the field of History
    "operation": "operations", "transaction": "transactions", "logged": "log", "stream": "streams", "lease": "leases",
    "hold": "holds", "scope": "scopes", "replica": "replicas", "episode": "episodes", "led": "led", "event": "events",
}  # fmt: skip
LAST = ("event", "logged")


def _lines(history: History) -> Iterator[tuple[str, Any]]:
    if history.about:
        yield "about", history.about
    if history.is_whole or history.compacted:
        yield "store", {"is_whole": history.is_whole, "compacted": history.compacted}
    for name in (*(name for name in KINDS if name not in LAST), *LAST):
        for item in getattr(history, KINDS[name]):
            yield name, _plain(item)


def _plain(item: Any) -> dict[str, Any]:
    """The fields that do not have their default: histories have millions of lines."""
    found = asdict(item)
    defaults = {each.name: each.default for each in fields(item)}
    return {name: value for name, value in found.items() if name not in defaults or value != defaults[name]}


def _add(history: History, line: dict[str, Any]) -> None:
    ((name, found),) = line.items()
    if name == "about":
        history.about.update(found)
    elif name == "store":
        history.is_whole, history.compacted = found.get("is_whole", False), found.get("compacted", 0)
    else:
        getattr(history, KINDS[name]).append(READERS[name](found))


def _operation(found: dict[str, Any]) -> Operation:
    return Operation(**{**found, "outcome": Outcome(found["outcome"])})


def _transaction(found: dict[str, Any]) -> Transaction:
    return Transaction(**{
        **found,
        "outcome": Outcome(found["outcome"]),
        "then": tuple(Step(**step) for step in found["then"]),
        "otherwise": tuple(Step(**step) for step in found.get("otherwise", ())),
        "guards": tuple(Guard(**guard) for guard in found.get("guards", ())),
        "answers": tuple(map(_answer, found.get("answers", ()))),
    })  # fmt: skip


def _answer(found: dict[str, Any]) -> Answer:
    return Answer(tuple(KeyValue(**pair) for pair in found["pairs"]), found["count"], found["more"])


def _stream(found: dict[str, Any]) -> Stream:
    return Stream(**{**found, "responses": [_response(response) for response in found.get("responses", ())]})


def _response(found: dict[str, Any]) -> Response:
    return Response(**{**found, "events": tuple(Event(**event) for event in found.get("events", ()))})


def _lease(found: dict[str, Any]) -> LeaseRecord:
    return LeaseRecord(**{**found, "renewals": [Renewal(**renewal) for renewal in found.get("renewals", ())]})


READERS: dict[str, Any] = {
    "operation": _operation, "transaction": _transaction, "stream": _stream, "lease": _lease,
    "logged": lambda found: Logged(**found), "hold": lambda found: Hold(**found), "scope": lambda found: Scope(**found),
    "replica": lambda found: Replica(**found), "led": lambda found: Led(**found), "event": lambda found: Event(**found),
    "episode": lambda found: Episode(**{**found, "victims": tuple(found["victims"])}),
}  # fmt: skip
