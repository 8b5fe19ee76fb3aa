"""Killed at the N-th sync or write of the log or the state; and again while it recovers."""

import contextlib
import signal
from pathlib import Path

import pytest

from chaos.machine.shim import environment as fault
from kvstore.rpc import RpcError
from tests.durability.member import Member, Writer
from tests.durability.shim import needs_compiler

pytestmark = needs_compiler

WRITES = 40
FEW = [
    ("log", "sync", "kill", 5),
    ("log", "write", "torn", 23),
    ("state", "write", "kill", 4),
    ("state", "sync", "kill", 3),
    ("state", "write", "torn", 1),  # while the store is made
]
MANY = [
    (place, call, action, at)
    for place in ("log", "state")
    for call, action in (("sync", "kill"), ("write", "kill"), ("write", "torn"))
    for at in (*range(1, 34), *range(35, 80, 4))  # each fault strikes twice: 540 crashes
]


async def crash(member: Member, folder: Path, place: str, call: str, action: str, at: int) -> None:
    environment = fault(folder, call, action, f"/data/{place}/", at=at)
    writer = Writer(member)
    if await member.start(environment, backend_batch_interval="20"):
        await writer.write(WRITES)
    await member.end()
    if await member.start(environment):  # it meets the same fault while it recovers
        with contextlib.suppress(RpcError):  # or a moment later, while it is asked
            await writer.check()
            await writer.write(WRITES)
    await member.end()
    assert await member.start(), member.words()
    await writer.check()
    assert await writer.write(3) is None
    assert await member.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(("place", "call", "action", "at"), FEW)
async def test_a_member_killed_at_a_crash_point_keeps_what_it_acknowledged(
    member: Member, tmp_path: Path, place: str, call: str, action: str, at: int
) -> None:
    await crash(member, tmp_path, place, call, action, at)


@pytest.mark.slow
@pytest.mark.parametrize(("place", "call", "action", "at"), MANY)
async def test_a_member_killed_at_any_crash_point_keeps_what_it_acknowledged(
    member: Member, tmp_path: Path, place: str, call: str, action: str, at: int
) -> None:
    await crash(member, tmp_path, place, call, action, at)
