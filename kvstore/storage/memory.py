"""OrderedStore in memory: the twin of the LMDB store for tests and the simulator, with a `crash()` of its own.

A transaction writes in place and keeps an undo log; a table is copied only when an open view would see the change. The
undo log since the last durable commit is what `crash()` plays back.
"""

from bisect import bisect_left
from collections.abc import Iterator

from kvstore.storage.port import Size, StoreFull

__all__ = ["MemoryStore"]

_ENTRY_OVERHEAD_BYTES = 64  # what an entry costs beside its bytes, so that sizes behave like a real store's


class _Table:
    """Keys in order and their values."""

    __slots__ = ("keys", "shared", "values")

    def __init__(self, keys: list[bytes], values: dict[bytes, bytes]) -> None:
        self.keys = keys
        self.values = values
        self.shared = False  # an open view reads it: copy before writing

    def copy(self) -> "_Table":
        return _Table(list(self.keys), dict(self.values))

    def set(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            if key not in self.values:
                self.keys.insert(bisect_left(self.keys, key), key)
            self.values[key] = value
        elif self.values.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]

    def span(self, start: bytes, end: bytes | None) -> range:
        first = bisect_left(self.keys, start)
        return range(first, max(first, len(self.keys) if end is None else bisect_left(self.keys, end)))


class _MemoryView:
    """Reads over a set of tables."""

    def __init__(self, tables: dict[str, _Table]) -> None:
        self._tables = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._tables[table].values.get(key)

    def scan(
        self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        content = self._tables[table]
        span = content.span(start, end)
        for place in reversed(span) if reverse else span:
            key = content.keys[place]
            yield key, content.values[key]

    def keys(self, table: str, start: bytes = b"", end: bytes | None = None) -> Iterator[bytes]:
        content = self._tables[table]
        for place in content.span(start, end):
            yield content.keys[place]

    def count(self, table: str, start: bytes = b"", end: bytes | None = None) -> int:
        return len(self._tables[table].span(start, end))

    def last(self, table: str, start: bytes = b"", end: bytes | None = None) -> tuple[bytes, bytes] | None:
        return next(self.scan(table, start, end, reverse=True), None)

    def close(self) -> None:
        self._tables = {}


class _MemoryTransaction(_MemoryView):
    """The write transaction: writes go to the store's own tables and into its undo log."""

    def __init__(self, store: "MemoryStore") -> None:
        super().__init__(store._tables)
        self._store = store
        self._undo_mark = len(store._undo)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        assert key, "keys are not empty"
        self._store._write(table, key, bytes(value))

    def append(self, table: str, key: bytes, value: bytes) -> None:
        keys = self._tables[table].keys
        assert not keys or key > keys[-1], "append below the last key of the table"
        self.put(table, key, value)

    def delete(self, table: str, key: bytes) -> bool:
        present = key in self._tables[table].values
        if present:
            self._store._write(table, key, None)
        return present

    def delete_range(self, table: str, start: bytes = b"", end: bytes | None = None) -> int:
        doomed = list(self.keys(table, start, end))
        for key in doomed:
            self._store._write(table, key, None)
        return len(doomed)

    def clear(self, table: str) -> None:
        self.delete_range(table)

    def commit(self, *, durable: bool = True) -> None:
        assert self._store._transaction is self, "the transaction is over"
        self._store._transaction = None
        if durable:
            self._store.sync()

    def abort(self) -> None:
        if self._store._transaction is self:
            self._store._transaction = None
            self._store._roll_back(self._undo_mark)

    def close(self) -> None:
        self.abort()


class MemoryStore:
    """An OrderedStore whose `crash()` leaves what the last durable commit or `sync()` saw, as a power loss may."""

    def __init__(self, tables: tuple[str, ...], *, limit_bytes: int = 1 << 40) -> None:
        self._tables = {name: _Table([], {}) for name in tables}
        self._undo: list[tuple[str, bytes, bytes | None]] = []  # since the last durable commit, oldest first
        self._transaction: _MemoryTransaction | None = None
        self._limit_bytes = limit_bytes
        self._used_bytes = 0

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self._tables)

    def begin(self) -> _MemoryTransaction:
        assert self._transaction is None, "a write transaction is open"
        self._transaction = _MemoryTransaction(self)
        return self._transaction

    def view(self) -> _MemoryView:
        uncommitted = self._undo[self._transaction._undo_mark :] if self._transaction is not None else []
        picture = {name: table.copy() if uncommitted else table for name, table in self._tables.items()}
        for name, key, old in reversed(uncommitted):
            picture[name].set(key, old)
        for table in picture.values():
            table.shared = True
        return _MemoryView(picture)

    def _write(self, name: str, key: bytes, value: bytes | None) -> None:
        old = self._tables[name].values.get(key)
        growth = _weight(key, value) - _weight(key, old)
        if growth > 0 and self._used_bytes + growth > self._limit_bytes:
            raise StoreFull(f"{self._used_bytes + growth} bytes do not fit into {self._limit_bytes}")
        self._undo.append((name, key, old))
        self._set(name, key, value)

    def _set(self, name: str, key: bytes, value: bytes | None) -> None:
        table = self._tables[name]
        if table.shared:  # replaced in the same dict, so that the open transaction sees the copy too
            table = self._tables[name] = table.copy()
        self._used_bytes += _weight(key, value) - _weight(key, table.values.get(key))
        table.set(key, value)

    def _roll_back(self, mark: int) -> None:
        while len(self._undo) > mark:
            name, key, old = self._undo.pop()
            self._set(name, key, old)

    def sync(self) -> None:
        del self._undo[: self._transaction._undo_mark if self._transaction is not None else len(self._undo)]
        if self._transaction is not None:
            self._transaction._undo_mark = 0

    def crash(self) -> None:
        """Forget everything since the last durable commit; an open transaction is aborted."""
        self._transaction = None
        self._roll_back(0)

    def size(self) -> Size:
        return Size(allocated=self._used_bytes, used=self._used_bytes, limit=self._limit_bytes)

    def close(self) -> None:
        if self._transaction is not None:
            self._transaction.abort()


def _weight(key: bytes, value: bytes | None) -> int:
    return 0 if value is None else len(key) + len(value) + _ENTRY_OVERHEAD_BYTES
