"""The file format of bbolt, etcd's database: a reader, and a writer that builds a whole file as a stream.  Pure.

A file is pages of 4096 bytes: two metas, a free list, then B+trees.  All integers are little-endian.

    page       id (8) flags (2) count (2) overflow (4), then `count` elements, then their keys and values.
               `overflow`: so many following pages belong to it.  An element's `pos` counts from the element itself
    leaf       flags (4) pos (4) key size (4) value size (4); flag 1: the value is a bucket
    branch     pos (4) key size (4) page (8); the key is the first of the page it names
    bucket     root page (8) sequence (8); root 0: the bucket's only page follows here, without a place in the file
    meta       magic (4) version (4) page size (4) flags (4) root bucket (16) free list's page (8) end (8) transaction (8)
               FNV-1a of the 56 bytes before (8).  The valid one with the greater transaction counts

The writer fills pages in key order and keeps one unfinished page for each level, so that its memory does not grow with
the database. The metas come first and name what comes last, so the records are walked twice: once to count pages.

    image = Image([Bucket(b"key", records), ...])         records() -> sorted (key, value), the same each time
    for _ in image.measure(): ...                         pauses; after the last one image.size_bytes is known
    for page in image.pages(): file.write(page)           b"" is a pause too

    file = BoltFile(buffer)                               bytes, or an mmap; raises BadBoltFile
    file.buckets(); file.records(b"key")
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["PAGE_BYTES", "BadBoltFile", "BoltFile", "Bucket", "Image"]

PAGE_BYTES = 4096
_BRANCH, _LEAF, _META, _FREE_LIST = 0x01, 0x02, 0x04, 0x10
_BUCKET_LEAF = 0x01
_MAGIC = 0xED0CDAED
_VERSION = 2
_ELEMENT_BYTES = 16
_PAGE = struct.Struct("<QHHI")
_LEAF_ELEMENT = struct.Struct("<IIII")
_BRANCH_ELEMENT = struct.Struct("<IIQ")
_BUCKET = struct.Struct("<QQ")
_META_BODY = struct.Struct("<IIIIQQQQQ")
_CHECKSUM = struct.Struct("<Q")
_FREE_LIST_PAGE, _FIRST_PAGE = 2, 3
_TRANSACTION = 1
_MAX_DEPTH = 64  # of a tree; a real one of that depth would hold more than any disk
_MIN_PAGE_BYTES, _MAX_PAGE_BYTES = 1 << 10, 1 << 16

Record = tuple[bytes, bytes]


class BadBoltFile(Exception):
    """The bytes are no bbolt database, or a damaged one; the message says where."""


def _fnv1a(data: bytes) -> int:
    number = 0xCBF29CE484222325
    for byte in data:
        number = (number ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return number


# ---- writing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket to be written. `records()` gives the same strictly ascending keys each time it is called."""

    name: bytes
    records: Callable[[], Iterable[Record]]


@dataclass(slots=True)
class _Sink:
    """Where finished pages go: counted only, or built too."""

    builds: bool
    next_page: int = _FIRST_PAGE
    built: list[bytes] = field(default_factory=list)

    def take(self, flags: int, elements: list[tuple[bytes, bytes]], size: int) -> int:
        """Give the page its number. `size`: of its header, elements, keys and values, in bytes."""
        page = self.next_page
        overflow = (size - 1) // PAGE_BYTES
        self.next_page += 1 + overflow
        if self.builds:
            self.built.append(_page(page, flags, overflow, elements))
        return page


def _page(page: int, flags: int, overflow: int, elements: list[tuple[bytes, bytes]]) -> bytes:
    """Return a page; of a branch the second of each pair is the packed page number."""
    parts = [_PAGE.pack(page, flags & ~_BUCKET_LEAF if flags & _LEAF else flags, len(elements), overflow)]
    position = len(elements) * _ELEMENT_BYTES
    if flags & _LEAF:
        element_flags = flags & _BUCKET_LEAF
        for key, value in elements:
            parts.append(_LEAF_ELEMENT.pack(element_flags, position, len(key), len(value)))
            position += len(key) + len(value) - _ELEMENT_BYTES
        for pair in elements:
            parts += pair
    else:
        for key, value in elements:
            parts.append(_BRANCH_ELEMENT.pack(position, len(key), int.from_bytes(value, "little")))
            position += len(key) - _ELEMENT_BYTES
        parts += [key for key, _ in elements]
    body = b"".join(parts)
    return body + bytes(PAGE_BYTES * (1 + overflow) - len(body))


class _Level:
    """One level of a tree that is being built, from its leaves upwards."""

    __slots__ = ("_above", "_elements", "_flags", "_sink", "_size")

    def __init__(self, sink: _Sink, flags: int) -> None:
        self._sink = sink
        self._flags = flags
        self._above: _Level | None = None
        self._elements: list[tuple[bytes, bytes]] = []
        self._size = _PAGE.size

    def add(self, key: bytes, value: bytes) -> bool:
        """Add the next record; tell whether a page was finished before it."""
        room = _ELEMENT_BYTES + len(key) + (len(value) if self._flags & _LEAF else 0)
        is_full = bool(self._elements) and self._size + room > PAGE_BYTES
        if is_full:
            self._flush()
        self._elements.append((key, value))
        self._size += room
        return is_full

    def _flush(self) -> None:
        page = self._sink.take(self._flags, self._elements, self._size)
        if self._above is None:
            self._above = _Level(self._sink, _BRANCH)
        self._above.add(self._elements[0][0], page.to_bytes(8, "little"))
        self._elements, self._size = [], _PAGE.size

    def finish(self) -> int:
        """Return the root's page."""
        if self._above is None:
            return self._sink.take(self._flags, self._elements, self._size)
        self._flush()
        return self._above.finish()


class Image:
    """A database file with these buckets. Sorts them by name; the records stay where they are."""

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self._buckets = sorted(buckets, key=lambda bucket: bucket.name)
        self._root = 0
        self._end = 0  # pages

    @property
    def size_bytes(self) -> int:
        """Size of the file; known after `measure`."""
        return self._end * PAGE_BYTES

    def measure(self) -> Iterator[None]:
        """Find out how large the file is; yield after every page's worth of records."""
        sink = _Sink(builds=False)
        for _ in self._walk(sink):
            yield
        self._end = sink.next_page

    def pages(self) -> Iterator[bytes]:
        """Yield the file from its beginning, in pieces of whole pages; an empty piece is a pause."""
        assert self._end, "measure() comes first"
        yield self._meta(0) + self._meta(1) + _page(_FREE_LIST_PAGE, _FREE_LIST, 0, [])
        sink = _Sink(builds=True)
        for _ in self._walk(sink):
            yield b"".join(sink.built)
            sink.built.clear()
        assert sink.next_page == self._end, "the records changed between the two walks"
        yield b"".join(sink.built)

    def _walk(self, sink: _Sink) -> Iterator[None]:
        roots = _Level(sink, _LEAF | _BUCKET_LEAF)
        for bucket in self._buckets:
            tree = _Level(sink, _LEAF)
            for key, value in bucket.records():
                if tree.add(key, value):
                    yield
            roots.add(bucket.name, _BUCKET.pack(tree.finish(), 0))
            yield
        self._root = roots.finish()

    def _meta(self, number: int) -> bytes:
        body = _META_BODY.pack(
            _MAGIC, _VERSION, PAGE_BYTES, 0, self._root, 0, _FREE_LIST_PAGE, self._end, _TRANSACTION - number
        )
        page = _PAGE.pack(number, _META, 0, 0) + body + _CHECKSUM.pack(_fnv1a(body))
        return page + bytes(PAGE_BYTES - len(page))


# ---- reading ------------------------------------------------------------------------------------------------------


class Buffer(Protocol):
    """Bytes to read from: `bytes`, or an `mmap` of the file."""

    def __len__(self) -> int: ...
    def __getitem__(self, piece: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a page: a record, a bucket, or the way to another page."""

    key: bytes
    value: bytes
    is_bucket: bool
    page: int


@dataclass(frozen=True, slots=True)
class _Meta:
    page_bytes: int
    root: int
    end: int
    transaction: int


class BoltFile:
    """A database in a buffer. Bytes after its last page do not count. Raises BadBoltFile, from every method."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._meta = self._newest_meta()
        self._page_bytes = self._meta.page_bytes
        if self._meta.end * self._page_bytes > len(buffer):
            raise BadBoltFile(f"the file is cut short: {len(buffer)} bytes of {self._meta.end * self._page_bytes}")

    @property
    def size_bytes(self) -> int:
        """Where the last page ends; the file may be longer."""
        return self._meta.end * self._page_bytes

    def _newest_meta(self) -> _Meta:
        first = self._read_meta(0)
        sizes = [first.page_bytes] if first is not None else [1 << shift for shift in range(10, 17)]
        second = next((meta for size in sizes if (meta := self._read_meta(size)) and meta.page_bytes == size), None)
        metas = [meta for meta in (first, second) if meta is not None]
        if not metas:
            raise BadBoltFile("not a bbolt database: neither meta page is valid")
        return max(metas, key=lambda meta: meta.transaction)

    def _read_meta(self, offset: int) -> _Meta | None:
        start = offset + _PAGE.size
        body = self._buffer[start : start + _META_BODY.size]
        checksum = self._buffer[start + _META_BODY.size : start + _META_BODY.size + _CHECKSUM.size]
        if len(checksum) < _CHECKSUM.size or _fnv1a(body) != _CHECKSUM.unpack(checksum)[0]:
            return None
        magic, version, page_bytes, _, root, _, _, end, transaction = _META_BODY.unpack(body)
        if magic != _MAGIC or version != _VERSION or not _MIN_PAGE_BYTES <= page_bytes <= _MAX_PAGE_BYTES:
            return None
        return _Meta(page_bytes, root, end, transaction)

    def buckets(self) -> list[bytes]:
        """Return the names of the buckets, in order."""
        return [element.key for element in self._walk(self._meta.root) if element.is_bucket]

    def records(self, bucket: bytes) -> Iterator[Record]:
        """Yield (key, value) of a bucket in order, nothing when there is no such bucket."""
        for element in self._walk(self._meta.root):
            if element.is_bucket and element.key == bucket:
                yield from self._bucket_records(element.value)

    def _bucket_records(self, header: bytes) -> Iterator[Record]:
        if len(header) < _BUCKET.size:
            raise BadBoltFile("a bucket's header is cut short")
        root, _ = _BUCKET.unpack_from(header)
        elements = self._walk(root) if root else self._inline(header[_BUCKET.size :])
        for element in elements:
            if not element.is_bucket:
                yield element.key, element.value

    def _inline(self, page: bytes) -> Iterator[_Element]:
        flags, count = self._head(page, 0, None)
        if not flags & _LEAF:
            raise BadBoltFile("an inline bucket is not a leaf")
        return self._elements(page, flags, count, 0)

    def _walk(self, root: int) -> Iterator[_Element]:
        """Yield the elements of all leaves under `root`, from left to right."""
        waiting = [iter((_Element(b"", b"", False, root),))]
        while waiting:
            element = next(waiting[-1], None)
            if element is None:
                waiting.pop()
            elif not element.page:
                yield element
            elif len(waiting) > _MAX_DEPTH:
                raise BadBoltFile(f"page {element.page}: the tree is too deep")
            else:
                waiting.append(self._load(element.page))

    def _load(self, number: int) -> Iterator[_Element]:
        if not _FREE_LIST_PAGE <= number < self._meta.end:
            raise BadBoltFile(f"page {number} is outside the file")
        offset = number * self._page_bytes
        overflow = _PAGE.unpack(self._buffer[offset : offset + _PAGE.size])[3]
        if number + overflow >= self._meta.end:
            raise BadBoltFile(f"page {number} does not end within the file")
        page = self._buffer[offset : offset + (1 + overflow) * self._page_bytes]
        flags, count = self._head(page, number, number)
        return self._elements(page, flags, count, number)

    @staticmethod
    def _head(page: bytes, number: int, expected: int | None) -> tuple[int, int]:
        if len(page) < _PAGE.size:
            raise BadBoltFile(f"page {number} is cut short")
        found, flags, count, _ = _PAGE.unpack_from(page)
        if (expected is not None and found != expected) or not flags & (_LEAF | _BRANCH):
            raise BadBoltFile(f"page {number} is damaged: it calls itself {found} with flags {flags:#x}")
        return flags, count

    @staticmethod
    def _elements(page: bytes, flags: int, count: int, number: int) -> Iterator[_Element]:
        if _PAGE.size + count * _ELEMENT_BYTES > len(page):
            raise BadBoltFile(f"page {number}: {count} elements do not fit")
        is_leaf = bool(flags & _LEAF)
        for offset in range(_PAGE.size, _PAGE.size + count * _ELEMENT_BYTES, _ELEMENT_BYTES):
            if is_leaf:
                element_flags, position, key_size, value_size = _LEAF_ELEMENT.unpack_from(page, offset)
                target = 0
            else:
                position, key_size, target = _BRANCH_ELEMENT.unpack_from(page, offset)
                element_flags = value_size = 0
            middle = offset + position + key_size
            if middle + value_size > len(page) or not (is_leaf or target):
                raise BadBoltFile(f"page {number}: an element points outside its page")
            yield _Element(
                page[offset + position : middle],
                page[middle : middle + value_size],
                bool(element_flags & _BUCKET_LEAF),
                target,
            )
