"""A TCP proxy before one member. Who dials is read from the kernel's tables, since all members dial the same address."""

import asyncio
import contextlib
import os
import socket
import struct
from asyncio import Server, StreamReader, StreamWriter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from chaos.net.conditions import CLIENTS, Rules

__all__ = ["Proxy", "dialler"]

PIECE_BYTES = 64 << 10
QUEUED_PIECES = 64
LOOK_SECONDS = 0.01  # how soon a healed cut is noticed
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST

Who = Callable[[int], str]  # the port that dialled -> a member's name, or CLIENTS


class Proxy:
    """Listens on a port and passes everything on to `upstream` (host, port), as the rules let it."""

    def __init__(self, name: str, upstream: tuple[str, int], rules: Rules, who: Who, random: Random) -> None:
        self.name = name
        self.refused = 0
        self._upstream, self._rules, self._who, self._random = upstream, rules, who, random
        self._server: Server | None = None
        self._open: dict[StreamWriter, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, port: int = 0) -> int:
        """Begin; return the port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, end every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self, source: str | None = None) -> int:
        """End connections (of one who dialled, or all) with RST; return how many."""
        hit = [writer for writer, who in self._open.items() if source in (None, who)]
        for writer in hit:
            _abort(writer)
        return len(hit)

    async def _accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # an end went away, which is what both ends are told
        finally:
            self._tasks.discard(task)
            _abort(writer)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        source = self._who(writer.get_extra_info("peername")[1])
        try:
            upper_reader, upper_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            self.refused += 1
            raise
        self._open[writer] = self._open[upper_writer] = source
        pumps = [
            asyncio.create_task(self._pump(reader, upper_writer, source, self.name)),
            asyncio.create_task(self._pump(upper_reader, writer, self.name, source)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for one in (writer, upper_writer):
                self._open.pop(one, None)
                with contextlib.suppress(OSError):
                    one.close()

    async def _pump(self, reader: StreamReader, writer: StreamWriter, source: str, destination: str) -> None:
        """Pass pieces on in order; each waits for its own time, so a delay does not narrow the stream."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_PIECES)

        async def fill() -> None:
            data = b"."
            while data:
                data = await reader.read(PIECE_BYTES)
                await pieces.put((loop.time() + self._delay(source, destination), data))

        filling = asyncio.create_task(fill())
        try:
            while True:
                due, data = await pieces.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if not data or not await self._write(writer, data, source, destination):
                    return
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)

    def _delay(self, source: str, destination: str) -> float:
        total = 0.0
        for rule in self._rules.between(source, destination):
            if rule.delay_seconds:
                rule.touched += 1
                total += rule.delay_seconds + self._random.uniform(0, rule.jitter_seconds)
        return total

    async def _write(self, writer: StreamWriter, data: bytes, source: str, destination: str) -> bool:
        """Return whether the connection goes on."""
        held = set[int]()
        while cuts := [rule for rule in self._rules.between(source, destination) if rule.cut]:
            for rule in cuts:
                rule.touched += id(rule) not in held
                held.add(id(rule))
            await asyncio.sleep(LOOK_SECONDS)
        for rule in self._rules.between(source, destination):
            if rule.bytes_per_second:
                rule.touched += 1
                await asyncio.sleep(len(data) / rule.bytes_per_second)
            if rule.truncate:
                rule.touched += 1
                writer.write(data[: len(data) // 2])
                return False
        writer.write(data)
        await writer.drain()
        return True


def _abort(writer: StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


def dialler(port: int, processes: Mapping[str, int]) -> str:
    """Return which of `processes` (name -> pid) has a socket bound to the local `port`; CLIENTS for anybody else."""
    for name, pid in processes.items():
        inodes = _inodes(pid, port)
        with contextlib.suppress(OSError):
            for entry in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{entry}") in inodes:
                        return name
    return CLIENTS


def _inodes(pid: int, port: int) -> set[str]:
    """The sockets of the network namespace of `pid` that are bound to `port`."""
    wanted, found = f":{port:04X}", set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted):
                    found.add(f"socket:[{fields[9]}]")
    return found
