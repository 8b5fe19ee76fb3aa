"""Programs that an API server asks over TLS: an OpenID issuer, and one that answers reviews."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.controlplane.apiserver.pki import Authority

Object = dict[str, Any]
Handler = Callable[[str, str, Object], tuple[int, Object]]  # (method, path, body) -> (status, document)


@asynccontextmanager
async def serving(authority: Authority, handler: Handler) -> AsyncIterator[str]:
    """The https address of a server on the loopback that answers JSON, one request a connection."""
    certificate, key = authority.issue("outside", "outside", server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        length = next((int(line.split(":")[1]) for line in head.lower().split("\r\n") if "content-length" in line), 0)
        body = json.loads(await reader.readexactly(length)) if length else {}
        status, document = handler(method, path, body)
        text = json.dumps(document).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(text)}\r\n\r\n".encode()
            + text
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def kubeconfig_of(authority: Authority, server: str, path: Path) -> Path:
    """How kube-apiserver is told of a webhook: a kubeconfig file."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hook", "cluster": {"server": server, "certificate-authority": str(authority.path)}}],
        "users": [{"name": "server", "user": {}}],
        "contexts": [{"name": "hook", "context": {"cluster": "hook", "user": "server"}}],
        "current-context": "hook",
    }
    path.write_text(json.dumps(document))
    return path
