"""The power fails: an ext4 on a loop device is shut down without a flush, with the member at work on it."""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.durability.member import Member, Writer

pytestmark = pytest.mark.slow

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
IMAGE_BYTES = 96 << 20


class Disk:
    """An ext4 in a file, mounted."""

    def __init__(self, folder: Path) -> None:
        self._image, self.path = folder / "image", folder / "disk"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.path)], check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=False, capture_output=True)

    def restart(self) -> None:
        """The machine comes back: with a copy of what was on the disk, since others may still hold the dead file system."""
        self.unmount()
        copy = self._image.with_name(f"{self._image.name}+")
        shutil.copyfile(self._image, copy)
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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4")
    disk = Disk(tmp_path)
    try:
        disk.mount()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop device can be mounted here: {error.stderr}")
    yield disk
    disk.unmount()


@pytest.mark.parametrize("seed", range(10))
async def test_a_power_cut_loses_nothing_that_was_acknowledged(disk: Disk, tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    member = Member(tmp_path, data=disk.path / "data")
    writer = Writer(member)
    try:
        for _ in range(3):
            assert await member.start(backend_batch_interval="20", snapshot_count="100"), member.words()
            await writer.check()
            assert await writer.write(random.randrange(50, 400)) is None
            disk.cut_power()
            await member.end()
            disk.restart()
        assert await member.start(), member.words()
        await writer.check()
    finally:
        await member.end()
