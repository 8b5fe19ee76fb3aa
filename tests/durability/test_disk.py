"""A full disk; a disk that cannot sync."""

import asyncio
import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.machine.shim import environment as fault
from kvstore.rpc import Code, RpcError
from tests.durability.member import Member, Writer
from tests.durability.shim import needs_compiler

SMALL, LARGE = "160m", "400m"
RECOVERY_SECONDS = 12.0
NO_SPACE = (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")


@needs_compiler
@pytest.mark.parametrize("place", ["log", pytest.param("state", marks=pytest.mark.slow)])
async def test_a_sync_that_fails_ends_the_member_before_it_acknowledges(
    member: Member, tmp_path: Path, place: str
) -> None:
    writer = Writer(member)
    assert await member.start(fault(tmp_path, "sync", "EIO", f"/data/{place}/", at=12), backend_batch_interval="20")
    assert await writer.write(10_000) is not None
    assert await member.exit_code() == 1
    assert "Input/output error" in member.words()
    await member.end()
    assert await member.start(), member.words()
    await writer.check()


async def refused(member: Member) -> None:
    """Write until it is refused for want of room; what was under way then may end otherwise."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            try:
                await member.put(b"more", bytes(20_000), seconds=0.5)
            except RpcError as error:
                if (error.code, error.text) == NO_SPACE:
                    return


async def recovered(member: Member, writer: Writer) -> None:
    """It takes writes again, in the same process; the alarm is disarmed by itself."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while await writer.write(20) is not None:
            await member.read(b"none")  # no reason to wait: it answers
    await writer.check()


@needs_compiler
@pytest.mark.parametrize("place", ["log", *(pytest.param(place, marks=pytest.mark.slow) for place in ("state", ""))])
async def test_a_write_that_finds_no_room_is_refused_while_reads_go_on_and_taken_when_there_is_room(
    member: Member, tmp_path: Path, place: str
) -> None:
    full, writer = tmp_path / "full", Writer(member)
    flags = {"heartbeat_interval": "20", "election_timeout": "100", "backend_batch_interval": "20"}
    assert await member.start(fault(tmp_path, "write", "ENOSPC", f"/data/{place}", during=full), **flags)
    assert await writer.write(5) is None
    full.touch()
    await refused(member)
    await writer.check()
    full.unlink()
    await recovered(member, writer)
    await member.end()
    assert await member.start(), member.words()
    await writer.check()


async def test_a_member_whose_files_may_not_grow_refuses_writes_and_recovers(member: Member) -> None:
    writer = Writer(member)
    assert await member.start(heartbeat_interval="20", election_timeout="100", backend_batch_interval="20")
    assert await writer.write(5) is None
    before = resource.prlimit(member.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(member.pid, resource.RLIMIT_FSIZE, (200_000, before[1]))
    await refused(member)
    await writer.check()
    resource.prlimit(member.pid, resource.RLIMIT_FSIZE, before)
    await recovered(member, writer)


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    options = f"size={getattr(request, 'param', SMALL)}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
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
        refusal: RpcError | None = None
        for number in range(400):
            try:
                await member.put(b"fill%d" % number, bytes(400_000))
            except RpcError as error:
                refusal = error
                break
        assert refusal is not None
        assert (refusal.code, refusal.text) == NO_SPACE, member.words()
        await writer.check()
        grow(small_disk)
        await recovered(member, writer)
    finally:
        await member.end()


def fill(disk: Path) -> Path:
    """Leave not one block free."""
    other = disk / "other"
    with other.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return other


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", ["40m"], indirect=True)
async def test_a_small_disk_that_others_fill_to_the_last_block_loses_nothing_and_recovers(
    small_disk: Path, tmp_path: Path
) -> None:
    """Past every reserve; and the log's segments fit a disk that is not much larger than one of the usual size."""
    member = Member(tmp_path, data=small_disk / "data")
    writer = Writer(member)
    flags = {"heartbeat_interval": "20", "election_timeout": "100"}
    try:
        assert await member.start(**flags), member.words()
        assert await writer.write(300) is None
        for _ in range(2):
            other = fill(small_disk)
            await refused(member)
            await writer.check()
            other.unlink()
            await recovered(member, writer)
        fill(small_disk)
        await refused(member)
        await member.end()
        (small_disk / "other").unlink()
        assert await member.start(**flags), member.words()
        await recovered(member, writer)
    finally:
        await member.end()
