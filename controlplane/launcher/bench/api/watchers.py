"""A process that holds watches: `python -m controlplane.launcher.bench.api.watchers ENDPOINT-JSON COUNT STREAMS`.

STREAMS 0: each watch has a TLS connection of its own over HTTP/1.1; else so many watches share one over HTTP/2.
It prints `open` when all are answered, waits for one event each, and prints the monotonic time at which the last arrived.
"""

import asyncio
import json
import ssl
import sys
import time
from typing import cast
from urllib.parse import urlsplit

from controlplane.launcher.bench.api import http2

MARKER = b"<event-of-the-benchmark>"
CONNECTING_AT_ONCE = 32


class Tally:
    """What is awaited of all watches together."""

    def __init__(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        self._heads = self._events = count
        self.opened: asyncio.Future[None] = loop.create_future()
        self.told: asyncio.Future[float] = loop.create_future()

    def head(self) -> None:
        """One more watch is answered."""
        self._heads -= 1
        if not self._heads:
            self.opened.set_result(None)

    def event(self, count: int = 1) -> None:
        """So many more events arrived."""
        self._events -= count
        if self._events <= 0 and not self.told.done():
            self.told.set_result(time.monotonic())

    def refused(self, data: bytes) -> None:
        """Something else arrived."""
        if b'"type":"ERROR"' in data:
            self.lost(data.decode("latin-1"))

    def lost(self, why: str) -> None:
        """A watch ended."""
        for future in (self.opened, self.told):
            if not future.done():
                future.set_exception(RuntimeError(why))


class Watch(asyncio.Protocol):
    """One connection with one watch."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self._request, self._tally = request, tally
        self._start: bytes | None = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._start is not None:
            self._start += data
            if b"\r\n\r\n" not in self._start:
                return
            if not self._start.startswith(b"HTTP/1.1 200"):
                self._tally.lost(self._start[:200].decode("latin-1"))
                return
            self._start = None
            self._tally.head()
        found = data.count(MARKER)
        if found:
            self._tally.event(found)
        elif data:
            self._tally.refused(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._tally.lost(f"a watch was lost: {error}")


async def over_http1(
    host: str, port: int, path: str, token: str, context: ssl.SSLContext, tally: Tally, count: int
) -> None:
    """Open the watches, each on a connection of its own."""
    context.set_alpn_protocols(["http/1.1"])
    request = f"GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await loop.create_connection(lambda: Watch(request, tally), host, port, ssl=context)

    await asyncio.gather(*(work() for _ in range(CONNECTING_AT_ONCE)))


async def hold(endpoint: dict[str, str], count: int, streams: int) -> None:
    """Open all, tell, wait for all, tell; then wait to be ended."""
    address = urlsplit(endpoint["server"])
    host, port = str(address.hostname), int(address.port or 443)
    context = ssl.create_default_context(cafile=endpoint["authority"])
    tally = Tally(count)
    if streams:
        await http2.watch(host, port, endpoint["path"], endpoint["token"], context, tally, count, streams)
    else:
        await over_http1(host, port, endpoint["path"], endpoint["token"], context, tally, count)
    await tally.opened
    print("open", flush=True)
    print(await tally.told, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Run on the fastest loop there is: the client must not be what is measured."""
    work = hold(json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
