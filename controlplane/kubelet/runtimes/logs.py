"""Container logs on disk, in the format of the container runtime interface: `TIME STREAM TAG LINE`, TAG is F or P (partial).

One file per attempt, rotated once at a size: at most two files of MAX_FILE_BYTES each. The writer and the readers live in one
process, so that a reader that follows is woken by the writer and never polls.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from controlplane.kubelet.runtimes.port import LogOptions

MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
CHUNK_BYTES = 64 * 1024


class LogWriter:
    """The log of one attempt while it runs. `now_text` gives the time as RFC 3339 with nanoseconds."""

    def __init__(self, path: Path, now_text: Callable[[], str], max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path
        self.generation = 0
        self.closed = False
        self._now_text = now_text
        self._max_file_bytes = max_file_bytes
        self._rests: dict[str, bytes] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        self._size = self._file.tell()

    def write(self, stream: str, data: bytes) -> None:
        """Bytes of "stdout" or "stderr" as they came; a line without an end waits for it, up to MAX_LINE_BYTES."""
        *lines, rest = (self._rests.get(stream, b"") + data).split(b"\n")
        prefix = f"{self._now_text()} {stream} ".encode()
        out = bytearray()
        for line in lines:
            while len(line) > MAX_LINE_BYTES:
                out += prefix + b"P " + line[:MAX_LINE_BYTES] + b"\n"
                line = line[MAX_LINE_BYTES:]
            out += prefix + b"F " + line + b"\n"
        while len(rest) >= MAX_LINE_BYTES:
            out += prefix + b"P " + rest[:MAX_LINE_BYTES] + b"\n"
            rest = rest[MAX_LINE_BYTES:]
        self._rests[stream] = rest
        self._append(bytes(out))

    def close(self) -> None:
        """Write what waits for its line end, and tell the readers that nothing more comes."""
        if self.closed:
            return
        prefix = self._now_text()
        for stream, rest in self._rests.items():
            if rest:
                self._append(f"{prefix} {stream} F ".encode() + rest + b"\n")
        self.closed = True
        self._file.close()
        self._wake()

    def _append(self, data: bytes) -> None:
        if not data:
            return
        if self._size and self._size + len(data) > self._max_file_bytes:
            self._rotate()
        try:
            self._file.write(data)
        except OSError:
            return  # a full disk costs log lines, not the container
        self._size += len(data)
        self._wake()

    def _rotate(self) -> None:
        self._file.close()
        os.replace(self.path, rotated(self.path))
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        self._size = 0
        self.generation += 1

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def changed(self) -> None:
        """Wait until something is written or the log is closed."""
        if self.closed:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


def rotated(path: Path) -> Path:
    """Where the older half of a log is."""
    return path.with_name(path.name + ".1")


def format_line(line: bytes, options: LogOptions) -> bytes:
    """One line of the file as the user gets it; b"" when it is older than `options.since`."""
    moment, _, rest = line.partition(b" ")
    if options.since and moment.decode("ascii", "replace") < options.since:
        return b""
    _, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if tag == b"F":
        text += b"\n"
    return moment + b" " + text if options.timestamps else text


def _tail(data: bytes, count: int) -> bytes:
    """The last `count` lines of whole lines."""
    position = len(data)
    for _ in range(count + 1):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            return data
    return data[position + 1 :] if count else b""


def _render(data: bytes, options: LogOptions) -> Iterator[bytes]:
    out = bytearray()
    for line in data.split(b"\n"):
        if line:
            out += format_line(line, options)
            if len(out) >= CHUNK_BYTES:
                yield bytes(out)
                out.clear()
    if out:
        yield bytes(out)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _read_at(path: Path, offset: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(CHUNK_BYTES)


async def read_log(path: Path, writer: LogWriter | None, options: LogOptions) -> AsyncIterator[bytes]:
    """The log at `path`, then (with `follow`, while its writer is open) what is added. Chunks of whole lines."""
    left = options.limit_bytes
    async for chunk in _unlimited(path, writer, options):
        if left is None:
            yield chunk
            continue
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


async def _unlimited(path: Path, writer: LogWriter | None, options: LogOptions) -> AsyncIterator[bytes]:
    generation = writer.generation if writer is not None else 0
    older, newer = _read(rotated(path)), _read(path)
    offset = len(newer)
    if options.tail_lines is not None:
        newer = _tail(newer, options.tail_lines)
        missing = options.tail_lines - newer.count(b"\n")
        older = _tail(older, missing) if missing > 0 else b""
    for data in (older, newer):
        for chunk in _render(data, options):
            yield chunk
    older = newer = b""
    while options.follow and writer is not None:
        if writer.generation != generation:
            ended = _read(rotated(path))[offset:] if writer.generation == generation + 1 else b""
            generation, offset = writer.generation, 0
            for chunk in _render(ended, options):
                yield chunk
        data = _read_at(path, offset)
        whole = data[: data.rfind(b"\n") + 1]
        offset += len(whole)
        if whole:
            for chunk in _render(whole, options):
                yield chunk
        elif writer.closed:
            return
        else:
            await writer.changed()
