"""Segments: an append-only file of checksummed frames, in pieces that can be dropped from the front.

A segment is a file of a fixed size, allocated beforehand, so that an append changes no length and costs one fdatasync.
It holds frames one after another, each at a multiple of 16 bytes, and zeros behind the last:

    length of the body, CRC-32 of the body, CRC-32 of the frame before, CRC-32 of these three      four 32-bit numbers
    the body, padded with zeros to a multiple of 16 bytes (the padding counts as body)

The checksum of a body begins with that of the frame before, over the borders of segments too, so nothing can be missing
in the middle. The first frame of a segment is what its owner wants to know without the segments before (`opening`).

Every frame is on disk before the next is written, so a power loss or a kill can tear the last one alone. What cannot be
read is taken for torn, and forgotten, only if nothing readable follows and a sector of it was never written; anything
else is damage (DamagedSegment). A header never lies across two sectors: it is whole, or it is zeros.
"""

import errno
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvstore.storage.port import StoreFull

__all__ = ["SUFFIX", "DamagedSegment", "Segments", "sync_folder"]

SEGMENT_BYTES = 16 << 20
_HEADER = struct.Struct(">IIII")
_CHECKED_BYTES = 12  # of the header, by its last field
_ALIGNMENT = 16
_SECTOR_BYTES = 512
SUFFIX = ".log"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DamagedSegment(Exception):
    """A frame that was written whole cannot be read, or is missing; the message says where."""


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    note: int  # what the owner said when it began


class Segments:
    """The segments in `folder`. `opening` gives the first frame's body of a new one, and the owner's note on it."""

    def __init__(self, folder: Path, opening: Callable[[], tuple[bytes, int]], *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder, self._opening, self._segment_bytes = folder, opening, segment_bytes
        self._segments: list[_Segment] = []
        self._file = -1
        self._position = self._capacity = 0
        self._checksum = 0  # of the last frame
        self._is_broken = False
        folder.mkdir(parents=True, exist_ok=True)

    # Reading -----------------------------------------------------------------------------------------------------

    def read(self, take: Callable[[bytes], int]) -> None:
        """Give every frame's body to `take`, which returns the owner's note on it.

        Appends go on behind the last. Raises DamagedSegment.
        """
        assert self._file == -1, "segments are read before they are written"
        numbers = self._consecutive()
        for number in numbers:
            path = self._path(number)
            end = self._read_segment(path, take, is_first=number == numbers[0], is_last=number == numbers[-1])
            if not end:
                path.unlink()  # the crash fell between its creation and its first frame
                break
            self._position = end
        if self._segments:
            self._resume(self._segments[-1].path)

    def _consecutive(self) -> list[int]:
        """The segments after the last gap: files that were dropped may come back after a power loss."""
        found = sorted(int(path.stem, 16) for path in self._folder.glob(f"*{SUFFIX}"))
        start = max((i for i in range(1, len(found)) if found[i] != found[i - 1] + 1), default=0)
        for number in found[:start]:
            self._path(number).unlink()
        return found[start:]

    def _read_segment(
        self, path: Path, take: Callable[[bytes], int], *, is_first: bool, is_last: bool
    ) -> int:
        """Return where the frames end; 0: there is none."""
        data, position = path.read_bytes(), 0
        while (body := self._frame(data, position, path, is_last=is_last, is_any=is_first and not position)) is not None:
            note = take(body)
            if not position:
                self._segments.append(_Segment(int(path.stem, 16), path, note))
            position += _HEADER.size + len(body)
        if len(data) < self._segment_bytes and (position or not is_last):
            raise DamagedSegment(f"{path.name} has been cut to {len(data)} bytes")
        if not position and not is_last:
            raise DamagedSegment(f"{path.name} is empty")
        return position

    def _frame(self, data: bytes, position: int, path: Path, *, is_last: bool, is_any: bool) -> bytes | None:
        """The body at `position`; None at the end. `is_any`: what came before it is not known."""
        if position + _HEADER.size > len(data):
            return None
        length, checksum, previous, own = header = _HEADER.unpack_from(data, position)
        if not any(header) and data[position:] == bytes(len(data) - position):
            return None
        start = position + _HEADER.size
        if own == zlib.crc32(data[position : position + _CHECKED_BYTES]):
            body = data[start : start + length]
            if len(body) == length and zlib.crc32(body, previous) == checksum and (is_any or previous == self._checksum):
                self._checksum = checksum
                return body
            is_torn = len(body) == length and _has_unwritten_sector(data, start, start + length)
        else:
            is_torn = not any(header)
        if is_last and is_torn and not _has_frame(data, position + _ALIGNMENT):
            return None
        raise DamagedSegment(f"{path.name}: the frame at byte {position} does not match its checksum")

    def _resume(self, path: Path) -> None:
        """Append behind the last whole frame of `path`; what is torn there becomes zeros again."""
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._capacity = os.fstat(self._file).st_size
        rest = os.pread(self._file, self._capacity - self._position, self._position)
        if rest != bytes(len(rest)):
            self._write(bytes(len(rest)), self._position)

    # Writing -----------------------------------------------------------------------------------------------------

    def append(self, body: bytes) -> None:
        """Write one frame durably. Raises StoreFull, OSError; after either nothing more is written."""
        if self._is_broken:
            raise OSError(errno.EIO, "the log could not be written before, and is not written again")
        self._is_broken = True
        try:
            frame, checksum = _make_frame(body, self._checksum)
            if self._position + len(frame) > self._capacity:
                self._begin_segment(len(frame))
                frame, checksum = _make_frame(body, self._checksum)
            self._write(frame, self._position)
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull(str(error)) from error
            raise
        self._position += len(frame)
        self._checksum = checksum
        self._is_broken = False

    def _write(self, data: bytes, position: int) -> None:
        file = self._file
        written = os.pwrite(file, data, position)
        while written < len(data):
            written += os.pwrite(file, data[written:], position + written)
        os.fdatasync(file)

    def _begin_segment(self, needed: int) -> None:
        """A new file, durable with its opening."""
        number = self._segments[-1].number + 1 if self._segments else 1
        path = self._path(number)
        body, note = self._opening()
        opening, checksum = _make_frame(body, self._checksum)
        capacity = max(self._segment_bytes, len(opening) + needed)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._close_file()
        self._file = file
        os.posix_fallocate(file, 0, capacity)
        self._write(opening, 0)
        sync_folder(self._folder)
        self._segments.append(_Segment(number, path, note))
        self._position, self._capacity, self._checksum = len(opening), capacity, checksum

    def drop_until(self, note: int) -> None:
        """Delete the segments before the last one whose note is `note` or less."""
        while len(self._segments) > 1 and self._segments[1].note <= note:
            self._segments.pop(0).path.unlink()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:016x}{SUFFIX}"

    def _close_file(self) -> None:
        if self._file != -1:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        """Let go of the file; twice is harmless."""
        self._close_file()


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make_frame(body: bytes, previous: int) -> tuple[bytes, int]:
    padded = body + bytes(-len(body) % _ALIGNMENT)
    checksum = zlib.crc32(padded, previous)
    head = _HEADER.pack(len(padded), checksum, previous, 0)[:_CHECKED_BYTES]
    return b"".join((head, zlib.crc32(head).to_bytes(4, "big"), padded)), checksum


def _has_unwritten_sector(data: bytes, start: int, end: int) -> bool:
    """Whether a sector between the two places holds only zeros: as it was allocated."""
    while start < end:
        stop = min(end, start - start % _SECTOR_BYTES + _SECTOR_BYTES)
        if data[start:stop] == bytes(stop - start):
            return True
        start = stop
    return False


def _has_frame(data: bytes, position: int) -> bool:
    """Whether a whole frame begins at `position` or later."""
    end = len(data.rstrip(b"\0"))
    while position < end:
        length, checksum, previous, own = _HEADER.unpack_from(data, position)
        start = position + _HEADER.size
        is_header = own == zlib.crc32(data[position : position + _CHECKED_BYTES]) and start + length <= len(data)
        if is_header and zlib.crc32(data[start : start + length], previous) == checksum:
            return True
        position += _ALIGNMENT
    return False
