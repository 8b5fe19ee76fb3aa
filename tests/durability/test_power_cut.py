"""The power fails: an ext4 on a loop device is shut down without a flush, with the member at work on it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from chaos.machine.disks import Disk, why_no_disks
from tests.durability.member import Member, Writer

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if reason := why_no_disks():
        pytest.skip(reason)
    disk = Disk(tmp_path, is_thin=False)
    try:
        disk.open()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop device can be mounted here: {error.stderr}")
    yield disk
    disk.close()


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
