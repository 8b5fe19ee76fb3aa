"""Requests on many keys as a client asked them and was answered: guards, puts, ranges and deletes in one revision.

`Transaction` is the one form that all checkers understand: a plain put or get is a transaction without guards and with one
step. `from_messages` makes one from the messages of the wire, `of_operation` from the register form of `chaos.history`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chaos.outcome import Outcome
from kvstore.pb import kv_pb2, rpc_pb2

if TYPE_CHECKING:
    from chaos.history import Operation

__all__ = ["NOT_TOLD", "Answer", "Guard", "KeyValue", "Step", "Transaction", "from_messages", "of_operation"]

NOT_TOLD: Final = -1  # a number that the client did not write down
COMPARISONS: Final = {0: "=", 1: ">", 2: "<", 3: "!="}
TARGETS: Final = {0: "version", 1: "create", 2: "mod", 3: "value", 4: "lease"}


@dataclass(frozen=True, slots=True)
class Guard:
    """One comparison. `target`: version, create, mod, value or lease; `comparison`: = != < >. A range: of every key in it."""

    key: str
    target: str
    comparison: str
    operand: int | str
    end_key: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a transaction. `end_key` "": the key alone; "\\0": all from the key on.

    kind       put | range | delete
    revision   of a range: the past revision that was asked for; 0: now
    order      of a range: "" (by key) | key | version | create | mod | value, with "-" before it: the greatest first
    """

    kind: str
    key: str
    value: str = ""
    end_key: str = ""
    lease: int = 0
    with_previous: bool = False
    limit: int = 0
    revision: int = 0
    count_only: bool = False
    keys_only: bool = False
    order: str = ""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as an answer shows it. Numbers may be NOT_TOLD; `value` None: only keys were asked for."""

    key: str
    value: str | None
    mod_revision: int = NOT_TOLD
    create_revision: int = NOT_TOLD
    version: int = NOT_TOLD
    lease: int = NOT_TOLD


@dataclass(frozen=True, slots=True)
class Answer:
    """To one step. `pairs`: what a range found, or the previous pairs of a put or delete that asked for them.

    count   of a range: how many there are without the limit; of a delete: how many were deleted; may be NOT_TOLD
    """

    pairs: tuple[KeyValue, ...] = ()
    count: int = NOT_TOLD
    more: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """One request. Times are seconds of one monotonic clock; values that are put are unique over a history.

    succeeded         whether the guards held: `answers` are those of `then`, else of `otherwise`; None: no answer came
    revision          the store's revision in the answer's header; 0: no answer
    is_serializable   a read that a member may answer from what it has
    member            who was asked, where that was written down
    """

    client: int
    called: float
    returned: float
    outcome: Outcome
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...] = ()
    guards: tuple[Guard, ...] = ()
    succeeded: bool | None = True
    answers: tuple[Answer, ...] = ()
    revision: int = 0
    is_serializable: bool = False
    member: str = ""
    error: str = ""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those that were performed, by what the answer says."""
        return self.otherwise if self.succeeded is False else self.then


def from_messages(
    request: rpc_pb2.TxnRequest,
    response: rpc_pb2.TxnResponse | None,
    *,
    client: int,
    called: float,
    returned: float,
    outcome: Outcome = Outcome.OK,
    member: str = "",
    error: str = "",
) -> Transaction:
    """Return what was asked and answered. Without a response `outcome` says whether it is UNKNOWN or FAILED."""
    steps = (*request.success, *request.failure)
    return Transaction(
        client=client,
        called=called,
        returned=returned,
        outcome=outcome,
        then=tuple(map(_step, request.success)),
        otherwise=tuple(map(_step, request.failure)),
        guards=tuple(map(_guard, request.compare)),
        succeeded=None if response is None else response.succeeded,
        answers=() if response is None else tuple(map(_answer, response.responses)),
        revision=0 if response is None else response.header.revision,
        is_serializable=bool(steps)
        and all(op.HasField("request_range") and op.request_range.serializable for op in steps),
        member=member,
        error=error,
    )


def of_operation(operation: Operation) -> Transaction:
    """Return a register's operation in the general form."""
    key, value = operation.key, operation.value
    guards: tuple[Guard, ...] = ()
    answers: tuple[Answer, ...] = (Answer(),)
    if operation.kind == "get":
        step = Step("range", key)
        pairs = () if value is None else (KeyValue(key, value, operation.mod_revision),)
        answers = (Answer(pairs, count=len(pairs)),)
    elif operation.kind == "delete":
        step = Step("delete", key)
    else:
        step = Step("put", key, value or "")
        if operation.kind == "cas":
            guards = (Guard(key, "mod", "=", operation.expected or 0),)
    is_ok = operation.outcome is Outcome.OK
    return Transaction(
        client=operation.client,
        called=operation.called,
        returned=operation.returned,
        outcome=operation.outcome,
        then=(step,),
        guards=guards,
        succeeded=True if is_ok else None,
        answers=answers if is_ok else (),
        revision=operation.revision,
        error=operation.error,
    )


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _guard(compare: rpc_pb2.Compare) -> Guard:
    operand: int | str
    match TARGETS[compare.target]:
        case "version":
            operand = compare.version
        case "create":
            operand = compare.create_revision
        case "mod":
            operand = compare.mod_revision
        case "lease":
            operand = compare.lease
        case _:
            operand = _text(compare.value)
    return Guard(
        _text(compare.key), TARGETS[compare.target], COMPARISONS[compare.result], operand, _text(compare.range_end)
    )


def _step(op: rpc_pb2.RequestOp) -> Step:
    match op.WhichOneof("request"):
        case "request_put":
            put = op.request_put
            return Step("put", _text(put.key), _text(put.value), lease=put.lease, with_previous=put.prev_kv)
        case "request_delete_range":
            delete = op.request_delete_range
            return Step("delete", _text(delete.key), end_key=_text(delete.range_end), with_previous=delete.prev_kv)
        case "request_range":
            ask = op.request_range
            target = ("key", "version", "create", "mod", "value")[ask.sort_target]
            return Step(
                "range", _text(ask.key), end_key=_text(ask.range_end), limit=ask.limit, revision=ask.revision,
                count_only=ask.count_only, keys_only=ask.keys_only,
                order=("-" + target if ask.sort_order == rpc_pb2.RangeRequest.DESCEND
                       else "" if target == "key" else target),
            )  # fmt: skip
        case other:
            raise ValueError(f"no checker understands {other} inside a transaction")


def _answer(op: rpc_pb2.ResponseOp) -> Answer:
    match op.WhichOneof("response"):
        case "response_range":
            found = op.response_range
            return Answer(_pairs(found.kvs), found.count, found.more)
        case "response_delete_range":
            deleted = op.response_delete_range
            return Answer(_pairs(deleted.prev_kvs), deleted.deleted)
        case _:
            done = op.response_put
            return Answer(_pairs([done.prev_kv]) if done.HasField("prev_kv") else ())


def _pairs(pairs: Iterable[kv_pb2.KeyValue]) -> tuple[KeyValue, ...]:
    return tuple(
        KeyValue(
            _text(pair.key), _text(pair.value), pair.mod_revision, pair.create_revision, pair.version, pair.lease
        )
        for pair in pairs
    )  # fmt: skip
