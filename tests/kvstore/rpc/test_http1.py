"""HTTP/1.1 on the gRPC port."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kvstore.rpc import Channel, Http1Request, Http1Response, Limits, Server
from tests.kvstore.rpc.conftest import Example


class Raw:
    """A plain TCP client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Status line and body of one answer with content-length."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        return head.split(b"\r\n")[0], await self.reader.readexactly(length)


async def connect(server: Server) -> Raw:
    return Raw(*await asyncio.open_connection("127.0.0.1", server.port))


@pytest.fixture
async def raw(example: Example) -> AsyncIterator[Raw]:
    made = await connect(example.server)
    yield made
    made.writer.close()


async def test_requests_follow_one_another_on_one_connection(raw: Raw) -> None:
    for path in (b"/health?a=1", b"/metrics"):
        status, body = await raw.ask(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status == b"HTTP/1.1 200 OK"
        assert body.startswith(b"GET " + path.split(b"?")[0])


async def test_a_request_may_come_in_pieces_and_pipelined(raw: Raw) -> None:
    for byte in b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n":
        raw.writer.write(bytes([byte]))
        await raw.writer.drain()
    assert (await raw.ask(b""))[1] == b"GET /a?"
    raw.writer.write(b"GET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n")
    assert (await raw.ask(b""))[1] == b"GET /b?"
    assert (await raw.ask(b""))[1] == b"GET /c?"


async def test_connection_close_is_obeyed(raw: Raw) -> None:
    await raw.ask(b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert await raw.reader.read() == b""


async def test_head_has_a_length_and_no_body(raw: Raw) -> None:
    raw.writer.write(b"HEAD /a HTTP/1.1\r\nConnection: close\r\n\r\n")
    answer = await raw.reader.read()
    assert b"content-length: 8" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_nonsense_is_a_bad_request(raw: Raw) -> None:
    raw.writer.write(b"NONSENSE\r\n\r\n")
    assert (await raw.reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_an_upgrade_is_answered_as_if_it_were_not_asked_for(raw: Raw) -> None:
    raw.writer.write(b"GET /a HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n")
    answer = await raw.reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"GET /a?")


async def test_grpc_and_http_share_the_port(example: Example, raw: Raw) -> None:
    channel = Channel(example.target)
    assert await channel.unary("/test.Example/Echo", b"x") == b"x"
    assert (await raw.ask(b"GET /a HTTP/1.1\r\n\r\n"))[0] == b"HTTP/1.1 200 OK"
    await channel.close()


async def serve(handler: object, limits: Limits | None = None) -> tuple[Server, Raw]:
    server = Server({}, http1=handler, limits=limits)  # type: ignore[arg-type]
    await server.start("127.0.0.1", 0)
    return server, await connect(server)


async def test_bodies_are_given_whole_chunked_or_not() -> None:
    async def handler(request: Http1Request) -> Http1Response:
        await asyncio.sleep(0)
        return Http1Response(201, {"x-type": request.headers["content-type"]}, request.body)

    server, raw = await serve(handler)
    status, body = await raw.ask(b"POST /v3/kv/put HTTP/1.1\r\nContent-Type: a\r\nContent-Length: 5\r\n\r\nhello")
    assert (status, body) == (b"HTTP/1.1 201 Created", b"hello")
    chunked = b"POST / HTTP/1.1\r\nContent-Type: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert (await raw.ask(chunked))[1] == b"abcde"
    raw.writer.close()
    await server.stop()


async def test_an_iterator_is_sent_in_chunks_and_closed_when_the_client_leaves() -> None:
    closed = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"line\n" * 1_000
        finally:
            closed.set()

    server, raw = await serve(lambda request: Http1Response(200, {}, lines()))
    raw.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    head = await raw.reader.readuntil(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert await raw.reader.readuntil(b"\r\n") == b"1388\r\n"
    raw.writer.transport.abort()
    await closed.wait()
    await server.stop()


async def test_an_answer_that_is_waited_for_ends_when_the_client_leaves() -> None:
    left = asyncio.Event()

    async def wait(request: Http1Request) -> Http1Response:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            left.set()
        raise AssertionError

    server = Server({}, http1=wait)
    await server.start("127.0.0.1", 0)
    raw = await connect(server)
    raw.writer.write(b"GET /a HTTP/1.1\r\n\r\n")
    await raw.writer.drain()
    raw.writer.close()
    await left.wait()
    await server.stop()


async def test_few_requests_wait_behind_one_that_takes_long() -> None:
    goes_on = asyncio.Event()
    asked: list[str] = []

    async def wait(request: Http1Request) -> Http1Response:
        asked.append(request.path)
        await goes_on.wait()
        return Http1Response(200, body=request.path.encode())

    server = Server({}, http1=wait)
    await server.start("127.0.0.1", 0)
    raw = await connect(server)
    paths = [f"/{number:04}" for number in range(2000)]
    raw.writer.write(b"".join(f"GET {path} HTTP/1.1\r\n\r\n".encode() for path in paths))
    goes_on.set()
    assert [(await raw.ask(b""))[1].decode() for _ in paths] == paths
    assert asked == paths
    raw.writer.close()
    await server.stop()


async def test_a_bug_in_the_handler_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Http1Request) -> Http1Response:
        raise ZeroDivisionError

    server, raw = await serve(handler)
    assert (await raw.ask(b"GET / HTTP/1.1\r\n\r\n"))[0] == b"HTTP/1.1 500 Internal Server Error"
    assert "ZeroDivisionError" in caplog.text
    raw.writer.close()
    await server.stop()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2_000, b"413"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 2_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_large_requests_are_refused(request_bytes: bytes, status: bytes) -> None:
    limits = Limits(http1_body_bytes=1_000, http1_header_bytes=1_000)
    server, raw = await serve(lambda request: Http1Response(200), limits)
    raw.writer.write(request_bytes)
    assert (await raw.reader.readuntil(b"\r\n")).split()[1] == status
    raw.writer.close()
    await server.stop()


async def test_a_client_that_says_nothing_is_cut() -> None:
    server, raw = await serve(lambda request: Http1Response(200), Limits(hello_seconds=0.05))
    raw.writer.write(b"PRI")
    assert await raw.reader.read() == b""
    raw.writer.close()
    await server.stop()


async def test_a_stopping_server_answers_what_runs() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: Http1Request) -> Http1Response:
        arrived.set()
        await go_on.wait()
        return Http1Response(200, {}, b"finished")

    server, raw = await serve(handler)
    asking = asyncio.create_task(raw.ask(b"GET / HTTP/1.1\r\n\r\n"))
    await arrived.wait()
    stopping = asyncio.create_task(server.stop(5.0))
    await asyncio.sleep(0)
    go_on.set()
    assert (await asking)[1] == b"finished"
    raw.writer.close()
    await stopping
