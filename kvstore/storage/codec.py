"""Small records as bytes, and the checksum in front of what must not change. The only file that imports msgpack."""

import zlib
from typing import Any

import msgpack  # it has no stubs

_CHECKSUM_BYTES = 4


class ChecksumMismatch(Exception):
    """The bytes are not those that were sealed."""


def pack(value: Any) -> bytes:
    """Numbers up to 64 bits, text, bytes, None, lists and dictionaries of them, as MessagePack."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(data: bytes) -> Any:
    """The inverse of pack; lists come back as lists."""
    return msgpack.unpackb(data, use_list=True)


def seal(key: bytes, body: bytes) -> bytes:
    """The body behind a CRC-32 of key and body, so that a record under another key does not pass either."""
    return zlib.crc32(body, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big") + body


def unseal(key: bytes, record: bytes) -> bytes:
    """The body of a sealed record; raises ChecksumMismatch."""
    body = record[_CHECKSUM_BYTES:]
    if int.from_bytes(record[:_CHECKSUM_BYTES], "big") != zlib.crc32(body, zlib.crc32(key)):
        raise ChecksumMismatch(f"record {key.hex()} of {len(record)} bytes does not match its checksum")
    return body
