"""A file system of one's own: an ext4 in an image on a tmpfs. Power cuts, failing syncs and full disks are real ones.

The tmpfs is larger than the image; when it is made smaller than what was written, the image has no room for its blocks, and
the kernel tells of write-backs that failed (fsync: EIO) as a thin disk does. Needs root and loop devices.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["Disk", "why_no_disks"]

EXT4_IOC_SHUTDOWN: Final = 0x8004587D
NO_LOG_FLUSH: Final = 2
IMAGE_BYTES: Final = 96 << 20
TMPFS_BYTES: Final = 2 * IMAGE_BYTES + (8 << 20)  # the image, and its copy while the machine "comes back"


class Disk:
    """An ext4 in a file, mounted at `path`. Without a tmpfs of its own (`is_thin` False) the image is in `folder`."""

    def __init__(self, folder: Path, *, is_thin: bool = True, image_bytes: int = IMAGE_BYTES) -> None:
        self.path = folder / "disk"
        self._under = folder / "thin" if is_thin else folder
        self._image = self._under / "image"
        self._is_thin, self._image_bytes = is_thin, image_bytes

    def open(self) -> None:
        """Make and mount it. Raises CalledProcessError where that is not allowed."""
        self.path.mkdir()
        if self._is_thin:
            self._under.mkdir()
            _run("mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(self._under))
        with self._image.open("wb") as file:
            file.truncate(self._image_bytes)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()

    def close(self) -> None:
        """Unmount all; nothing happens where nothing is mounted."""
        self.unmount()
        if self._is_thin:
            subprocess.run(["umount", "--lazy", str(self._under)], check=False, capture_output=True)

    def mount(self) -> None:
        _run("mount", "-o", "loop,errors=continue", str(self._image), str(self.path))

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=False, capture_output=True)

    def restart(self) -> None:
        """The machine comes back: with a copy of what was on the disk, since others may still hold the dead file system."""
        self.unmount()
        copy = self._image.with_name(f"{self._image.name}+")
        _run("cp", "--sparse=always", str(self._image), str(copy))
        self._image.unlink()
        self._image = copy
        self.mount()

    def cut_power(self) -> None:
        """What the kernel has not written is gone."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def shrink(self) -> None:
        """Leave the image no room for a block that it does not have yet."""
        used = shutil.disk_usage(self._under).used
        _run("mount", "-o", f"remount,size={used}", str(self._under))

    def grow(self) -> None:
        """Undo `shrink`."""
        _run("mount", "-o", f"remount,size={TMPFS_BYTES}", str(self._under))

    def fill(self) -> None:
        """Leave not one block of the file system free."""
        fill(self.path / "filler")

    def empty(self) -> None:
        """Undo `fill`."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "filler").unlink()

    @property
    def device(self) -> str:
        """Its block device as major:minor."""
        number = os.stat(self.path).st_dev
        return f"{os.major(number)}:{os.minor(number)}"


def fill(file: Path) -> None:
    """Write until the disk of `file` is full to the last block."""
    with file.open("wb", buffering=0) as opened:
        for size in (1 << 20, 4096, 1):
            try:
                while opened.write(bytes(size)) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def why_no_disks() -> str:
    """Return why there can be none here; "": there can."""
    if os.geteuid() != 0:
        return "only root may mount a disk"
    if shutil.which("mkfs.ext4") is None:
        return "mkfs.ext4 is not installed"
    if not Path("/dev/loop-control").exists():
        return "no loop devices"
    return ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
