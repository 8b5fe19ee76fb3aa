"""Flipped bytes, torn files, half copies, directories of others: a clear refusal, exit code 1, no traceback."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.durability.member import Member, Writer


async def fill(member: Member, count: int = 60) -> Writer:
    writer = Writer(member)
    assert await member.start(snapshot_count="100"), member.words()
    assert await writer.write(count) is None
    return writer


async def refusal(member: Member) -> str:
    """Start it and return what it says while it refuses."""
    said = len(member.words())
    assert not await member.start(), "it serves"
    assert await member.end() == 1
    words = member.words()[said:]
    assert "Traceback" not in words, words
    assert "Error: " in words
    return words


def flip(folder: Path, text: bytes) -> int:
    """Flip one bit of each occurrence of `text` in the files of a folder; return how many there were."""
    count = 0
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = bytearray(path.read_bytes())
        place = data.find(text)
        while place >= 0:
            data[place + len(text) // 2] ^= 4
            count += 1
            place = data.find(text, place + len(text))
        path.write_bytes(data)
    return count


async def test_a_flipped_bit_in_the_log_is_refused(member: Member) -> None:
    writer = await fill(member)
    await member.end(signal.SIGKILL)
    key = sorted(writer.acknowledged)[30]
    assert flip(member.data / "log", writer.acknowledged[key]) > 0
    words = await refusal(member)
    assert "checksum" in words.lower() or "damaged" in words.lower(), words


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // 4096 * 4096)


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


HALVES: dict[str, Callable[[Path], object]] = {
    "the log is missing": lambda data: shutil.rmtree(data / "log"),
    "the log is empty": lambda data: largest(data / "log").unlink(),
    "the log is cut in half": lambda data: cut_in_half(largest(data / "log")),
    "the identity is empty": lambda data: (data / "identity.json").write_bytes(b""),
    "the identity is no identity": lambda data: (data / "identity.json").write_bytes(b"{}"),
}


@pytest.mark.parametrize("damage", HALVES)
async def test_a_half_copied_directory_is_refused(member: Member, damage: str) -> None:
    await fill(member, 200)
    await member.end(signal.SIGTERM)
    HALVES[damage](member.data)
    assert str(member.data) in await refusal(member)


LOST_STATES: dict[str, Callable[[Path], object]] = {
    "missing": lambda data: shutil.rmtree(data / "state"),
    "empty": lambda data: largest(data / "state").write_bytes(b""),
    "cut in half": lambda data: cut_in_half(largest(data / "state")),
}


@pytest.mark.parametrize("loss", LOST_STATES)
async def test_a_lost_state_is_refused_or_made_anew_whole(member: Member, loss: str) -> None:
    """Which of the two depends on what the log still holds: its segments go only when all of their entries may."""
    writer = await fill(member, 200)
    await member.end(signal.SIGTERM)
    LOST_STATES[loss](member.data)
    if await member.start():
        await writer.check()
    else:
        assert await member.end() == 1
        assert str(member.data) in member.words().splitlines()[-1]


async def test_a_state_that_was_lost_is_made_anew_from_a_whole_log(member: Member) -> None:
    writer = await fill(member, 60)
    await member.end(signal.SIGTERM)
    shutil.rmtree(member.data / "state")
    assert await member.start(), member.words()
    await writer.check()


async def test_a_directory_of_a_newer_format_is_refused(member: Member) -> None:
    await fill(member, 3)
    await member.end(signal.SIGTERM)
    path = member.data / "identity.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 7'))
    assert "has the format 7, this version reads and writes 1" in await refusal(member)


async def test_the_directory_of_another_member_is_refused(member: Member, tmp_path: Path) -> None:
    await fill(member, 3)
    await member.end(signal.SIGTERM)
    other = Member(tmp_path, name="two", data=member.data)
    assert "belongs to member one" in await refusal(other)


async def test_a_directory_in_use_is_refused(member: Member, tmp_path: Path) -> None:
    await fill(member, 3)
    other = Member(tmp_path, name="two", data=member.data)
    assert "is in use by another process" in await refusal(other)
