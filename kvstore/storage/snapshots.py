"""A consistent view of a store as a stream of bytes, and back.

Format: an 8-byte mark; records `table (1) key length (4) value length (4) key value`, table by table in key order; a
record with table 255 whose key is the number of records (8) and whose value is the CRC-32 of all before it (4).
The stream is cut into chunks without regard to records: a value may be larger than a chunk.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator

from kvstore.storage.port import Transaction, View

__all__ = ["CHUNK_BYTES", "BadSnapshot", "read_snapshot", "write_snapshot"]

CHUNK_BYTES = 1 << 20
_MARK = b"PHKV\x00\x00\x00\x01"
_RECORD = struct.Struct(">BII")
_END = 255
_COUNT = struct.Struct(">Q")
_CHECKSUM = struct.Struct(">I")


class BadSnapshot(Exception):
    """The stream is cut short, damaged, or of another format: nothing of it may be used."""


def write_snapshot(view: View, tables: tuple[str, ...]) -> Iterator[bytes]:
    """Yield the tables of `view` as chunks of at most CHUNK_BYTES. The view is closed at the end, or by `close()`."""
    try:
        buffer = bytearray(_MARK)
        checksum, count = zlib.crc32(_MARK), 0
        for number, table in enumerate(tables):
            for key, value in view.scan(table):
                record = _RECORD.pack(number, len(key), len(value)) + key + value
                checksum = zlib.crc32(record, checksum)
                count += 1
                buffer += record
                while len(buffer) >= CHUNK_BYTES:
                    yield bytes(buffer[:CHUNK_BYTES])
                    del buffer[:CHUNK_BYTES]
        buffer += _RECORD.pack(_END, _COUNT.size, _CHECKSUM.size) + _COUNT.pack(count) + _CHECKSUM.pack(checksum)
        for start in range(0, len(buffer), CHUNK_BYTES):
            yield bytes(buffer[start : start + CHUNK_BYTES])
    finally:
        view.close()


def read_snapshot(transaction: Transaction, tables: tuple[str, ...], chunks: Iterable[bytes]) -> None:
    """Replace the content of `tables` by the snapshot's, without committing; raise BadSnapshot when it is not whole."""
    for table in tables:
        transaction.clear(table)
    for number, key, value in _records(chunks):
        if number >= len(tables):
            raise BadSnapshot(f"a record of table {number}, there are {len(tables)}")
        transaction.append(tables[number], key, value)


def _records(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes, bytes]]:
    source = _Source(chunks)
    mark = source.take(len(_MARK))
    if mark != _MARK:
        raise BadSnapshot("not a snapshot, or of a newer format")
    checksum, count = zlib.crc32(mark), 0
    while True:
        head = source.take(_RECORD.size)
        number, key_length, value_length = _RECORD.unpack(head)
        key, value = source.take(key_length), source.take(value_length)
        if number == _END:
            break
        checksum = zlib.crc32(value, zlib.crc32(key, zlib.crc32(head, checksum)))
        count += 1
        yield number, key, value
    if key != _COUNT.pack(count) or value != _CHECKSUM.pack(checksum):
        raise BadSnapshot(f"the checksum over {count} records does not match")


class _Source:
    """Exact numbers of bytes out of chunks of any size."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._position = 0

    def take(self, length: int) -> bytes:
        while len(self._buffer) - self._position < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise BadSnapshot("the stream ends before its last record")
            self._buffer = self._buffer[self._position :] + chunk
            self._position = 0
        taken = self._buffer[self._position : self._position + length]
        self._position += length
        return taken
