"""Segments: an append-only file of checksummed frames, in pieces that can be dropped from the front.

A segment is a file whose size is fixed when it is made (less than 16 MiB where the disk is small), allocated beforehand,
so that an append changes no length and costs one fdatasync. It holds frames one after another, each at a multiple of
16 bytes, and zeros behind the last:

    length of the body, CRC-32 of the body, CRC-32 of the frame before, CRC-32 of these three      four 32-bit numbers
    the body, padded with zeros to a multiple of 16 bytes (the padding counts as body)

The checksum of a body begins with that of the frame before, over the borders of segments too, so nothing can be missing
in the middle. The first frame of a segment is what its owner wants to know without the segments before (`opening`), behind
a preface of ours: a mark of the format, and the file's size, so that a file that was cut is noticed.

Every frame is on disk before the next is written, so a power loss or a kill can tear the last one alone. What cannot be
read is taken for torn, and forgotten, only if nothing readable follows and a sector of it was never written; anything
else is damage (DamagedSegment), or a file that is missing or was cut (MissingSegment). A header never lies across two
sectors: it is whole, or it is zeros.

A disk without room (StoreFull) is no damage: what was written of the frame becomes zeros again, and the caller may append
the same once more. A sync that fails is: nobody knows then what is on the disk, and nothing is written any more.
"""

import errno
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvstore.storage.files import SYSTEM_FILES, Files
from kvstore.storage.port import StoreFull

__all__ = ["SUFFIX", "DamagedSegment", "MissingSegment", "Segments"]

SEGMENT_BYTES = 16 << 20
SMALLEST_SEGMENT_BYTES = 256 << 10
SHARE_OF_DISK = 32  # a segment takes no more than this part of what is free
_HEADER = struct.Struct(">IIII")
_CHECKED_BYTES = 12  # of the header, by its last field
_ALIGNMENT = 16
_PREFACE = struct.Struct(">8sQ")  # mark, size of the file
_MARK = b"PHLOG\0\0\1"
_SECTOR_BYTES = 512
SUFFIX = ".log"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DamagedSegment(Exception):
    """A frame that was written whole cannot be read; the message says where."""


class MissingSegment(Exception):
    """A file is missing or was cut, as in a directory that was copied in part; the message says which."""


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    note: int  # what the owner said when it began


class Segments:
    """The segments in `folder`. `opening` gives the first frame's body of a new one, and the owner's note on it."""

    def __init__(
        self, folder: Path, opening: Callable[[], tuple[bytes, int]], *, segment_bytes: int = SEGMENT_BYTES,
        files: Files = SYSTEM_FILES,
    ) -> None:
        self._folder, self._opening, self._segment_bytes, self._files = folder, opening, segment_bytes, files
        self._segments: list[_Segment] = []
        self._file = -1
        self._position = self._capacity = 0
        self._checksum = 0  # of the last frame
        self._is_broken = False
        self._stale: list[Path] = []
        files.make_folder(folder)

    # Reading -----------------------------------------------------------------------------------------------------

    def read(self, take: Callable[[bytes], int]) -> None:
        """Give every frame's body to `take`, which returns the owner's note on it.

        Appends go on behind the last. Raises DamagedSegment, MissingSegment; the files are as they were then.
        """
        assert self._file == -1, "segments are read before they are written"
        numbers = self._consecutive()
        for number in numbers:
            path = self._path(number)
            end = self._read_segment(path, take, is_first=number == numbers[0], is_last=number == numbers[-1])
            if not end:
                self._stale.append(path)  # the crash fell between its creation and its first frame
                break
            self._position = end

    def resume(self) -> None:
        """What was read is good: forget what is stale, append behind the rest."""
        for path in self._stale:
            self._files.unlink(path)
        self._stale.clear()
        if self._segments:
            self._resume(self._segments[-1].path)

    @property
    def newest(self) -> int:
        """The number of the newest segment; 0: there is none."""
        return self._segments[-1].number if self._segments else 0

    def _consecutive(self) -> list[int]:
        """The segments after the last gap: files that were dropped may come back after a power loss."""
        found = sorted(int(Path(name).stem, 16) for name in self._files.names(self._folder) if name.endswith(SUFFIX))
        start = max((i for i in range(1, len(found)) if found[i] != found[i - 1] + 1), default=0)
        self._stale = [self._path(number) for number in found[:start]]
        return found[start:]

    def _read_segment(
        self, path: Path, take: Callable[[bytes], int], *, is_first: bool, is_last: bool
    ) -> int:
        """Return where the frames end; 0: there is none."""
        data, position, size = self._files.read(path), 0, self._segment_bytes
        while (body := self._frame(data, position, path, is_last=is_last, is_any=is_first and not position)) is not None:
            is_opening, inner = not position, body
            if is_opening and body.startswith(_MARK):
                size, inner = _PREFACE.unpack_from(body)[1], body[_PREFACE.size :]
            if len(data) < size:
                raise MissingSegment(f"{path.name} has been cut to {len(data)} bytes")
            note = take(inner)
            if is_opening:
                self._segments.append(_Segment(int(path.stem, 16), path, note))
            position += _HEADER.size + len(body)
        if not position and not is_last:
            raise MissingSegment(f"{path.name} is empty")
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
        self._file = self._files.open(path)
        self._capacity = self._files.size(self._file)
        rest = self._files.pread(self._file, self._capacity - self._position, self._position)
        if rest != bytes(len(rest)):
            self._write(self._file, bytes(len(rest)), self._position)

    # Writing -----------------------------------------------------------------------------------------------------

    def append(self, body: bytes) -> None:
        """Write one frame durably.

        Raises StoreFull: nothing is written, and the same may be tried again. OSError: nothing more is ever written.
        """
        if self._is_broken:
            raise OSError(errno.EIO, "the log could not be written before, and is not written again")
        frame, checksum = _make_frame(body, self._checksum)
        if self._position + len(frame) > self._capacity:
            self._begin_segment(len(frame))
            frame, checksum = _make_frame(body, self._checksum)
        self._write(self._file, frame, self._position)
        self._position += len(frame)
        self._checksum = checksum

    def _write(self, file: int, data: bytes, position: int) -> None:
        self._is_broken = True
        written = 0
        try:
            while written < len(data):
                written += self._files.pwrite(file, data[written:] if written else data, position + written)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            if written:
                self._files.pwrite(file, bytes(written), position)
                self._files.fdatasync(file)
            self._is_broken = False
            raise StoreFull(str(error)) from error
        self._files.fdatasync(file)
        self._is_broken = False

    def _begin_segment(self, needed: int) -> None:
        """A new file, durable with its opening. Where there is no room for it everything is as it was."""
        number = self.newest + 1
        path = self._path(number)
        inner, note = self._opening()
        needed += _HEADER.size + _PREFACE.size + len(inner) + _ALIGNMENT
        capacity = max(self._capacity_for_disk(), needed)
        opening, checksum = _make_frame(_PREFACE.pack(_MARK, capacity) + inner, self._checksum)
        file = -1
        try:
            file = self._files.open(path, create=True, truncate=True)
            self._files.allocate(file, capacity)
            self._write(file, opening, 0)
        except (OSError, StoreFull) as error:
            if file != -1:
                self._files.close(file)
                self._files.unlink(path)
            if isinstance(error, OSError) and error.errno in _FULL and not self._is_broken:
                raise StoreFull(str(error)) from error
            raise
        self._close_file()
        self._file, self._is_broken = file, True
        self._files.sync_folder(self._folder)
        self._is_broken = False
        self._segments.append(_Segment(number, path, note))
        self._position, self._capacity, self._checksum = len(opening), capacity, checksum

    def _capacity_for_disk(self) -> int:
        share = self._files.free_bytes(self._folder) // SHARE_OF_DISK
        share = 1 << max(share, 1).bit_length() - 1
        return min(self._segment_bytes, max(share, SMALLEST_SEGMENT_BYTES))

    def drop_until(self, note: int) -> None:
        """Delete the segments before the last one whose note is `note` or less."""
        while len(self._segments) > 1 and self._segments[1].note <= note:
            self._files.unlink(self._segments.pop(0).path)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:016x}{SUFFIX}"

    def _close_file(self) -> None:
        if self._file != -1:
            self._files.close(self._file)
            self._file = -1

    def close(self) -> None:
        """Let go of the file; twice is harmless."""
        self._close_file()


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
