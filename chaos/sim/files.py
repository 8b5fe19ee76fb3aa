"""A file system that forgets: the Files port with everything that a power cut, a bad or a full disk may do to a log.

Two pictures of each file are kept: what its process reads back, and what is on the disk. A write changes the first;
`fdatasync` brings the second up to it. `crash` leaves of the writes between the two any selection of sectors, and of the
names that were made and removed since `sync_folder` any beginning of their row. What POSIX does not promise is not given.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chaos.sim.boundary import Boundaries

__all__ = ["DiskError", "SimulatedFiles"]

SECTOR_BYTES = 512
USUAL_FREE_BYTES = 1 << 30
PARTIAL_SHARE = 0.5  # of the writes that find no room: some of it is written all the same

_Write = tuple[int, bytes]


class DiskError(OSError):
    """What the simulated kernel answers when it was told to fail."""


@dataclass(slots=True)
class _File:
    shown: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[_Write] = field(default_factory=list)  # in order; applied to `shown` already


class SimulatedFiles:
    """One host's file system; it outlives the processes that use it."""

    def __init__(self, random: Random, boundaries: Boundaries) -> None:
        self.has_room = True
        self._boundaries = boundaries
        self._random = random
        self._names: dict[Path, _File] = {}
        self._durable_names: dict[Path, _File] = {}
        self._unsynced: list[tuple[Path, _File | None]] = []  # names made, or removed (None), in order
        self._open: dict[int, _File] = {}
        self._newest = 2
        self._calls_left = 0

    # Faults ----------------------------------------------------------------------------------------------------------

    def fail_at(self, calls: int) -> None:
        """The `calls`-th call from now fails with EIO, and so do all others until `mend`."""
        self._calls_left = calls

    def mend(self) -> None:
        """The disk is replaced by a good one with the same bytes, and has room."""
        self._calls_left, self.has_room = 0, True

    def crash(self) -> None:
        """A power cut, or a kill: everything un-synced survives, or nothing does, or any sectors of it do."""
        share = self._random.choice((0.0, 0.5, 1.0))
        kept = self._random.randrange(len(self._unsynced) + 1) if share == 0.5 else int(share) * len(self._unsynced)
        for path, file in self._unsynced[:kept]:
            _set(self._durable_names, path, file)
        self._names = dict(self._durable_names)
        self._unsynced.clear()
        self._open.clear()
        for file in self._names.values():
            self._settle(file, share)

    def _settle(self, file: _File, share: float) -> None:
        grown = len(file.shown) > len(file.durable) and self._random.random() < share
        if grown:
            file.durable.extend(bytes(len(file.shown) - len(file.durable)))
        for position, data in file.pending:
            for start, end in _sectors(position, len(data)):
                if end <= len(file.durable) and self._random.random() < share:
                    file.durable[start:end] = data[start - position : end - position]
        file.pending.clear()
        file.shown = bytearray(file.durable)

    def rot(self, folder: Path) -> str | None:
        """Flip one bit of what is written in a file of `folder`; tell where, None when there is nothing."""
        rotten = [(path, file) for path, file in sorted(self._durable_names.items())
                  if path.parent == folder and file.durable.rstrip(b"\0")]
        if not rotten:
            return None
        path, file = self._random.choice(rotten)
        position = self._random.randrange(len(file.durable.rstrip(b"\0")))
        bit = 1 << self._random.randrange(8)
        for picture in (file.durable, file.shown):
            picture[position] ^= bit
        return f"{path.name} byte {position}"

    def wipe(self) -> None:
        """A new disk."""
        self._names, self._durable_names = {}, {}
        self._unsynced.clear()
        self._open.clear()

    def _passed(self, what: str) -> None:
        self._boundaries.passed(what)
        if self._calls_left:
            self._calls_left -= 1
            if not self._calls_left:
                self._calls_left = 1
                raise DiskError(errno.EIO, "simulated")

    # The port --------------------------------------------------------------------------------------------------------

    def make_folder(self, folder: Path) -> None:
        """Folders are always there."""

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in self._names if path.parent == folder]

    def exists(self, path: Path) -> bool:
        return path in self._names

    def read(self, path: Path) -> bytes:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        self._passed("before a file is read")
        return bytes(self._names[path].shown)

    def open(self, path: Path, *, create: bool = False, truncate: bool = False) -> int:
        if path not in self._names:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
            self._passed("before a file is made")
            self._rename(path, _File())
            self._passed("file made")
        elif truncate:
            self._rename(path, _File())
        self._newest += 1
        self._open[self._newest] = self._names[path]
        return self._newest

    def _rename(self, path: Path, file: _File | None) -> None:
        _set(self._names, path, file)
        self._unsynced.append((path, file))

    def size(self, file: int) -> int:
        return len(self._open[file].shown)

    def pread(self, file: int, count: int, position: int) -> bytes:
        return bytes(self._open[file].shown[position : position + count])

    def pwrite(self, file: int, data: bytes, position: int) -> int:
        self._passed("before a write")
        if not self.has_room and any(data):  # zeros take what was written back
            if self._random.random() >= PARTIAL_SHARE:
                raise OSError(errno.ENOSPC, "simulated")
            cuts = [start - position for start, _ in _sectors(position, len(data))]  # file systems cut at blocks
            data = data[: self._random.choice(cuts)]
            if not data:
                raise OSError(errno.ENOSPC, "simulated")
        found, end = self._open[file], position + len(data)
        if end > len(found.shown):
            found.shown.extend(bytes(end - len(found.shown)))
        found.shown[position:end] = data
        found.pending.append((position, data))
        self._passed("written")
        return len(data)

    def allocate(self, file: int, size: int) -> None:
        self._passed("before a file grows")
        if not self.has_room:
            raise OSError(errno.ENOSPC, "simulated")
        shown = self._open[file].shown
        shown.extend(bytes(max(0, size - len(shown))))
        self._passed("file has grown")

    def fdatasync(self, file: int) -> None:
        self._passed("before a sync")
        found = self._open[file]
        durable = found.durable
        if len(found.shown) > len(durable):
            durable.extend(bytes(len(found.shown) - len(durable)))
        for position, data in found.pending:
            durable[position : position + len(data)] = data
        found.pending.clear()
        self._passed("synced")

    def close(self, file: int) -> None:
        self._open.pop(file, None)

    def unlink(self, path: Path) -> None:
        self._passed("before a name is removed")
        self._rename(path, None)
        self._passed("name removed")

    def sync_folder(self, folder: Path) -> None:
        self._passed("before names are synced")
        for path, file in self._unsynced:
            if path.parent == folder:
                _set(self._durable_names, path, file)
        self._unsynced = [(path, file) for path, file in self._unsynced if path.parent != folder]
        self._passed("names synced")

    def free_bytes(self, folder: Path) -> int:
        return USUAL_FREE_BYTES if self.has_room else 0


def _set(names: dict[Path, _File], path: Path, file: _File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file


def _sectors(position: int, length: int) -> list[tuple[int, int]]:
    """The parts of a write that each lie in one sector."""
    found, end = [], position + length
    while position < end:
        stop = min(end, position - position % SECTOR_BYTES + SECTOR_BYTES)
        found.append((position, stop))
        position = stop
    return found
