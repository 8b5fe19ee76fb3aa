"""A full disk; a disk that cannot sync."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.rpc import Code, RpcError
from tests.durability.member import Member, Writer
from tests.durability.shim import fault, needs_compiler

SMALL, LARGE = "160m", "400m"
RECOVERY_SECONDS = 30.0
NO_SPACE = (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")


@needs_compiler
@pytest.mark.parametrize("place", ["log", "state"])
async def test_a_sync_that_fails_ends_the_member_before_it_acknowledges(
    member: Member, tmp_path: Path, place: str
) -> None:
    writer = Writer(member)
    assert await member.start(fault(tmp_path, "sync", "EIO", f"/data/{place}/", at=12), backend_batch_interval="20")
    refused = await writer.write(10_000)
    assert refused is not None
    assert await member.exit_code() == 1
    assert "Input/output error" in member.words()
    await member.end()
    assert await member.start(), member.words()
    await writer.check()


@needs_compiler
async def test_a_write_that_fails_for_want_of_room_is_not_acknowledged(member: Member, tmp_path: Path) -> None:
    full, writer = tmp_path / "full", Writer(member)
    assert await member.start(fault(tmp_path, "write", "ENOSPC", "/data/", during=full))
    assert await writer.write(5) is None
    full.touch()
    assert await writer.write(10_000) is not None
    await member.end()
    full.unlink()
    assert await member.start(), member.words()
    await writer.check()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(disk)], check=True)


async def test_a_full_disk_refuses_writes_serves_reads_and_recovers(small_disk: Path, tmp_path: Path) -> None:
    member = Member(tmp_path, data=small_disk / "data")
    writer = Writer(member)
    try:
        assert await member.start(), member.words()
        assert await writer.write(20) is None
        refused: RpcError | None = None
        for number in range(400):
            try:
                await member.put(b"fill%d" % number, bytes(400_000))
            except RpcError as error:
                refused = error
                break
        assert refused is not None
        assert (refused.code, refused.text) == (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"), (
            member.words()
        )
        await writer.check()
        grow(small_disk)
        async with asyncio.timeout(RECOVERY_SECONDS):  # the alarm is disarmed by itself
            while await writer.write(20) is not None:
                await member.read(b"none")  # no reason to wait: it answers
        await writer.check()
    finally:
        await member.end()
