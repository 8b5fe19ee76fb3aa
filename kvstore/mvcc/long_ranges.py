"""Ranges that take long, read from a view piece by piece, so that nobody waits for the whole of one.

The answer is that of `ranges.find`, whatever the options: past revisions, orders, filters, counts. What is drawn from the
generators here is a step of at most STEP_ROWS rows; None, or b"" in an answer, says that there is nothing to show for it yet.
Sorting is done in runs of RUN_ROWS that are merged as they are read.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Any, TypeVar

from kvstore.mvcc import layout, wire
from kvstore.mvcc.history import names_changed_since, version_at
from kvstore.mvcc.ranges import SORT_VALUES, is_cut_early, is_filtered, within_revisions, without_value
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.pb.rpc_pb2 import RangeRequest
from kvstore.storage.port import View

__all__ = ["Pieces", "Tail", "read_in_pieces"]

STEP_ROWS = 100
RUN_ROWS = 2000  # sorted at once: half a millisecond

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Work = Generator[bytes, None, _Result]  # yields b"" where it may be interrupted


@dataclass(frozen=True, slots=True)
class Tail:
    """What ends an answer that was read in pieces."""

    encoded: bytes


Pieces = Generator[bytes | Tail, None, None]


def read_in_pieces(view: View, request: RangeRequest, newest: int) -> Pieces:
    """Yield the answer to a Range as encoded RangeResponse.kvs, STEP_ROWS or so at a time; b"" while there are none.

    The last item is the rest of the RangeResponse: more and count. `newest` is the revision of the view; the request's own
    is not compacted and not of the future.
    """
    start, end = layout.bounds(request.key, request.range_end)
    if 0 < request.revision < newest:
        former = yield from _changed(view, start, end, request.revision, newest)
        rows = _past_rows(view, start, end, former, backward=_is_backward(request))
    elif request.count_only:
        rows = view.keys(layout.CURRENT, start, end)
    else:
        rows = (pair for _, pair in view.scan(layout.CURRENT, start, end, reverse=_is_backward(request)))
    if request.count_only:
        yield from _count(rows)
    elif request.sort_target in SORT_VALUES:
        yield from _ordered(rows, request)
    else:
        yield from _in_turn(rows, request)


def _is_backward(request: RangeRequest) -> bool:
    return request.sort_order == RangeRequest.DESCEND and request.sort_target == RangeRequest.KEY


# ---- the past -------------------------------------------------------------------------------------------------------


def _changed(view: View, start: bytes, end: bytes | None, revision: int, newest: int) -> _Work[dict[bytes, bytes | None]]:
    """Return the keys that changed after `revision`, each with its version as of then (None: not alive)."""
    changed: dict[bytes, bytes | None] = {}
    for number, key in enumerate(names_changed_since(view, start, end, revision, newest)):
        if key is not None and key not in changed:
            changed[key] = version_at(view, key, revision)
        if not number % STEP_ROWS:
            yield b""
    return changed


def _past_rows(
    view: View, start: bytes, end: bytes | None, changed: dict[bytes, bytes | None], *, backward: bool
) -> Iterator[bytes | None]:
    """Yield what was there then, in key order: what has not changed since, among it the versions of what has."""
    former = _sorted(changed.items(), lambda item: item[0], reverse=backward)
    waiting: tuple[bytes, bytes | None] | None = None
    for waiting in former:
        if waiting is not None:
            break
        yield None
    for key, pair in view.scan(layout.CURRENT, start, end, reverse=backward):
        while waiting is not None and (waiting[0] > key if backward else waiting[0] < key):
            yield waiting[1]
            waiting = next(former, None)
        yield None if key in changed else pair
    while waiting is not None:
        yield waiting[1]
        waiting = next(former, None)


def _sorted(items: Iterable[_Item], value_of: Callable[[_Item], Any], *, reverse: bool) -> Iterator[_Item | None]:
    """Yield `items` in order, stable; None while they are being sorted."""
    runs: list[list[_Item]] = []
    for item in items:
        if not runs or len(runs[-1]) >= RUN_ROWS:
            if runs:
                runs[-1].sort(key=value_of, reverse=reverse)
                yield None
            runs.append([])
        runs[-1].append(item)
    if runs:
        runs[-1].sort(key=value_of, reverse=reverse)
    yield from merge(*runs, key=value_of, reverse=reverse)


# ---- the answer -----------------------------------------------------------------------------------------------------


def _count(rows: Iterable[bytes | None]) -> Pieces:
    count = 0
    for number, row in enumerate(rows):
        count += row is not None
        if not number % STEP_ROWS:
            yield b""
    yield _tail(count, more=False)


def _in_turn(rows: Iterable[bytes | None], request: RangeRequest) -> Pieces:
    """Show the rows as they come."""
    count = shown = 0
    piece: list[bytes] = []
    limit = request.limit if request.limit > 0 else None
    has_filter = is_filtered(request)
    for number, row in enumerate(rows):
        if row is not None:
            count += 1
            if not has_filter or within_revisions(row, request):
                shown += 1
                if limit is None or shown <= limit:
                    piece += _field(row, request)
        if not number % STEP_ROWS:
            yield b"".join(piece)
            piece = []
    yield b"".join(piece)
    yield _tail(count, more=limit is not None and shown > limit)


def _ordered(rows: Iterable[bytes | None], request: RangeRequest) -> Pieces:
    """Show the rows in the order that was asked for, when all of them are known.

    Where etcd cuts before it sorts, one row more than the limit is sorted with the others.
    """
    count = 0
    found: list[tuple[Any, bytes]] = []
    limit = request.limit if request.limit > 0 else None
    most = request.limit + 1 if is_cut_early(request) else None
    value_of, has_filter = SORT_VALUES[request.sort_target], is_filtered(request)
    for number, row in enumerate(rows):
        if row is not None:
            count += 1
            if (most is None or len(found) < most) and (not has_filter or within_revisions(row, request)):
                found.append((value_of(KeyValue.FromString(row)), row))
        if not number % STEP_ROWS:
            yield b""
    shown, piece = 0, list[bytes]()
    for item in _sorted(found, lambda item: item[0], reverse=request.sort_order == RangeRequest.DESCEND):
        if item is None:
            yield b""
            continue
        if shown == limit:
            break
        shown += 1
        piece += _field(item[1], request)
        if not shown % STEP_ROWS:
            yield b"".join(piece)
            piece = []
    yield b"".join(piece)
    yield _tail(count, more=limit is not None and len(found) > limit)


def _field(pair: bytes, request: RangeRequest) -> tuple[bytes, bytes, bytes]:
    shown = without_value(pair) if request.keys_only else pair
    return b"\x12", wire.varint(len(shown)), shown


def _tail(count: int, *, more: bool) -> Tail:
    return Tail((b"\x18\x01" if more else b"") + (b"\x20" + wire.varint(count) if count else b""))
