"""A server with one method of each kind, and what tests need to look into it."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from kvstore.rpc import Call, Code, Http1Request, Http1Response, Limits, Server, Streaming, Unary


class Echo:
    """Answers each message with itself; remembers how it ended."""

    def __init__(self, call: Call, endings: "asyncio.Queue[str]") -> None:
        self.call = call
        self.endings = endings

    def on_message(self, message: bytes) -> None:
        self.call.send(message)

    def on_half_close(self) -> None:
        self.call.finish({"stream-trailer": "yes"})
        self.endings.put_nowait("half-closed")

    def on_cancel(self) -> None:
        self.endings.put_nowait("cancelled")


class Example:
    """The service of the tests; `silent` calls wait in `waiting` until a test answers them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.waiting: asyncio.Queue[Call] = asyncio.Queue()
        self.endings: asyncio.Queue[str] = asyncio.Queue()
        self.server = Server(self.routes(), http1=self.http1)

    def routes(self) -> dict[str, Unary | Streaming]:
        return {
            "/test.Example/Echo": Unary(self.echo),
            "/test.Example/Fail": Unary(self.fail),
            "/test.Example/Wait": Unary(self.wait),
            "/test.Example/Bug": Unary(self.bug),
            "/test.Example/Stream": Streaming(self.stream),
            "/test.Example/Many": Unary(self.many),
        }

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def echo(self, call: Call, message: bytes) -> None:
        self.calls.append(call)
        call.reply(message)

    def fail(self, call: Call, message: bytes) -> None:
        call.fail(Code.NOT_FOUND, "etcdserver: requested lease not found; 100 % \u00e9\n", {"why": "test", "raw-bin": b"\0\1"})

    def wait(self, call: Call, message: bytes) -> None:
        call.on_cancel(lambda: self.endings.put_nowait("cancelled"))
        self.waiting.put_nowait(call)

    def bug(self, call: Call, message: bytes) -> None:
        raise ZeroDivisionError("a bug of the handler")

    def stream(self, call: Call) -> Echo:
        self.calls.append(call)
        return Echo(call, self.endings)

    def many(self, call: Call, message: bytes) -> None:
        count, size = (int(part) for part in message.split())
        for index in range(count):
            call.send(bytes([index % 256]) * size)
        call.finish()

    def http1(self, request: Http1Request) -> Http1Response:
        return Http1Response(200, {"content-type": "text/plain"}, f"{request.method} {request.path}?{request.query}".encode())


@pytest_asyncio.fixture
async def example() -> AsyncIterator[Example]:
    """A running server on a free port."""
    service = Example()
    await service.server.start("127.0.0.1", 0)
    yield service
    await service.server.stop()


@pytest_asyncio.fixture
async def tight() -> AsyncIterator[Example]:
    """The same with small limits."""
    service = Example()
    limits = Limits(
        message_bytes=200_000,
        stream_window_bytes=65_535,
        connection_window_bytes=131_070,
        concurrent_streams=4,
        header_list_bytes=4_096,
        resets_per_second=20,
        control_frames_per_second=50,
    )
    service.server = Server(service.routes(), http1=service.http1, limits=limits)
    await service.server.start("127.0.0.1", 0)
    yield service
    await service.server.stop()
