"""An upgraded connection passed on as it is: bytes from the client to a kubelet (or a pod), bytes back.

The request is authenticated and authorized like any other; then the other side is asked for the same upgrade, and only when it
agrees does the client's connection change. What is spoken afterwards (WebSocket, SPDY) is no business of the API server.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from controlplane.apiserver.authn.chain import BEARER_PROTOCOL
from controlplane.apiserver.context import Context, Upgraded
from controlplane.apiserver.subresources.kubelets import Endpoint
from controlplane.objects import status

CONNECT_SECONDS: Final = 5.0
HEAD_SECONDS: Final = 30.0
BUFFER_BYTES: Final = 64 * 1024
MOST_REFUSAL_BYTES: Final = 64 * 1024
REFUSAL_SECONDS: Final = 5.0

Pipes = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The other side did not upgrade."""

    code: int
    media_type: str
    body: bytes


def wants_upgrade(context: Context) -> bool:
    """Whether the client asks to change the protocol."""
    words = [word.strip().lower() for word in context.headers.get(b"connection", b"").split(b",")]
    return b"upgrade" in words and bool(context.headers.get(b"upgrade"))


def upgrade_headers(context: Context, names: Iterable[bytes] | None = None) -> list[Header]:
    """The client's headers for the other side: only these, or (None) all; never its credentials."""
    wanted = set(names) if names is not None else None
    kept = []
    for name, value in context.all_headers:
        if name in (b"authorization", b"host", b"content-length", b"cookie") or name.startswith(b"impersonate-"):
            continue
        if wanted is not None and name not in wanted:
            continue
        if name == b"sec-websocket-protocol":
            words = [word.strip() for word in value.split(b",")]
            value = b", ".join(word for word in words if not word.startswith(BEARER_PROTOCOL.encode()))
            if not value:
                continue
        kept.append((name, value))
    return kept


async def opened(
    context: Context, endpoint: Endpoint, target: str, headers: list[Header], server_name: str = ""
) -> Upgraded | Refusal:
    """Ask the other side for the upgrade; raises 503 when nobody answers there. `server_name` is the name in its
    certificate, where that is not its address."""
    host, port, tls = endpoint
    name = (server_name or host) if tls is not None else None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            pipes = await asyncio.open_connection(host, port, ssl=tls, limit=BUFFER_BYTES, server_hostname=name)
    except (OSError, TimeoutError, ssl.SSLError) as error:
        raise status.service_unavailable(f"error trying to reach {host}:{port}: {error or 'timed out'}") from error
    reader, writer = pipes
    lines = [f"{context.method} {target} HTTP/1.1".encode("latin-1"), f"host: {host}:{port}".encode("latin-1")]
    lines += [name + b": " + value for name, value in headers]
    if context.method == "POST":
        lines.append(b"content-length: 0")
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
        code = int(head.split(b" ", 2)[1])
        if code == 101:
            return Upgraded(lambda: _run(context, head, pipes))
        refusal = await _refusal(code, head, reader)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        writer.transport.abort()
        raise status.service_unavailable(f"{host}:{port} did not answer: {error or 'timed out'}") from error
    except BaseException:
        writer.transport.abort()
        raise
    writer.transport.abort()
    return refusal


async def _refusal(code: int, head: bytes, reader: asyncio.StreamReader) -> Refusal:
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    body = b""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            length = int(fields.get(b"content-length", MOST_REFUSAL_BYTES))
            body = await reader.readexactly(min(length, MOST_REFUSAL_BYTES))
    except asyncio.IncompleteReadError as error:
        body = error.partial
    return Refusal(code, fields.get(b"content-type", b"text/plain").strip().decode("latin-1"), body)


async def _run(context: Context, head: bytes, upstream: Pipes) -> None:
    """Carry bytes until either side is gone, or the server stops."""
    client = context.connection.take_over()

    def end() -> None:
        client[1].transport.abort()
        upstream[1].transport.abort()

    leave = context.services.streams.enter(end)
    try:
        client[1].write(head)
        copies = [
            asyncio.ensure_future(_copy(client[0], upstream[1])),
            asyncio.ensure_future(_copy(upstream[0], client[1])),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
    finally:
        leave()
        upstream[1].transport.abort()
        client[1].close()  # sends what is still waiting
        context.connection.lost()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(BUFFER_BYTES):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        return
