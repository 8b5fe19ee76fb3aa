"""Stand-ins without a network: a byte stream of given pieces, a pair of connected streams, a command of given output."""

from __future__ import annotations

import asyncio
import socket


class Wire:
    """Bytes (see connection.py) with a queue in each direction."""

    def __init__(self) -> None:
        self.inward: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.outward: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = False

    async def receive(self) -> bytes | None:
        return await self.inward.get()

    async def send(self, message: bytes) -> None:
        if self.closed:
            raise ConnectionResetError("the client is gone")
        self.outward.put_nowait(message)

    async def close(self) -> None:
        self.closed = True


Pipes = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected() -> tuple[Pipes, Pipes]:
    """Two ends of one connection."""
    left, right = socket.socketpair()
    return await asyncio.open_connection(sock=left), await asyncio.open_connection(sock=right)


class Script:
    """RunningCommand: says what it is told to say, and remembers what it was told."""

    def __init__(self, output: dict[str, list[bytes]], code: int = 0, *, endless: bool = False) -> None:
        self.output = output
        self.code = code
        self.endless = endless
        self.written: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []
        self.input_ended = asyncio.Event()
        self.closed = False

    async def read(self, stream: str) -> bytes:
        if self.output.get(stream):
            return self.output[stream].pop(0)
        if self.endless:
            await self.input_ended.wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.written.append(data)

    def end_input(self) -> None:
        self.input_ended.set()

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def wait(self) -> int:
        return self.code

    async def close(self) -> None:
        self.closed = True
