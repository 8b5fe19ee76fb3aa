"""OrderedStore on LMDB: the only file that imports lmdb.

LMDB's keys end at 511 bytes, ours do not. Keys of 511 bytes or more are kept in *buckets*: the entry under their
first 511 bytes packs, in order, the rest of each such key and its value. A shorter key sorts against that prefix
exactly as it does against the whole key, so the order of the table is the order of the keys. Long keys are rare, and
all others pay one length check.

A commit is one fdatasync of the data before the meta page is written, so a power loss undoes whole transactions and
never tears one; a durable commit adds the sync of the meta page (0.4 ms together on the reference machine).
"""

import errno
import os
import resource
import struct
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import lmdb

from kvstore.storage.port import DamagedStore, Size, StoreFull

__all__ = ["DAMAGE", "LmdbStore", "check_pages"]

DEFAULT_LIMIT_BYTES = 1 << 40  # address space, not disk: the file grows as it fills
DISK_RESERVE_BYTES = 64 << 20  # left on the disk for the log, for deletions and for what is under way
DISK_RESERVE_SHARE = 4  # but no more than this part of a small disk
_READ_ALL = """
import lmdb, sys
environment = lmdb.open(sys.argv[1], readonly=True, lock=False, max_dbs=len(sys.argv))
with environment.begin() as reader:
    for name in sys.argv[2:]:
        try:
            table = environment.open_db(name.encode(), reader, create=False)
        except lmdb.NotFoundError:
            continue
        for _ in reader.cursor(table):
            pass
"""
_ACCOUNT_FOR_ALL = _READ_ALL + """
with open("/dev/null", "wb") as nowhere:  # a compact copy is refused when the pages in use and the free ones are not all pages
    environment.copyfd(nowhere.fileno(), compact=True)
"""
_FULL_TEXTS = tuple(os.strerror(code) for code in (errno.EFBIG, errno.EDQUOT))  # lmdb has no class for these
_SHORT_WRITE_TEXT = os.strerror(errno.EIO)
_HARDLY_ANY_BYTES = 2 << 20
_PREFIX_BYTES = 511  # longest key of LMDB as it is commonly built
_PAIR = struct.Struct(">II")  # length of the key's rest, length of the value

DAMAGE = (lmdb.CorruptedError, lmdb.PageNotFoundError)  # raised by any use of a store whose pages are damaged

_Bucket = list[tuple[bytes, bytes]]  # (rest of the key, value) in order


def _unpack(packed: bytes) -> _Bucket:
    bucket: _Bucket = []
    position = 0
    while position < len(packed):
        rest_length, value_length = _PAIR.unpack_from(packed, position)
        middle = position + _PAIR.size + rest_length
        end = middle + value_length
        bucket.append((packed[position + _PAIR.size : middle], packed[middle:end]))
        position = end
    return bucket


def _pack(bucket: _Bucket) -> bytes:
    return b"".join(_PAIR.pack(len(rest), len(value)) + rest + value for rest, value in bucket)


def _within(prefix: bytes, packed: bytes, start: bytes, end: bytes | None) -> _Bucket:
    """Return the (whole key, value) pairs of a bucket that lie in the range."""
    pairs = [(prefix + rest, value) for rest, value in _unpack(packed)]
    return [pair for pair in pairs if start <= pair[0] and (end is None or pair[0] < end)]


def _entries(cursor: lmdb.Cursor, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
    """Iterate from where the cursor stands (our transactions hand out bytes, never buffers)."""
    walk = cursor.iterprev(True, True) if reverse else cursor.iternext(True, True)
    return cast("Iterator[tuple[bytes, bytes]]", walk)


def _only_keys(cursor: lmdb.Cursor) -> Iterator[bytes]:
    return cast("Iterator[bytes]", cursor.iternext(True, False))


class _LmdbView:
    """Reads over one transaction of LMDB, read-only or not."""

    __slots__ = ("_get", "_tables", "_transaction")

    def __init__(self, transaction: lmdb.Transaction, tables: dict[str, lmdb._Database]) -> None:
        self._transaction = transaction
        self._get = cast("Callable[..., bytes | None]", transaction.get)  # never buffers: see _entries
        self._tables = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        if len(key) < _PREFIX_BYTES:
            return self._get(key, None, self._tables[table])
        found = _within(key[:_PREFIX_BYTES], self._packed(table, key[:_PREFIX_BYTES]), key, key + b"\0")
        return found[0][1] if found else None

    def _packed(self, table: str, prefix: bytes) -> bytes:
        packed = self._get(prefix, None, self._tables[table])
        return b"" if packed is None else packed

    def scan(
        self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._backward(table, start, end) if reverse else self._forward(table, start, end)

    def _forward(self, table: str, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._transaction.cursor(self._tables[table])
        if not cursor.set_range(start[:_PREFIX_BYTES]):
            return
        for key, value in _entries(cursor):
            if end is not None and key >= end:  # the bucket that a long `end` falls into sorts before it
                return
            if len(key) < _PREFIX_BYTES:
                yield key, value
            else:
                yield from _within(key, value, start, end)

    def _backward(self, table: str, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._transaction.cursor(self._tables[table])
        if end is None or not cursor.set_range(end):
            found = cursor.last()
        else:
            found = cursor.prev()
        if not found:
            return
        first = start[:_PREFIX_BYTES]
        for key, value in _entries(cursor, reverse=True):
            if key < first:
                return
            if len(key) < _PREFIX_BYTES:
                yield key, value
            else:
                yield from reversed(_within(key, value, start, end))

    def keys(self, table: str, start: bytes = b"", end: bytes | None = None) -> Iterator[bytes]:
        cursor = self._transaction.cursor(self._tables[table])
        if not cursor.set_range(start[:_PREFIX_BYTES]):
            return
        for key in _only_keys(cursor):
            if end is not None and key >= end:
                return
            if len(key) < _PREFIX_BYTES:
                yield key
            else:
                for whole, _ in _within(key, bytes(cursor.value()), start, end):
                    yield whole

    def count(self, table: str, start: bytes = b"", end: bytes | None = None) -> int:
        cursor = self._transaction.cursor(self._tables[table])
        total = 0
        if cursor.set_range(start[:_PREFIX_BYTES]):
            for key in _only_keys(cursor):
                if end is not None and key >= end:
                    break
                if len(key) < _PREFIX_BYTES:
                    total += 1
                else:
                    total += len(_within(key, bytes(cursor.value()), start, end))
        return total

    def last(self, table: str, start: bytes = b"", end: bytes | None = None) -> tuple[bytes, bytes] | None:
        return next(self._backward(table, start, end), None)

    def close(self) -> None:
        self._transaction.abort()


class _LmdbTransaction(_LmdbView):
    """The write transaction; LMDB ties it to the thread that began it."""

    __slots__ = ("_put", "_store")

    def __init__(self, store: "LmdbStore", transaction: lmdb.Transaction, tables: dict[str, lmdb._Database]) -> None:
        super().__init__(transaction, tables)
        self._put = transaction.put
        self._store = store

    def put(self, table: str, key: bytes, value: bytes) -> None:
        if len(key) >= _PREFIX_BYTES:
            self._put_long(table, key, value)
            return
        try:
            self._put(key, value, True, True, False, self._tables[table])
        except lmdb.MapFullError as error:
            raise StoreFull(str(error)) from error

    def append(self, table: str, key: bytes, value: bytes) -> None:
        if len(key) >= _PREFIX_BYTES:
            self._put_long(table, key, value)
            return
        try:
            done = self._put(key, value, True, True, True, self._tables[table])
        except lmdb.MapFullError as error:
            raise StoreFull(str(error)) from error
        assert done, "append below the last key of the table"

    def _put_long(self, table: str, key: bytes, value: bytes) -> None:
        prefix, rest = key[:_PREFIX_BYTES], key[_PREFIX_BYTES:]
        bucket = _unpack(self._packed(table, prefix))
        place = bisect_left(bucket, rest, key=lambda pair: pair[0])
        present = place < len(bucket) and bucket[place][0] == rest
        bucket[place : place + present] = [(rest, value)]
        self._store_bucket(table, prefix, bucket)

    def _store_bucket(self, table: str, prefix: bytes, bucket: _Bucket) -> None:
        try:
            if bucket:
                self._put(prefix, _pack(bucket), True, True, False, self._tables[table])
            else:
                self._transaction.delete(prefix, b"", self._tables[table])
        except lmdb.MapFullError as error:
            raise StoreFull(str(error)) from error

    def delete(self, table: str, key: bytes) -> bool:
        if len(key) < _PREFIX_BYTES:
            try:
                return self._transaction.delete(key, b"", self._tables[table])
            except lmdb.MapFullError as error:
                raise StoreFull(str(error)) from error
        prefix, rest = key[:_PREFIX_BYTES], key[_PREFIX_BYTES:]
        bucket = _unpack(self._packed(table, prefix))
        kept = [pair for pair in bucket if pair[0] != rest]
        if len(kept) == len(bucket):
            return False
        self._store_bucket(table, prefix, kept)
        return True

    def delete_range(self, table: str, start: bytes = b"", end: bytes | None = None) -> int:
        doomed = list(self.keys(table, start, end))
        for key in doomed:
            self.delete(table, key)
        return len(doomed)

    def clear(self, table: str) -> None:
        self._transaction.drop(self._tables[table], delete=False)

    def commit(self, *, durable: bool = True) -> None:
        self._store._transaction = None
        try:
            self._transaction.commit()
        except lmdb.Error as error:
            if self._store.is_for_want_of_room(error):
                raise StoreFull(str(error)) from error
            raise
        if durable:
            self._store.sync()

    def abort(self) -> None:
        if self._store._transaction is self:
            self._store._transaction = None
        self._transaction.abort()

    def close(self) -> None:
        self.abort()


def _passes(check: str, path: Path, tables: tuple[str, ...]) -> bool:
    """Have another process look at the store, which must not be open for writing; it may be ended by what it finds."""
    return not subprocess.run([sys.executable, "-c", check, str(path), *tables], capture_output=True, check=False).returncode


def check_pages(path: Path, tables: tuple[str, ...]) -> None:
    """Read every page of the store in `path`, if there is one; raise DamagedStore where that cannot be done."""
    if (path / "data.mdb").exists() and not _passes(_ACCOUNT_FOR_ALL, path, tables):
        raise DamagedStore(f"{path} has pages that cannot be read")


class LmdbStore:
    """An OrderedStore in the directory `path` (made when it is not there).

    `limit_bytes` bounds the file; it reserves address space, not disk. Errors of the file system (permission, damage)
    surface as `lmdb.Error`, a file that cannot be this store's as DamagedStore. Opening one directory twice in a process is
    a bug.
    """

    def __init__(self, path: Path, tables: tuple[str, ...], *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        try:
            self._environment: lmdb.Environment | None = lmdb.open(
                str(path), map_size=limit_bytes, max_dbs=len(tables), metasync=False, readahead=True, max_spare_txns=4
            )
            assert self._environment.max_key_size() >= _PREFIX_BYTES, "LMDB was built with shorter keys"
            self._lengthen(self._environment, tables)
            self._tables = {name: self._environment.open_db(name.encode()) for name in tables}
            self._transaction: _LmdbTransaction | None = None
        except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.PageNotFoundError) as error:
            raise DamagedStore(f"{path} is damaged, or a copy that was cut short: {error}") from error
        self._limit_bytes = limit_bytes

    def _lengthen(self, environment: lmdb.Environment, tables: tuple[str, ...]) -> None:
        """Give the file the length that its meta page tells, since a page behind the end cannot be read but kills us.

        The last pages may be missing by right, when they were freed before they were written. Whether that is so is asked of
        another process, which reads all pages that are in use: LMDB ends a process that meets a page of zeros.
        """
        file, info = self._path / "data.mdb", environment.info()
        length, expected = file.stat().st_size, (info["last_pgno"] + 1) * environment.stat()["psize"]
        if length >= expected:
            return
        os.truncate(file, expected)
        if not _passes(_READ_ALL, self._path, tables):
            os.truncate(file, length)
            environment.close()
            raise DamagedStore(f"{self._path} is a copy that was cut short: {length} bytes of {expected}")

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self._tables)

    def _open(self) -> lmdb.Environment:
        assert self._environment is not None, "the store is closed"
        return self._environment

    def begin(self) -> _LmdbTransaction:
        assert self._transaction is None, "a write transaction is open"
        self._transaction = _LmdbTransaction(self, self._open().begin(write=True), self._tables)
        return self._transaction

    def view(self) -> _LmdbView:
        return _LmdbView(self._open().begin(), self._tables)

    def sync(self) -> None:
        self._open().sync(True)

    def size(self) -> Size:
        environment = self._open()
        page_bytes = environment.stat()["psize"]
        if self._transaction is not None:
            pages = self._pages(self._transaction._transaction)
        else:
            with environment.begin() as reader:
                pages = self._pages(reader)
        allocated = (environment.info()["last_pgno"] + 1) * page_bytes
        disk = os.statvfs(self._path)
        reserve = min(DISK_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // DISK_RESERVE_SHARE)
        room = allocated + disk.f_bavail * disk.f_frsize - reserve
        return Size(allocated=allocated, used=pages * page_bytes, limit=max(0, min(self._limit_bytes, room)))

    def is_for_want_of_room(self, error: Exception) -> bool:
        """Whether a commit failed because there is no room. LMDB calls a write that had room for a part an I/O error."""
        if isinstance(error, lmdb.MapFullError | lmdb.DiskError) or any(text in str(error) for text in _FULL_TEXTS):
            return True
        if _SHORT_WRITE_TEXT not in str(error):
            return False
        disk = os.statvfs(self._path)
        is_limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
        return is_limited or disk.f_bavail * disk.f_frsize < _HARDLY_ANY_BYTES

    def _pages(self, transaction: lmdb.Transaction) -> int:
        counts = (transaction.stat(table) for table in self._tables.values())
        return 2 + sum(count["branch_pages"] + count["leaf_pages"] + count["overflow_pages"] for count in counts)

    def close(self) -> None:
        if self._environment is None:
            return
        if self._transaction is not None:
            self._transaction.abort()
        self._environment.close()
        self._environment = None
