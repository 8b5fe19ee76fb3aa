"""OrderedStore: tables of ordered byte keys, one write transaction at a time, consistent read views.

The contract (one suite runs on every implementation, tests/kvstore/storage/test_ordered_store.py):
- Tables are fixed when the store is opened. Keys are non-empty bytes of any length, compared as unsigned bytes;
  values are bytes of any length. A range is `start <= key < end`; `end=None` means up to the last key.
- `begin()` opens the one write transaction; a second one before commit or abort is a bug (AssertionError). Reads
  through it see its own writes. Nothing else sees them until `commit`.
- `view()` is a consistent picture of what was committed when it was opened; later writes do not change it. Close it
  soon: the pages it holds cannot be reused.
- `commit(durable=True)` returns after the bytes are on the disk. `commit(durable=False)` may be undone, whole, by a
  power loss, and never leaves a damaged store; the next durable commit or `sync()` makes it last.
- An iterator from `scan` or `keys` must not be advanced after a write to the same table: take what you need first.
- `StoreFull` is raised by a write or a commit that finds no room; the transaction is then lost and must be aborted.
- A transaction belongs to the thread that began it. Views may be read by another thread than the writer's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

__all__ = ["OrderedStore", "Size", "StoreFull", "Transaction", "View"]


class StoreFull(Exception):
    """The map or the disk has no room: the transaction in hand must be aborted."""


class DamagedStore(OSError):
    """The files are not, or no longer, those of a store: damaged, or copied in part."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a store is, all in bytes."""

    allocated: int  # on disk
    used: int  # pages that hold data; the rest is reused by later writes
    limit: int  # what `allocated` may grow to: the map's size, or less where the disk has less room


class View(Protocol):
    """Reads. `table` is one of the names the store was opened with; another is a KeyError."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        ...

    def scan(
        self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of the range in key order, or from its end backwards."""
        ...

    def keys(self, table: str, start: bytes = b"", end: bytes | None = None) -> Iterator[bytes]:
        """Yield the keys of the range in order; cheaper than `scan` where values are large."""
        ...

    def count(self, table: str, start: bytes = b"", end: bytes | None = None) -> int:
        """Return how many keys the range holds."""
        ...

    def last(self, table: str, start: bytes = b"", end: bytes | None = None) -> tuple[bytes, bytes] | None:
        """Return the last (key, value) of the range, or None when it is empty."""
        ...

    def close(self) -> None:
        """Let go of the view; twice is harmless. An open iterator of it ends there."""
        ...


class Transaction(View, Protocol):
    """The one write transaction. After `commit` or `abort` it must not be used; `close()` is `abort()`."""

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set `key`; a former value is replaced."""
        ...

    def append(self, table: str, key: bytes, value: bytes) -> None:
        """Set `key`, which is greater than every key of the table (a bug otherwise); cheaper than `put`."""
        ...

    def delete(self, table: str, key: bytes) -> bool:
        """Remove `key`; tell whether it was there."""
        ...

    def delete_range(self, table: str, start: bytes = b"", end: bytes | None = None) -> int:
        """Remove the keys of the range; return how many there were."""
        ...

    def clear(self, table: str) -> None:
        """Remove every key of the table, at a cost that does not grow with their number where the engine can."""
        ...

    def commit(self, *, durable: bool = True) -> None:
        """Make the writes visible to later views and transactions, and lasting (see the module's contract)."""
        ...

    def abort(self) -> None:
        """Forget every write of the transaction; twice is harmless."""
        ...


class OrderedStore(Protocol):
    """A set of tables."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables it was opened with."""
        ...

    def begin(self) -> Transaction:
        """Open the write transaction."""
        ...

    def view(self) -> View:
        """Open a consistent picture of what is committed."""
        ...

    def sync(self) -> None:
        """Return when everything committed is on the disk."""
        ...

    def size(self) -> Size:
        """Return how large the store is, an open transaction's writes included where that is known."""
        ...

    def close(self) -> None:
        """Abort an open transaction and let go of the files; twice is harmless."""
        ...
