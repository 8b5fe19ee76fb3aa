"""gRPC's length-prefixed messages: one byte (compressed or not), four bytes of length, the message."""

import zlib
from typing import Final

from kvstore.rpc.status import Code

PREFIX_BYTES: Final = 5
DEFAULT_MESSAGE_BYTES: Final = 2 * 1024 * 1024
_GZIP_WINDOW_BITS: Final = 31


class MessageFault(Exception):
    """The bytes of a stream are not messages we take: the call ends with this code and grpc's text."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


def encode(message: bytes) -> bytes:
    """A message with its prefix, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def encode_gzip(message: bytes) -> bytes:
    """A message with its prefix, compressed."""
    compressor = zlib.compressobj(wbits=_GZIP_WINDOW_BITS)
    body = compressor.compress(message) + compressor.flush()
    return b"\1" + len(body).to_bytes(4, "big") + body


def too_large(size: int, limit: int) -> MessageFault:
    """grpc-go's words; clients show them."""
    return MessageFault(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})")


def gunzip(body: bytes, limit: int) -> bytes:
    """Decompress one message of at most `limit` bytes."""
    decompressor = zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
    try:
        message = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise MessageFault(Code.INTERNAL, f"grpc: failed to decompress the received message: {error}") from None
    if len(message) > limit:
        raise MessageFault(
            Code.RESOURCE_EXHAUSTED, f"grpc: received message after decompression larger than max {limit}"
        )
    if not decompressor.eof:
        raise MessageFault(Code.INTERNAL, "grpc: failed to decompress the received message: unexpected EOF")
    return message


class Assembler:
    """Messages out of the DATA of one stream, cut anywhere.  Holds at most one message of `limit` bytes."""

    __slots__ = ("_buffer", "_limit", "encoding")

    def __init__(self, limit: int, encoding: str) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self.encoding = encoding

    @property
    def is_empty(self) -> bool:
        """No part of a message waits for its rest."""
        return not self._buffer

    @property
    def size(self) -> int:
        """Bytes that wait for their rest."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that this data completes. Raises MessageFault."""
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        start = 0
        while len(buffer) - start >= PREFIX_BYTES:
            size = int.from_bytes(buffer[start + 1 : start + PREFIX_BYTES], "big")
            if size > self._limit:
                raise too_large(size, self._limit)
            end = start + PREFIX_BYTES + size
            if len(buffer) < end:
                break
            found.append(self._message(buffer[start], bytes(buffer[start + PREFIX_BYTES : end])))
            start = end
        if start:
            del buffer[:start]
        return found

    def _message(self, flag: int, body: bytes) -> bytes:
        if flag == 0:
            return body
        if flag != 1:
            raise MessageFault(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if self.encoding == "gzip":
            return gunzip(body, self._limit)
        if self.encoding in ("", "identity"):
            raise MessageFault(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        text = f'grpc: Decompressor is not installed for grpc-encoding "{self.encoding}"'
        raise MessageFault(Code.UNIMPLEMENTED, text)
