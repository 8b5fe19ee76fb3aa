"""Probes over the network, against small servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.kubelet import checks

ADDRESS = "127.240.3.1"
Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(reply: bytes, seen: list[bytes]) -> AsyncIterator[int]:
    """Says `reply` to every request and notes its head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            seen.append(b"")
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, ADDRESS, 0)
    async with listening:
        yield int(listening.sockets[0].getsockname()[1])


@pytest.mark.parametrize(("status", "passes"), [(200, True), (302, True), (399, True), (404, False), (503, False)])
async def test_http_passes_from_200_to_399(status: int, passes: bool) -> None:
    seen: list[bytes] = []
    async with server(b"HTTP/1.0 %d Whatever\r\nX: y\r\n\r\nthe body" % status, seen) as port:
        headers = [{"name": "X-Probe", "value": "1"}]
        container = {"ports": [{"name": "web", "containerPort": port}]}
        outcome = await checks.http_get(container, {"port": "web", "path": "/up?x=1", "httpHeaders": headers}, ADDRESS)
    assert outcome.passed is passes
    if not passes:
        assert outcome.text == f"HTTP probe failed with statuscode: {status}: the body"
    head = seen[0].decode()
    assert (
        head.startswith("GET /up?x=1 HTTP/1.1\r\n") and "X-Probe: 1\r\n" in head and "User-Agent: kube-probe/" in head
    )


@pytest.mark.parametrize("reply", [b"", b"nonsense\r\n\r\n", b"SSH-2.0-x\r\n"])
async def test_what_is_no_http_fails_in_words(reply: bytes) -> None:
    async with server(reply, []) as port:
        outcome = await checks.http_get({}, {"port": port}, ADDRESS)
    assert not outcome.passed and outcome.text.startswith("Get failed: ")


async def test_tcp_passes_when_somebody_listens() -> None:
    async with server(b"", []) as port:
        assert (await checks.tcp_connect({}, {"port": port}, ADDRESS)).passed
    refused = await checks.tcp_connect({}, {"port": port}, ADDRESS)
    assert not refused.passed and refused.text.startswith("dial tcp failed")


async def test_a_port_without_a_container_port_of_that_name_is_named() -> None:
    outcome = await checks.http_get({}, {"port": "web"}, ADDRESS)
    assert outcome.text == 'Get failed: couldn\'t find port: "web"'


@pytest.mark.parametrize(("answer", "passes"), [(b"\x08\x01", True), (b"\x08\x02", False), (b"", False)])
async def test_grpc_health_asks_a_real_grpc_server(answer: bytes, passes: bool) -> None:
    asked: list[bytes] = []

    async def check(request: bytes, _context: Any) -> bytes:
        asked.append(request)
        return answer

    handler = grpc.unary_unary_rpc_method_handler(check)
    service = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
    listening = grpc.aio.server()
    listening.add_generic_rpc_handlers((service,))
    port = listening.add_insecure_port(f"{ADDRESS}:0")
    await listening.start()
    try:
        async with asyncio.timeout(10):
            outcome = await checks.grpc_health({"port": port, "service": "db"}, ADDRESS)
    finally:
        await listening.stop(None)
    assert outcome.passed is passes
    assert asked == [b"\x0a\x02db"]
