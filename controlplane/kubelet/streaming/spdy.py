"""SPDY/3.1 frames, sans-IO: what kubectl's older exec, and every kubectl's port-forward, speak (draft-mbelshe-httpbis-spdy-00).

`Codec.feed(bytes) -> frames`, `Codec.encode(frame) -> bytes`. One Codec serves one direction pair of one connection, because
header blocks share a compression context. Windows are read and ignored, as the Go library on the other side does.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from controlplane.kubelet.streaming.dictionary import DICTIONARY

VERSION: Final = 3
MAX_HEADERS_BYTES: Final = 64 * 1024
MAX_CONTROL_BYTES: Final = 64 * 1024
MAX_DATA_BYTES: Final = 64 * 1024  # what we send in one frame
FIN: Final = 0x01
PROTOCOL_ERROR: Final = 1
REFUSED_STREAM: Final = 3
CANCEL: Final = 5

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_STREAM_ID_MASK: Final = 0x7FFFFFFF


class SpdyError(Exception):
    """The peer broke the protocol; the connection cannot be used any longer."""


@dataclass(frozen=True, slots=True)
class SynStream:
    """A peer opens a stream. Header names are lower case."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False
    unidirectional: bool = False


@dataclass(frozen=True, slots=True)
class SynReply:
    """The stream is accepted."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    """More headers of an open stream."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; `fin`: the last ones in this direction."""

    stream: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class RstStream:
    """The stream ends at once."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back as it is."""

    number: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """No more streams on this connection."""

    last_stream: int
    status: int = 0


Frame = SynStream | SynReply | Headers | Data | RstStream | Ping | GoAway


class Codec:
    """Both directions of one connection."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(zdict=DICTIONARY)
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames that are whole now. SpdyError for what is no SPDY/3; then the codec must not be used again."""
        self._rest += data
        while (frame := self._take()) is not None:
            kind, flags, payload = frame
            decoded = self._decode(kind, flags, payload)
            if decoded is not None:
                yield decoded

    def _take(self) -> tuple[int, int, bytes] | None:
        """(control type or minus the stream id, flags, payload) of the next frame. A data frame longer than it should be
        comes in one piece all the same: its length has 24 bits, so it is bounded."""
        if len(self._rest) < 8:
            return None
        first, second = struct.unpack_from(">II", self._rest)
        flags, length = second >> 24, second & 0xFFFFFF
        is_control = bool(first >> 31)
        if is_control:
            if (first >> 16) & 0x7FFF != VERSION:
                raise SpdyError(f"version {(first >> 16) & 0x7FFF} is not served")
            if length > MAX_CONTROL_BYTES:
                raise SpdyError(f"a control frame of {length} bytes")
        if len(self._rest) < 8 + length:
            return None
        payload = bytes(self._rest[8 : 8 + length])
        del self._rest[: 8 + length]
        return (first & 0xFFFF if is_control else -(first & _STREAM_ID_MASK)), flags, payload

    def _decode(self, kind: int, flags: int, payload: bytes) -> Frame | None:
        fin = bool(flags & FIN)
        if kind <= 0:
            return Data(-kind, payload, fin)
        try:
            if kind == _SYN_STREAM:
                (stream,) = struct.unpack_from(">I", payload)
                return SynStream(stream & _STREAM_ID_MASK, self._headers(payload[10:]), fin, bool(flags & 2))
            if kind in (_SYN_REPLY, _HEADERS):
                (stream,) = struct.unpack_from(">I", payload)
                made = SynReply if kind == _SYN_REPLY else Headers
                return made(stream & _STREAM_ID_MASK, self._headers(payload[4:]), fin)
            if kind == _RST_STREAM:
                stream, code = struct.unpack(">II", payload)
                return RstStream(stream & _STREAM_ID_MASK, code)
            if kind == _PING:
                return Ping(struct.unpack(">I", payload)[0])
            if kind == _GOAWAY:
                stream, code = struct.unpack(">II", payload)
                return GoAway(stream & _STREAM_ID_MASK, code)
        except struct.error as error:
            raise SpdyError(f"a frame of type {kind} is cut short") from error
        return None  # SETTINGS and WINDOW_UPDATE ask nothing of us; unknown types are to be ignored

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._decompressor.decompress(block, MAX_HEADERS_BYTES)
        except zlib.error as error:
            raise SpdyError(f"headers: {error}") from error
        if self._decompressor.unconsumed_tail:
            raise SpdyError(f"headers of more than {MAX_HEADERS_BYTES} bytes")
        return _unpack(text)

    def encode(self, frame: Frame) -> bytes:
        """The bytes of a frame. `Data` of any length becomes as many frames as it needs."""
        match frame:
            case Data(stream, data, fin):
                return _data(stream, data, fin)
            case SynStream(stream, headers, fin, unidirectional):
                payload = struct.pack(">IIH", stream, 0, 0) + self._pack(headers)
                return _control(_SYN_STREAM, fin | unidirectional << 1, payload)
            case SynReply(stream, headers, fin):
                return _control(_SYN_REPLY, fin, struct.pack(">I", stream) + self._pack(headers))
            case Headers(stream, headers, fin):
                return _control(_HEADERS, fin, struct.pack(">I", stream) + self._pack(headers))
            case RstStream(stream, code):
                return _control(_RST_STREAM, 0, struct.pack(">II", stream, code))
            case Ping(number):
                return _control(_PING, 0, struct.pack(">I", number))
            case GoAway(stream, code):
                return _control(_GOAWAY, 0, struct.pack(">II", stream, code))

    def _pack(self, headers: Mapping[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.encode("latin-1"), value.encode("latin-1")):
                parts += [struct.pack(">I", len(text)), text]
        return self._compressor.compress(b"".join(parts)) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


def _unpack(text: bytes) -> dict[str, str]:
    """Names and values of a block; the values of a repeated name are joined with a NUL, as the protocol has it."""
    position = 0

    def number() -> int:
        nonlocal position
        if position + 4 > len(text):
            raise SpdyError("headers are cut short")
        position += 4
        return int.from_bytes(text[position - 4 : position], "big")

    def string() -> str:
        nonlocal position
        length = number()
        if position + length > len(text):
            raise SpdyError("headers are cut short")
        position += length
        return text[position - length : position].decode("latin-1")

    found: dict[str, str] = {}
    for _ in range(number()):
        name = string().lower()
        found[name] = string()
    return found


def _control(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, kind, flags << 24 | len(payload)) + payload


def _data(stream: int, data: bytes, fin: bool) -> bytes:
    frames = []
    for start in range(0, len(data), MAX_DATA_BYTES) or (0,):
        part = data[start : start + MAX_DATA_BYTES]
        last = start + MAX_DATA_BYTES >= len(data)
        frames.append(struct.pack(">II", stream, (fin and last) << 24 | len(part)) + part)
    return b"".join(frames)
