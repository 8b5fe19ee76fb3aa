"""Log files: format, partial lines, rotation, tails, following."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.kubelet.runtimes.logs import MAX_LINE_BYTES, LogWriter, read_log, rotated
from controlplane.kubelet.runtimes.port import LogOptions


class Ticker:
    """A second passes with each reading."""

    def __init__(self) -> None:
        self.seconds = 0

    def __call__(self) -> str:
        self.seconds += 1
        return f"2026-01-01T00:{self.seconds // 60:02}:{self.seconds % 60:02}.000000000Z"


def make(path: Path, **fields: int) -> LogWriter:
    return LogWriter(path / "0.log", Ticker(), **fields)


async def read(path: Path, writer: LogWriter | None = None, **options: object) -> bytes:
    wanted = LogOptions(**options)  # type: ignore[arg-type]
    return b"".join([chunk async for chunk in read_log(path / "0.log", writer, wanted)])


async def test_lines_carry_time_stream_and_tag(tmp_path: Path) -> None:
    writer = make(tmp_path)
    writer.write("stdout", b"one\ntw")
    writer.write("stderr", b"oops\n")
    writer.write("stdout", b"o\nrest")
    writer.close()
    assert (tmp_path / "0.log").read_bytes() == (
        b"2026-01-01T00:00:01.000000000Z stdout F one\n"
        b"2026-01-01T00:00:02.000000000Z stderr F oops\n"
        b"2026-01-01T00:00:03.000000000Z stdout F two\n"
        b"2026-01-01T00:00:04.000000000Z stdout F rest\n"
    )
    assert await read(tmp_path) == b"one\noops\ntwo\nrest\n"


async def test_options_choose_lines(tmp_path: Path) -> None:
    writer = make(tmp_path)
    for index in range(5):
        writer.write("stdout", f"line {index}\n".encode())
    assert await read(tmp_path, tail_lines=2) == b"line 3\nline 4\n"
    assert await read(tmp_path, tail_lines=0) == b""
    assert await read(tmp_path, tail_lines=99) == await read(tmp_path)
    assert await read(tmp_path, limit_bytes=8) == b"line 0\nl"
    assert await read(tmp_path, since="2026-01-01T00:00:04.000000000Z") == b"line 3\nline 4\n"
    assert (await read(tmp_path, timestamps=True, tail_lines=1)) == b"2026-01-01T00:00:05.000000000Z line 4\n"
    writer.close()


async def test_rotation_keeps_two_files_and_a_tail_crosses_them(tmp_path: Path) -> None:
    writer = make(tmp_path, max_file_bytes=400)
    for index in range(30):
        writer.write("stdout", f"line {index}\n".encode())
    assert (tmp_path / "0.log").stat().st_size <= 400 and rotated(tmp_path / "0.log").stat().st_size <= 400
    assert sorted(os.listdir(tmp_path)) == ["0.log", "0.log.1"]
    assert await read(tmp_path, tail_lines=9) == b"".join(b"line %d\n" % n for n in range(21, 30))
    writer.close()


async def test_a_follower_sees_every_line_once_across_rotation_until_the_end(tmp_path: Path) -> None:
    writer = make(tmp_path, max_file_bytes=400)
    writer.write("stdout", b"line 0\n")
    task = asyncio.ensure_future(read(tmp_path, writer, follow=True))
    for index in range(1, 40):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writer.write("stdout", f"line {index}\n".encode())
    writer.close()
    assert await task == b"".join(b"line %d\n" % n for n in range(40))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"\n", b"xyz\n", b"q" * (MAX_LINE_BYTES + 7), b"\n\n"]), max_size=12))
def test_what_is_read_is_what_was_written_whatever_the_pieces(tmp_path_factory: object, pieces: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("logs")  # type: ignore[attr-defined]
    writer = make(folder)
    for piece in pieces:
        writer.write("stdout", piece)
    writer.close()
    written = b"".join(pieces)
    expected = written if not written or written.endswith(b"\n") else written + b"\n"
    assert asyncio.run(read(folder)) == expected
