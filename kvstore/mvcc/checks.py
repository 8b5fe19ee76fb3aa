"""What is wrong with a request whatever the state: done once, by the member that takes it, before it is proposed."""

from collections.abc import Iterable, Sequence

from kvstore.mvcc import errors
from kvstore.mvcc.errors import Failure
from kvstore.pb.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

__all__ = ["check_delete_range", "check_put", "check_range", "check_txn", "is_plain_get", "is_read_only"]

MAX_TXN_OPERATIONS = 128

_SORT_ORDERS = frozenset(RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(RangeRequest.SortTarget.values())


def check_range(request: RangeRequest) -> Failure | None:
    """Return what is wrong with a Range."""
    if not request.key:
        return errors.KEY_NOT_PROVIDED
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        return errors.INVALID_SORT_OPTION
    return None


def is_plain_get(request: RangeRequest) -> bool:
    """Tell whether a Range asks for the newest version of one key, whole: the cheapest and most frequent of reads."""
    return not (
        request.range_end
        or request.revision > 0
        or request.count_only
        or request.keys_only
        or request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def check_put(request: PutRequest) -> Failure | None:
    """Return what is wrong with a Put."""
    if not request.key:
        return errors.KEY_NOT_PROVIDED
    if request.ignore_value and request.value:
        return errors.VALUE_PROVIDED
    if request.ignore_lease and request.lease:
        return errors.LEASE_PROVIDED
    return None


def check_delete_range(request: DeleteRangeRequest) -> Failure | None:
    """Return what is wrong with a DeleteRange."""
    return None if request.key else errors.KEY_NOT_PROVIDED


def check_txn(request: TxnRequest, max_operations: int = MAX_TXN_OPERATIONS) -> Failure | None:
    """Return what is wrong with a Txn: its size, its operations, or keys that it would change twice."""
    return _check_operations(request, max_operations) or _check_branches(request)


def _check_operations(request: TxnRequest, max_operations: int) -> Failure | None:
    count = max(len(request.compare), len(request.success), len(request.failure))
    if count > max_operations:
        return errors.TOO_MANY_OPERATIONS
    if any(not compare.key for compare in request.compare):
        return errors.KEY_NOT_PROVIDED
    for branch in (request.success, request.failure):
        for operation in branch:
            failure = _check_operation(operation, max_operations - count)
            if failure is not None:
                return failure
    return None


def _check_operation(operation: RequestOp, operations_left: int) -> Failure | None:
    kind = operation.WhichOneof("request")
    if kind == "request_put":
        return check_put(operation.request_put)
    if kind == "request_range":
        return check_range(operation.request_range)
    if kind == "request_delete_range":
        return check_delete_range(operation.request_delete_range)
    if kind == "request_txn":
        return _check_operations(operation.request_txn, operations_left)
    return errors.KEY_NOT_FOUND  # etcd's answer to an empty operation


def _check_branches(request: TxnRequest) -> Failure | None:
    for branch in (request.success, request.failure):
        if isinstance(_touched(branch), Failure):
            return errors.DUPLICATE_KEY
    return None


class _Intervals:
    """What a branch deletes, as etcd's check sees it: a range that goes up to the last key does not count.

    So a Txn may delete everything from a key on and put one of those keys too; the order of its operations decides.
    """

    def __init__(self) -> None:
        self._points: set[bytes] = set()
        self._ranges: list[tuple[bytes, bytes]] = []

    def add(self, key: bytes, range_end: bytes) -> None:
        if range_end:
            self._ranges.append((key, range_end))
        else:
            self._points.add(key)

    def add_all(self, other: "_Intervals") -> None:
        self._points |= other._points
        self._ranges += other._ranges

    def cover(self, key: bytes) -> bool:
        return key in self._points or any(start <= key < end for start, end in self._ranges)


def _touched(branch: Sequence[RequestOp]) -> tuple[set[bytes], _Intervals] | Failure:
    """Return the keys that a branch puts and the ranges it deletes, or Failure when some key would change twice.

    etcd's order of looking, which decides what passes: this level's deletes, then each nested transaction against what
    was collected so far, then this level's puts. The two branches of one transaction exclude each other.
    """
    puts: set[bytes] = set()
    deletes = _Intervals()
    for operation in branch:
        if operation.HasField("request_delete_range"):
            deletes.add(operation.request_delete_range.key, operation.request_delete_range.range_end)
    for operation in branch:
        if operation.HasField("request_txn"):
            failure = _join_nested(operation.request_txn, puts, deletes)
            if failure is not None:
                return failure
    own = [operation.request_put.key for operation in branch if operation.HasField("request_put")]
    if not _disjoint(own, puts, deletes) or len(set(own)) != len(own):
        return errors.DUPLICATE_KEY
    puts.update(own)
    return puts, deletes


def _join_nested(request: TxnRequest, puts: set[bytes], deletes: _Intervals) -> Failure | None:
    success, failure = _touched(request.success), _touched(request.failure)
    if isinstance(success, Failure) or isinstance(failure, Failure):
        return errors.DUPLICATE_KEY
    nested = success[0] | failure[0]
    if not _disjoint(nested, puts, deletes):
        return errors.DUPLICATE_KEY
    puts |= nested
    deletes.add_all(success[1])
    deletes.add_all(failure[1])
    return None


def _disjoint(keys: Iterable[bytes], puts: set[bytes], deletes: _Intervals) -> bool:
    return not any(key in puts or deletes.cover(key) for key in keys)


def is_read_only(request: TxnRequest) -> bool:
    """Tell whether a Txn changes nothing: it need not go through the log."""
    return all(
        operation.HasField("request_range") or (operation.HasField("request_txn") and is_read_only(operation.request_txn))
        for branch in (request.success, request.failure)
        for operation in branch
    )
