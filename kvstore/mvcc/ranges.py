"""Range with all its options: newest or past revisions, limit, order, revision filters, keys or count only.

Stored bytes go into the answer as they are; a KeyValue is decoded only where a filter or an order looks into it.
"""

from collections.abc import Callable, Iterator
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

__all__ = [
    "SORT_VALUES",
    "Found",
    "find",
    "is_cut_early",
    "is_filtered",
    "is_in_key_order",
    "is_long",
    "read_range",
    "within_revisions",
    "without_value",
]

SORT_VALUES: dict[int, Callable[[KeyValue], Any]] = {
    RangeRequest.VERSION: lambda pair: pair.version,
    RangeRequest.CREATE: lambda pair: pair.create_revision,
    RangeRequest.MOD: lambda pair: pair.mod_revision,
    RangeRequest.VALUE: lambda pair: pair.value,
}


SHORT_KEYS = 500  # about a millisecond


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
    if not range_end and not is_filtered(request):
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
        and not is_filtered(request)
        and request.sort_target == RangeRequest.KEY
        and request.sort_order != RangeRequest.DESCEND
    )


def is_long(working: Working, request: RangeRequest) -> bool:
    """Tell whether a range is better answered in pieces, because it holds many keys or so much has changed since."""
    if not request.range_end:
        return False
    if 0 < request.revision < working.seen_revision - SHORT_KEYS:
        return True
    start, end = layout.bounds(request.key, request.range_end)
    keys = working.transaction.keys(layout.CURRENT, start, end)
    return next(islice(keys, SHORT_KEYS, None), None) is not None


def is_filtered(request: RangeRequest) -> bool:
    """Tell whether revisions leave some keys out of an answer."""
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
    return Found([without_value(pair)] if request.keys_only else [pair], 1, False)


def _find_newest(working: Working, start: bytes, end: bytes | None, request: RangeRequest) -> Found:
    transaction = working.transaction
    if request.count_only:
        return Found([], transaction.count(layout.CURRENT, start, end), False)
    backward = request.sort_order == RangeRequest.DESCEND and request.sort_target == RangeRequest.KEY
    pairs = (pair for _, pair in transaction.scan(layout.CURRENT, start, end, reverse=backward))
    if not is_cut_early(request):
        return _arrange(list(pairs), request)
    taken = list(islice(pairs, request.limit + 1))
    count = len(taken) if len(taken) <= request.limit else transaction.count(layout.CURRENT, start, end)
    return _arrange(taken, request, count)


def _find_past(working: Working, start: bytes, end: bytes | None, request: RangeRequest) -> Found:
    changed = changed_since(working.transaction, start, end, request.revision, working.seen_revision)
    backward = request.sort_order == RangeRequest.DESCEND and request.sort_target == RangeRequest.KEY
    transaction = working.transaction
    if request.count_only or is_cut_early(request):
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


def is_cut_early(request: RangeRequest) -> bool:
    """Whether the limit may cut the scan: what is taken first is what the answer shows first.

    Without an order but with a target other than the key, etcd cuts in key order and sorts what is left.
    """
    by_key = request.sort_target == RangeRequest.KEY or request.sort_order == RangeRequest.NONE
    return request.limit > 0 and by_key and not is_filtered(request)


def _arrange(pairs: list[bytes], request: RangeRequest, count: int | None = None) -> Found:
    """Filter, sort, cut and strip `pairs`, which are in key order (backward when that is what was asked)."""
    total = len(pairs) if count is None else count
    if is_filtered(request):
        pairs = [pair for pair in pairs if within_revisions(pair, request)]
    value_of = SORT_VALUES.get(request.sort_target)
    if value_of is not None:
        decoded = [(value_of(KeyValue.FromString(pair)), pair) for pair in pairs]
        decoded.sort(key=lambda item: item[0], reverse=request.sort_order == RangeRequest.DESCEND)
        pairs = [pair for _, pair in decoded]
    more = 0 < request.limit < len(pairs)
    if more:
        pairs = pairs[: request.limit]
    if request.keys_only:
        pairs = [without_value(pair) for pair in pairs]
    return Found(pairs, total, more)


def within_revisions(encoded: bytes, request: RangeRequest) -> bool:
    """Tell whether a KeyValue passes the filters of a request."""
    pair = KeyValue.FromString(encoded)
    return (
        request.min_mod_revision <= pair.mod_revision
        and request.min_create_revision <= pair.create_revision
        and (not request.max_mod_revision or pair.mod_revision <= request.max_mod_revision)
        and (not request.max_create_revision or pair.create_revision <= request.max_create_revision)
    )


def without_value(encoded: bytes) -> bytes:
    """Return a KeyValue as keys_only shows it."""
    pair = KeyValue.FromString(encoded)
    pair.ClearField("value")
    return pair.SerializeToString()
