"""Files: the system calls that the log needs, as a port, so that a simulated disk can lose, tear and refuse what is asked of it.

Every method raises OSError as the system call does. A descriptor is a number that `open` gave and `close` ends. What has been
written lasts after `fdatasync` of the file alone; the file's name lasts after `sync_folder` of its folder.
"""

import os
from pathlib import Path
from typing import Protocol

__all__ = ["SYSTEM_FILES", "Files", "SystemFiles"]


class Files(Protocol):
    """A file system. One caller at a time, any thread."""

    def make_folder(self, folder: Path) -> None:
        """Make it and what it lies in, if it is not there."""

    def names(self, folder: Path) -> list[str]:
        """The names in the folder, in any order."""

    def exists(self, path: Path) -> bool:
        """Whether there is a file of that name."""

    def read(self, path: Path) -> bytes:
        """All bytes of a file."""

    def open(self, path: Path, *, create: bool = False, truncate: bool = False) -> int:
        """A descriptor for reading and writing; a new file is its owner's alone."""

    def size(self, file: int) -> int:
        """How many bytes the file has."""

    def pread(self, file: int, count: int, position: int) -> bytes:
        """Up to `count` bytes from `position`."""

    def pwrite(self, file: int, data: bytes, position: int) -> int:
        """Write `data` at `position`; return how much of it was written."""

    def allocate(self, file: int, size: int) -> None:
        """Make the file that large, filled with zeros that have their place on the disk."""

    def fdatasync(self, file: int) -> None:
        """Return when the file's bytes, and its size, are on the disk."""

    def close(self, file: int) -> None:
        """Let go of the descriptor."""

    def unlink(self, path: Path) -> None:
        """Remove the file's name."""

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""

    def free_bytes(self, folder: Path) -> int:
        """How much room the folder's disk has for us."""


class SystemFiles:
    """The machine's own."""

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        return os.listdir(folder)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def open(self, path: Path, *, create: bool = False, truncate: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_CREAT * create | os.O_TRUNC * truncate
        return os.open(path, flags, 0o600)

    def size(self, file: int) -> int:
        return os.fstat(file).st_size

    def pread(self, file: int, count: int, position: int) -> bytes:
        return os.pread(file, count, position)

    def pwrite(self, file: int, data: bytes, position: int) -> int:
        return os.pwrite(file, data, position)

    def allocate(self, file: int, size: int) -> None:
        os.posix_fallocate(file, 0, size)

    def fdatasync(self, file: int) -> None:
        os.fdatasync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def free_bytes(self, folder: Path) -> int:
        disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize


SYSTEM_FILES: Files = SystemFiles()
