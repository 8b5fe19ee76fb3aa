"""Txn: compare, then run one branch; all of its writes share one revision.

All comparisons, those of nested transactions included, see the state before the first write. Nothing is written
before every operation of the branches taken has been checked, so a refused Txn leaves no trace.
"""

from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple

from kvstore.mvcc import errors, layout, wire, writes
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.history import closing
from kvstore.mvcc.long_ranges import Tail, read_in_pieces
from kvstore.mvcc.ranges import is_long, read_range
from kvstore.mvcc.working import Outcome, Working
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.pb.rpc_pb2 import Compare, RangeRequest, TxnRequest
from kvstore.storage.port import View

__all__ = ["read_txn", "run_txn"]

PUT: Final = "request_put"
RANGE: Final = "request_range"
DELETE_RANGE: Final = "request_delete_range"
TXN: Final = "request_txn"
_ABSENT = KeyValue()


class _Branch(NamedTuple):
    """The branch that a transaction takes: whether its comparisons held, and its operations.

    Each is its kind, its request, and the branch of a nested transaction.
    """

    succeeded: bool
    operations: list[tuple[str, Any, "_Branch | None"]]


def run_txn(working: Working, request: TxnRequest) -> tuple[bytes, Failure | None]:
    """Run a Txn that has passed `checks.check_txn`; return the encoded TxnResponse without its header, or why not."""
    branch = _choose(working, request)
    failure = _refuse(working, branch, PUT) or _refuse(working, branch, RANGE)
    return (b"", failure) if failure is not None else (_run(working, branch), None)


def read_txn(working: Working, request: TxnRequest, view: Callable[[], View]) -> Outcome | Generator[Outcome | None, None, None]:
    """Run a Txn that only reads. One with long ranges is read from `view()` in steps, which yield the outcome last."""
    branch = _choose(working, request)
    failure = _refuse(working, branch, RANGE)
    if failure is not None or not _is_long(working, branch):
        return Outcome(working.revision, b"" if failure is not None else _run(working, branch), failure)
    revision = working.revision

    def steps(view: View) -> Generator[Outcome | None, None, None]:
        body = yield from _read(view, branch, revision)
        yield Outcome(revision, body)

    return closing(view(), steps)


def _is_long(working: Working, branch: _Branch) -> bool:
    return any(
        is_long(working, request) if nested is None else _is_long(working, nested)
        for _, request, nested in branch.operations
    )


def _read(view: View, branch: _Branch, revision: int) -> Generator[None, None, bytes]:
    """Return what `_run` does, of a branch that only reads, as of `revision`, that of the view."""
    parts = [b"\x10\x01"] if branch.succeeded else []
    for _, request, nested in branch.operations:
        if nested is not None:
            body = yield from _read(view, nested, revision)
            found = wire.message_field(b"\x22", b"\x0a\x00" + body)
        else:
            pieces = [_header(revision)]
            for piece in read_in_pieces(view, request, revision):
                pieces.append(piece.encoded if isinstance(piece, Tail) else piece)
                yield None
            found = wire.message_field(b"\x0a", b"".join(pieces))
        parts.append(wire.message_field(b"\x1a", found))
    return b"".join(parts)


def _choose(working: Working, request: TxnRequest) -> _Branch:
    """Return the branch that is taken, and those of the transactions nested in it. Each operation is looked into once."""
    succeeded = all(_holds(working, compare) for compare in request.compare)
    operations: list[tuple[str, Any, _Branch | None]] = []
    for operation in request.success if succeeded else request.failure:
        kind = operation.WhichOneof("request")
        if kind == PUT:
            operations.append((PUT, operation.request_put, None))
        elif kind == RANGE:
            operations.append((RANGE, operation.request_range, None))
        elif kind == DELETE_RANGE:
            operations.append((DELETE_RANGE, operation.request_delete_range, None))
        else:
            operations.append((TXN, None, _choose(working, operation.request_txn)))
    return _Branch(succeeded, operations)


def _refuse(working: Working, branch: _Branch, kind: str) -> Failure | None:
    """Return why one of the operations of this kind cannot be done."""
    for known, request, nested in branch.operations:
        failure = None
        if nested is not None:
            failure = _refuse(working, nested, kind)
        elif known == kind:
            failure = writes.refuse_put(working, request, in_txn=True) if kind == PUT else _refuse_range(working, request)
        if failure is not None:
            return failure
    return None


def _refuse_range(working: Working, request: RangeRequest) -> Failure | None:
    if request.revision > working.revision:
        return errors.FUTURE_REVISION
    if request.revision and request.revision < (working.compacted or -1):
        return errors.COMPACTED
    return None


def _holds(working: Working, compare: Compare) -> bool:
    if not compare.range_end:
        stored = working.transaction.get(layout.CURRENT, compare.key)
        pairs = [] if stored is None else [stored]
    else:
        start, end = layout.bounds(compare.key, compare.range_end)
        pairs = [pair for _, pair in working.transaction.scan(layout.CURRENT, start, end)]
    if not pairs:  # a value that is not there compares with nothing, numbers that are not there are zero
        return compare.target != Compare.VALUE and _compare_one(compare, _ABSENT)
    return all(_compare_one(compare, KeyValue.FromString(pair)) for pair in pairs)


def _compare_one(compare: Compare, pair: KeyValue) -> bool:
    target = compare.target
    order: int
    if target == Compare.VALUE:
        order = (pair.value > compare.value) - (pair.value < compare.value)
    else:
        there, wanted = {
            Compare.VERSION: (pair.version, compare.version),
            Compare.CREATE: (pair.create_revision, compare.create_revision),
            Compare.MOD: (pair.mod_revision, compare.mod_revision),
            Compare.LEASE: (pair.lease, compare.lease),
        }.get(target, (0, 0))
        order = (there > wanted) - (there < wanted)
    return {
        Compare.EQUAL: order == 0,
        Compare.NOT_EQUAL: order != 0,
        Compare.GREATER: order > 0,
        Compare.LESS: order < 0,
    }.get(compare.result, True)


def _run(working: Working, branch: _Branch) -> bytes:
    parts = [b"\x10\x01"] if branch.succeeded else []
    for kind, request, nested in branch.operations:
        parts.append(wire.message_field(b"\x1a", _run_operation(working, kind, request, nested)))
    return b"".join(parts)


def _run_operation(working: Working, kind: str, request: Any, nested: _Branch | None) -> bytes:
    """Return the encoded ResponseOp. The header of an operation carries the revision alone, a nested Txn's nothing."""
    if nested is not None:
        return wire.message_field(b"\x22", b"\x0a\x00" + _run(working, nested))
    if kind == PUT:
        body = writes.put(working, request)
        return wire.message_field(b"\x12", _header(working.seen_revision) + body)
    if kind == DELETE_RANGE:
        body = writes.delete_range(working, request)
        return wire.message_field(b"\x1a", _header(working.seen_revision) + body)
    seen = working.seen_revision
    body, failure = read_range(working, request)
    assert failure is None, "ranges are checked before the first write"
    return wire.message_field(b"\x0a", _header(seen) + body)


def _header(revision: int) -> bytes:
    return wire.message_field(b"\x0a", wire.number_field(b"\x18", revision))
