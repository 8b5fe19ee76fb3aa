"""Our HTTP server around a small application, and connections to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from controlplane.apiserver.http import HttpServer, tls_context
from tests.controlplane.apiserver.http.application import Application
from tests.controlplane.apiserver.pki import Authority

Pipes = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Served:
    """A running server."""

    server: HttpServer
    application: Application
    authority: Authority
    writers: list[asyncio.StreamWriter]

    def client_context(self, *protocols: str, certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.path))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if certificate:
            context.load_cert_chain(*self.authority.issue("somebody", "somebody"))
        return context

    async def connect(self, context: ssl.SSLContext | None = None, *, plain: bool = False) -> Pipes:
        tls = None if plain else context or self.client_context()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, ssl=tls)
        self.writers.append(writer)
        return reader, writer


@pytest.fixture
async def served(authority: Authority) -> AsyncIterator[Served]:
    certificate, key = authority.issue("server", "kube-apiserver", server=True)
    application = Application()
    server = HttpServer(application, tls_context(str(certificate), str(key), str(authority.path)))
    await server.start("127.0.0.1", 0)
    found = Served(server, application, authority, [])
    yield found
    application.release.set()
    server.stop_listening()
    await server.stop(1.0)
    for writer in found.writers:
        writer.transport.abort()


def request(target: str, method: str = "GET", body: bytes = b"", *headers: str, version: str = "1.1") -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/{version}", "host: localhost", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """(code, headers, body) of the next answer; a chunked body is joined."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")[:-2]
    headers = dict(line.split(": ", 1) for line in lines)
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split()[1]), headers, body


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0)
