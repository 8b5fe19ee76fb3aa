"""A client at the streams of a container that already runs."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from controlplane.kubelet.runtimes.container import Container

MAX_BEHIND_BYTES: Final = 4 * 1024 * 1024  # who reads no more loses the attachment; the container is not held up


class Attachment:
    """See RunningCommand. Output from now on; what was written before is in the log."""

    def __init__(self, container: Container, *, stdin: bool) -> None:
        self._container = container
        self._stdin = stdin
        self._chunks: dict[str, deque[bytes]] = {"stdout": deque(), "stderr": deque()}
        self._behind_bytes = 0
        self._over = False
        self._changed = asyncio.Event()
        container.listeners.add(self._on_output)

    def _on_output(self, stream: str, data: bytes) -> None:
        """The container has written; no data: it has ended."""
        if data:
            self._chunks[stream].append(data)
            self._behind_bytes += len(data)
        if not data or self._behind_bytes > MAX_BEHIND_BYTES:
            self._over = True
            self._container.listeners.discard(self._on_output)
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(self, stream: str) -> bytes:
        """See RunningCommand.read."""
        chunks = self._chunks[stream]
        while not chunks:
            if self._over:
                return b""
            await self._changed.wait()
        data = chunks.popleft()
        self._behind_bytes -= len(data)
        return data

    async def write(self, data: bytes) -> None:
        """See RunningCommand.write."""
        if self._stdin and self._container.input is not None:
            await self._container.input.write(data)

    def end_input(self) -> None:
        """The container's input ends with the first client's where the pod says stdinOnce; otherwise others may come."""
        if self._stdin and self._container.request.stdin_once and self._container.input is not None:
            self._container.input.close()

    def resize(self, columns: int, rows: int) -> None:
        """See RunningCommand.resize."""
        self._container.resize(columns, rows)

    async def wait(self) -> int:
        """See RunningCommand.wait. At once when the client was too far behind."""
        if self._behind_bytes > MAX_BEHIND_BYTES:
            return 0
        await self._container.ended.wait()
        ended = self._container.instance.exit
        return ended.exit_code if ended is not None else 0

    async def close(self) -> None:
        """See RunningCommand.close."""
        self._container.listeners.discard(self._on_output)
        self.end_input()
