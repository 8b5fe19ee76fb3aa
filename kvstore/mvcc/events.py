"""The past as events, for watchers that catch up."""

from collections.abc import Iterator
from itertools import groupby

from kvstore.mvcc import layout
from kvstore.mvcc.history import version_at, written_at
from kvstore.mvcc.working import Change
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.storage.port import View

__all__ = ["Past", "read_events"]

Past = tuple[int, tuple[tuple[bool, bytes], ...]]


def read_events(view: View, first: int, last: int) -> Iterator[Past]:
    """Yield (revision, ((is_delete, key), ...)) of the revisions `first` to `last`, in order.

    Revisions below the compacted one are gone: the caller checks. Names only: `load` fetches what a watcher wants.
    """
    entries = view.scan(layout.EVENTS, layout.revision_key(first), layout.revision_key(last + 1))
    for revision, group in groupby(entries, key=lambda entry: layout.event_revision(entry[0])):
        yield revision, tuple((stored[:1] == layout.KIND_DELETE, stored[1:]) for _, stored in group)


def load(view: View, revision: int, is_delete: bool, key: bytes, with_previous_above: int | None) -> Change:
    """Return the change of `key` at `revision`.

    `with_previous_above` is the compacted revision when the version before is wanted, None when it is not. It is left
    out where it is compacted, and of a put that created the key.
    """
    key_value = KeyValue(key=key, mod_revision=revision).SerializeToString() if is_delete else None
    is_creation = False
    if key_value is None:
        key_value = written_at(view, key, revision)
        assert key_value is not None, "a put event without its version"
        is_creation = KeyValue.FromString(key_value).version == 1
    previous = None
    if with_previous_above is not None and revision - 1 >= with_previous_above and not is_creation:
        previous = version_at(view, key, revision - 1)
    return Change(is_delete, key, key_value, previous)
