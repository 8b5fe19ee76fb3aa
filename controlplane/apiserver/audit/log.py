"""The file of the audit log: lines are buffered, written by a thread in order, and the file is rotated.

A rotated file is `NAME-<time>.EXTENSION` beside it; `most_backups` and `most_age_days` say which of them stay.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

MOST_BUFFERED_EVENTS: Final = 10_000
MEBIBYTE: Final = 1024 * 1024
_STAMP: Final = "%Y-%m-%dT%H-%M-%S.%f"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is full and which old ones go; 0 is no limit (100 MiB for the size, as in kube-apiserver)."""

    most_mebibytes: int = 0
    most_backups: int = 0
    most_age_days: int = 0

    @property
    def most_bytes(self) -> int:
        return (self.most_mebibytes or 100) * MEBIBYTE


class AuditLog:
    """`path` "-" is standard output, which is never rotated."""

    def __init__(self, path: str, rotation: Rotation, now: Callable[[], datetime]) -> None:
        self._path = None if path == "-" else Path(path)
        self._rotation = rotation
        self._now = now
        self._buffer: list[bytes] = []
        self._news = asyncio.Event()
        self.dropped = 0
        self.written = 0

    def write(self, line: bytes) -> None:
        """Take a line; it is in the file a little later."""
        if len(self._buffer) >= MOST_BUFFERED_EVENTS:
            if not self.dropped:
                logger.error("the audit log is slower than its events: some are lost")
            self.dropped += 1
            return
        self._buffer.append(line)
        if not self._news.is_set():
            self._news.set()

    async def run(self) -> None:
        """Write what comes until cancelled; what is buffered then is written still."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                lines, self._buffer = self._buffer, []
                await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._append, lines))
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered, now: for a server that ends."""
        lines, self._buffer = self._buffer, []
        self._append(lines)

    def _append(self, lines: list[bytes]) -> None:
        if not lines:
            return
        data = b"".join(lines)
        try:
            if self._path is None:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            else:
                self._append_to(self._path, data)
            self.written += len(lines)
        except OSError as error:
            self.dropped += len(lines)
            logger.error("%d audit events are lost: %s", len(lines), error)

    def _append_to(self, path: Path, data: bytes) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(data)
            size = file.tell()
        if size >= self._rotation.most_bytes:
            stamp = self._now().strftime(_STAMP)[:-3]
            path.rename(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))
            self._forget(path)

    def _forget(self, path: Path) -> None:
        """Remove old files by number and age."""
        rotation = self._rotation
        backups = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"), reverse=True)
        gone = set(backups[rotation.most_backups :]) if rotation.most_backups else set()
        if rotation.most_age_days:
            oldest = (self._now() - timedelta(days=rotation.most_age_days)).strftime(_STAMP)
            gone |= {each for each in backups if each.stem.removeprefix(f"{path.stem}-") < oldest}
        for each in gone:
            each.unlink(missing_ok=True)
