"""Reads of the past: a key, or a range of keys, as of an older revision that is not compacted."""

from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from kvstore.mvcc import layout
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.storage.port import View

__all__ = ["changed_since", "closing", "names_changed_since", "version_at", "written_at"]

_Item = TypeVar("_Item")
MAX_EVENTS_READ_BACK = 10_000  # beyond it, looking at every key of the range is cheaper than reading the events


def version_at(view: View, key: bytes, revision: int) -> bytes | None:
    """Return the encoded KeyValue of `key` as of `revision`, None when it was not alive."""
    newest = view.get(layout.CURRENT, key)
    if newest is not None and KeyValue.FromString(newest).mod_revision <= revision:
        return newest
    owner = layout.escape(key)
    found = view.last(layout.HISTORY, owner, owner + layout.revision_key(revision) + layout.AFTER_KINDS)
    return found[1] or None if found is not None else None


def written_at(view: View, key: bytes, revision: int) -> bytes | None:
    """Return the encoded KeyValue that a put wrote at exactly `revision`."""
    superseded = view.get(layout.HISTORY, layout.history_key(key, revision, layout.KIND_PUT))
    return superseded if superseded is not None else view.get(layout.CURRENT, key)


def changed_since(
    view: View, start: bytes, end: bytes | None, revision: int, newest: int
) -> dict[bytes, bytes | None]:
    """Return the keys of the range that changed after `revision`, each with its version as of then (None: not alive)."""
    names = {key for key in names_changed_since(view, start, end, revision, newest) if key is not None}
    return {key: version_at(view, key, revision) for key in names}


def names_changed_since(
    view: View, start: bytes, end: bytes | None, revision: int, newest: int
) -> Iterator[bytes | None]:
    """Yield the keys of the range that changed after `revision`, some twice; None for a row that names none.

    `newest` is the store's revision: when few revisions lie between, their events name the keys; else every key and
    every superseded version of the range is looked at.
    """
    names = _named_by_events if newest - revision <= MAX_EVENTS_READ_BACK else _found_by_search
    return names(view, start, end, revision)


def _named_by_events(view: View, start: bytes, end: bytes | None, revision: int) -> Iterator[bytes | None]:
    for _, stored in view.scan(layout.EVENTS, layout.revision_key(revision + 1)):
        key = stored[1:]
        yield key if start <= key and (end is None or key < end) else None


def _found_by_search(view: View, start: bytes, end: bytes | None, revision: int) -> Iterator[bytes | None]:
    for key, stored in view.scan(layout.CURRENT, start, end):
        yield key if KeyValue.FromString(stored).mod_revision > revision else None
    last = None if end is None else layout.escape(end)
    for stored in view.keys(layout.HISTORY, layout.escape(start), last):
        is_later = layout.history_revision(stored) > revision
        yield layout.unescape(layout.history_owner(stored)) if is_later else None


def closing(view: View, work: Callable[[View], Generator[_Item, None, None]]) -> Generator[_Item, None, None]:
    """Yield what `work` yields, and close its view at the end, or when nobody wants more."""
    try:
        yield from work(view)
    finally:
        view.close()
