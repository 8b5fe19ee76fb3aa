"""Txn: compare, then run one branch; all of its writes share one revision.

All comparisons, those of nested transactions included, see the state before the first write. Nothing is written
before every operation of the branches taken has been checked, so a refused Txn leaves no trace.
"""

from collections.abc import Iterator

from kvstore.mvcc import errors, layout, wire, writes
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.ranges import read_range
from kvstore.mvcc.working import Working
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.pb.rpc_pb2 import Compare, RangeRequest, RequestOp, TxnRequest

__all__ = ["run_txn"]

_ABSENT = KeyValue()


def run_txn(working: Working, request: TxnRequest) -> tuple[bytes, Failure | None]:
    """Run a Txn that has passed `checks.check_txn`; return the encoded TxnResponse without its header, or why not."""
    path = _choose(working, request)
    operations = list(_operations(request, iter(path)))
    for operation in operations:
        if operation.HasField("request_put"):
            failure = writes.refuse_put(working, operation.request_put, in_txn=True)
            if failure is not None:
                return b"", failure
    for operation in operations:
        if operation.HasField("request_range"):
            failure = _refuse_range(working, operation.request_range)
            if failure is not None:
                return b"", failure
    return _run(working, request, iter(path)), None


def _choose(working: Working, request: TxnRequest) -> list[bool]:
    """Return which branch is taken, by this transaction first, then by each nested one of that branch in order."""
    succeeded = all(_holds(working, compare) for compare in request.compare)
    path = [succeeded]
    for operation in request.success if succeeded else request.failure:
        if operation.HasField("request_txn"):
            path += _choose(working, operation.request_txn)
    return path


def _operations(request: TxnRequest, path: Iterator[bool]) -> Iterator[RequestOp]:
    for operation in request.success if next(path) else request.failure:
        if operation.HasField("request_txn"):
            yield from _operations(operation.request_txn, path)
        else:
            yield operation


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


def _run(working: Working, request: TxnRequest, path: Iterator[bool]) -> bytes:
    succeeded = next(path)
    parts = [b"\x10\x01"] if succeeded else []
    for operation in request.success if succeeded else request.failure:
        parts.append(wire.message_field(b"\x1a", _run_operation(working, operation, path)))
    return b"".join(parts)


def _run_operation(working: Working, operation: RequestOp, path: Iterator[bool]) -> bytes:
    """Return the encoded ResponseOp. The header of an operation carries the revision alone, a nested Txn's nothing."""
    if operation.HasField("request_range"):
        seen = working.seen_revision
        body, failure = read_range(working, operation.request_range)
        assert failure is None, "ranges are checked before the first write"
        return wire.message_field(b"\x0a", _header(seen) + body)
    if operation.HasField("request_put"):
        body = writes.put(working, operation.request_put)
        return wire.message_field(b"\x12", _header(working.seen_revision) + body)
    if operation.HasField("request_delete_range"):
        body = writes.delete_range(working, operation.request_delete_range)
        return wire.message_field(b"\x1a", _header(working.seen_revision) + body)
    return wire.message_field(b"\x22", b"\x0a\x00" + _run(working, operation.request_txn, path))


def _header(revision: int) -> bytes:
    return wire.message_field(b"\x0a", wire.number_field(b"\x18", revision))
