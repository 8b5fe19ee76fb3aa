"""Small real servers on 127.0.0.1, port 0, for the forwarder's tests."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from controlplane.network.forwarder import Backend, listening_socket

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Served:
    backend: Backend
    server: asyncio.Server
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    is_dead: bool = False

    async def die(self) -> None:
        """As after kill -9: nothing listens, every connection is reset."""
        self.is_dead = True
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def say(text: str) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        await writer.drain()
        await reader.read()

    return handle


@asynccontextmanager
async def serving(
    handler: Handler, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[Served]:
    """A server whose connections end with the handler."""
    served: Served

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if served.is_dead:
            writer.transport.abort()
            return
        served.writers.add(writer)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            served.writers.discard(writer)
            writer.close()

    sock = listening_socket(host, port, reuse_port=False)
    server = await asyncio.start_server(handle, sock=sock, ssl=context)
    served = Served(Backend(host, sock.getsockname()[1]), server)
    try:
        yield served
    finally:
        # Python 3.11 leaks a connection that it accepts in the turn in which its server is closed.
        await asyncio.sleep(0.01)
        await served.die()
        await asyncio.sleep(0.01)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


async def fetch(host: str, port: int, limit: int = 100) -> str:
    """What the server says first."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return (await asyncio.wait_for(reader.read(limit), 5)).decode()
    finally:
        writer.transport.abort()
