"""Range with all its options: newest or past revisions, limit, order, revision filters, keys or count only.

Stored bytes go into the answer as they are; a KeyValue is decoded only where a filter or an order looks into it.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from kvstore.mvcc import errors, layout, wire
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.history import changed_since, version_at
from kvstore.mvcc.working import Working
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.pb.rpc_pb2 import RangeRequest
from kvstore.storage.port import View

__all__ = ["Found", "Pieces", "Tail", "find", "find_if_short", "is_in_key_order", "read_in_pieces", "read_range"]

_SORT_VALUES: dict[int, Callable[[KeyValue], Any]] = {
    RangeRequest.VERSION: lambda pair: pair.version,
    RangeRequest.CREATE: lambda pair: pair.create_revision,
    RangeRequest.MOD: lambda pair: pair.mod_revision,
    RangeRequest.VALUE: lambda pair: pair.value,
}


SHORT_KEYS = 500  # about a millisecond
PIECE_KEYS = 100


@dataclass(frozen=True, slots=True)
class Tail:
    """What ends an answer that was read in pieces."""

    encoded: bytes


Pieces = Generator[bytes | Tail, None, None]


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to Range: encoded KeyValues, how many keys the range holds, and whether the limit cut some off."""

    pairs: list[bytes]
    count: int
    more: bool

    def body(self) -> bytes:
        """Return the encoded RangeResponse without its header."""
        parts = [part for pair in self.pairs for part in (b"\x12", wire.varint(len(pair)), pair)]
        if self.more:
            parts.append(b"\x18\x01")
        if self.count:
            parts.append(b"\x20" + wire.varint(self.count))
        return b"".join(parts)


def find(working: Working, request: RangeRequest) -> Found | Failure:
    """Answer a Range that has passed `checks.check_range`; refuse compacted and future revisions."""
    revision = request.revision
    if revision > working.revision:
        return errors.FUTURE_REVISION
    if 0 < revision < working.compacted:
        return errors.COMPACTED
    past = 0 < revision < working.seen_revision
    key, range_end = request.key, request.range_end
    if not range_end and not _filtered(request):
        return _find_one(working, key, revision if past else 0, request)
    start, end = layout.bounds(key, range_end)
    if past:
        return _find_past(working, start, end, request)
    return _find_newest(working, start, end, request)


def read_range(working: Working, request: RangeRequest) -> tuple[bytes, Failure | None]:
    """Return the encoded RangeResponse without its header, or why not."""
    found = find(working, request)
    return (b"", found) if isinstance(found, Failure) else (found.body(), None)


def is_in_key_order(request: RangeRequest) -> bool:
    """Tell whether the answer is the newest versions of a range as a scan finds them: it can be made piece by piece."""
    return bool(
        request.range_end
        and request.revision <= 0
        and not request.count_only
        and not _filtered(request)
        and request.sort_target == RangeRequest.KEY
        and request.sort_order != RangeRequest.DESCEND
    )


def find_if_short(working: Working, request: RangeRequest) -> Found | None:
    """Answer a range `is_in_key_order`; None when it holds so many keys that it is better answered in pieces."""
    if 0 < request.limit <= SHORT_KEYS:
        return _find_newest(working, *layout.bounds(request.key, request.range_end), request)
    start, end = layout.bounds(request.key, request.range_end)
    pairs = [pair for _, pair in islice(working.transaction.scan(layout.CURRENT, start, end), SHORT_KEYS + 1)]
    return None if len(pairs) > SHORT_KEYS else _arrange(pairs, request)


def read_in_pieces(view: View, request: RangeRequest) -> Pieces:
    """Yield a range `is_in_key_order` as encoded RangeResponse.kvs, PIECE_KEYS or so at a time (b"" when past the limit).

    The last item is the rest of the RangeResponse: more and count.
    """
    start, end = layout.bounds(request.key, request.range_end)
    count, piece = 0, list[bytes]()
    limit = request.limit if request.limit > 0 else None
    for _, pair in view.scan(layout.CURRENT, start, end):
        count += 1
        if limit is None or count <= limit:
            shown = _without_value(pair) if request.keys_only else pair
            piece += (b"\x12", wire.varint(len(shown)), shown)
        if not count % PIECE_KEYS:
            yield b"".join(piece)
            piece = []
    if piece:
        yield b"".join(piece)
    more = b"\x18\x01" if limit is not None and count > limit else b""
    yield Tail(more + (b"\x20" + wire.varint(count) if count else b""))


def _filtered(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _find_one(working: Working, key: bytes, past_revision: int, request: RangeRequest) -> Found:
    if past_revision:
        pair = version_at(working.transaction, key, past_revision)
    else:
        pair = working.transaction.get(layout.CURRENT, key)
    if pair is None:
        return Found([], 0, False)
    if request.count_only:
        return Found([], 1, False)
    return Found([_without_value(pair)] if request.keys_only else [pair], 1, False)


def _find_newest(working: Working, start: bytes, end: bytes | None, request: RangeRequest) -> Found:
    transaction = working.transaction
    if request.count_only:
        return Found([], transaction.count(layout.CURRENT, start, end), False)
    backward = request.sort_order == RangeRequest.DESCEND and request.sort_target == RangeRequest.KEY
    pairs = (pair for _, pair in transaction.scan(layout.CURRENT, start, end, reverse=backward))
    if not _cut_early(request):
        return _arrange(list(pairs), request)
    taken = list(islice(pairs, request.limit + 1))
    count = len(taken) if len(taken) <= request.limit else transaction.count(layout.CURRENT, start, end)
    return _arrange(taken, request, count)


def _find_past(working: Working, start: bytes, end: bytes | None, request: RangeRequest) -> Found:
    changed = changed_since(working.transaction, start, end, request.revision, working.seen_revision)
    backward = request.sort_order == RangeRequest.DESCEND and request.sort_target == RangeRequest.KEY
    transaction = working.transaction
    if request.count_only or _cut_early(request):
        unchanged = transaction.count(layout.CURRENT, start, end) - sum(
            transaction.get(layout.CURRENT, key) is not None for key in changed
        )
        count = unchanged + sum(pair is not None for pair in changed.values())
        if request.count_only:
            return Found([], count, False)
        return _arrange(list(islice(_past_pairs(working, start, end, changed, backward), request.limit + 1)), request, count)
    return _arrange(list(_past_pairs(working, start, end, changed, backward)), request)


def _past_pairs(
    working: Working, start: bytes, end: bytes | None, changed: dict[bytes, bytes | None], backward: bool
) -> Iterator[bytes]:
    newest = working.transaction.scan(layout.CURRENT, start, end, reverse=backward)
    kept = (item for item in newest if item[0] not in changed)
    former = sorted(((key, pair) for key, pair in changed.items() if pair is not None), reverse=backward)
    for _, pair in merge(kept, former, key=lambda item: item[0], reverse=backward):
        yield pair


def _cut_early(request: RangeRequest) -> bool:
    """Whether the limit may cut the scan: what is taken first is what the answer shows first.

    Without an order but with a target other than the key, etcd cuts in key order and sorts what is left.
    """
    by_key = request.sort_target == RangeRequest.KEY or request.sort_order == RangeRequest.NONE
    return request.limit > 0 and by_key and not _filtered(request)


def _arrange(pairs: list[bytes], request: RangeRequest, count: int | None = None) -> Found:
    """Filter, sort, cut and strip `pairs`, which are in key order (backward when that is what was asked)."""
    total = len(pairs) if count is None else count
    if _filtered(request):
        pairs = list(_within_revisions(pairs, request))
    value_of = _SORT_VALUES.get(request.sort_target)
    if value_of is not None:
        decoded = [(value_of(KeyValue.FromString(pair)), pair) for pair in pairs]
        decoded.sort(key=lambda item: item[0], reverse=request.sort_order == RangeRequest.DESCEND)
        pairs = [pair for _, pair in decoded]
    more = 0 < request.limit < len(pairs)
    if more:
        pairs = pairs[: request.limit]
    if request.keys_only:
        pairs = [_without_value(pair) for pair in pairs]
    return Found(pairs, total, more)


def _within_revisions(pairs: Iterable[bytes], request: RangeRequest) -> Iterator[bytes]:
    unbounded = 1 << 63
    max_mod, max_create = request.max_mod_revision or unbounded, request.max_create_revision or unbounded
    min_mod, min_create = request.min_mod_revision or -unbounded, request.min_create_revision or -unbounded
    for encoded in pairs:
        pair = KeyValue.FromString(encoded)
        if min_mod <= pair.mod_revision <= max_mod and min_create <= pair.create_revision <= max_create:
            yield encoded


def _without_value(encoded: bytes) -> bytes:
    pair = KeyValue.FromString(encoded)
    pair.ClearField("value")
    return pair.SerializeToString()
