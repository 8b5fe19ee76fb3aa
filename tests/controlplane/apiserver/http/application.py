"""A small ASGI application that shows what a server does with requests, and what it was told itself."""

from __future__ import annotations

import asyncio
from typing import Any

from controlplane.apiserver.connection import Connection

HEADERS = [(b"content-type", b"text/plain")]


class Application:
    """/echo gives the body back, /size its length, /stream three parts, /wait waits for `release`, and so on."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.waiting = asyncio.Event()
        self.lost = asyncio.Event()
        self.sent_bytes = 0
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope)
        await getattr(self, scope["path"].strip("/") or "echo")(scope, receive, send)

    async def _body(self, receive: Any) -> bytes | None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.lost.set()
                return None
            body += message["body"]
            if not message["more_body"]:
                return body

    async def _answer(self, send: Any, body: bytes, code: int = 200) -> None:
        headers = [*HEADERS, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = await self._body(receive)
        if body is not None:
            await self._answer(send, body or scope["query_string"])

    async def refuse(self, scope: Any, receive: Any, send: Any) -> None:
        await self._answer(send, b"too large", 413)

    async def stream(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        for part in (b"", b"one ", b"two ", b"three"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def flood(self, scope: Any, receive: Any, send: Any) -> None:
        connection: Connection = scope["state"]["connection"]
        connection.on_lost(self.lost.set)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        while not connection.is_lost and self.sent_bytes < 64 << 20:
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            self.sent_bytes += 100_000

    async def wait(self, scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["connection"].on_lost(self.lost.set)
        self.waiting.set()
        await self.release.wait()
        await self._answer(send, b"released")

    async def broken(self, scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a bug")

    async def broken_later(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        raise RuntimeError("a bug")

    async def unchanged(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", b'"x"')]})
        await send({"type": "http.response.body", "body": b""})

    async def upgrade(self, scope: Any, receive: Any, send: Any) -> None:
        reader, writer = scope["state"]["connection"].take_over()
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        writer.write((await reader.readexactly(5)).upper())
        await writer.drain()
        writer.close()
