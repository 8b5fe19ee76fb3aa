"""A TCP proxy before one member. Who dials is asked of the kernel, since all members dial the same address."""

import asyncio
import contextlib
import os
import socket
import struct
from asyncio import Server, StreamReader, StreamWriter
from collections.abc import Callable, Mapping
from random import Random

from chaos.net.conditions import CLIENTS, Rules

__all__ = ["Proxy", "dialler"]

PIECE_BYTES = 64 << 10
QUEUED_PIECES = 64
LOOK_SECONDS = 0.01  # how soon a healed cut is noticed
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, ANY = 4, 20, 1, 0xFFFFFFFF

Address = tuple[str, int]
Who = Callable[[Address, Address], str]  # who dialled from here to there -> a member's name, or CLIENTS


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
        source = self._who(writer.get_extra_info("peername"), writer.get_extra_info("sockname"))
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


def dialler(local: Address, remote: Address, processes: Mapping[str, int]) -> str:
    """Return which of `processes` (name -> pid) has the socket from `local` to `remote`; CLIENTS for anybody else."""
    wanted = f"socket:[{_inode(local, remote)}]"
    for name, pid in processes.items():
        with contextlib.suppress(OSError):
            for entry in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{entry}") == wanted:
                        return name
    return CLIENTS


def _inode(local: Address, remote: Address) -> int:
    """Ask the kernel for one socket (sock_diag(7)): its tables in /proc take long to read on a busy machine. 0: none."""
    ends = struct.pack("!HH", local[1], remote[1]) + b"".join(
        socket.inet_aton(host) + bytes(12) for host in (local[0], remote[0])
    )
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, ANY)
    request += ends + struct.pack("=III", 0, ANY, ANY)  # any interface, no cookie
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + request)
        answer = kernel.recv(8192)
    if struct.unpack_from("=H", answer, 4)[0] != SOCK_DIAG_BY_FAMILY:
        return 0
    return int(struct.unpack_from("=I", answer, 16 + 4 + 48 + 16)[0])
