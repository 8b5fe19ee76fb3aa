"""A webhook as its author writes it: an HTTPS server that answers reviews with what a function says."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Callable
from typing import Any

from tests.controlplane.apiserver.pki import Authority

Object = dict[str, Any]
Decide = Callable[[Object], Object]


class WebhookProgram:
    """Serves on the loopback; `asked` holds the requests of all reviews so far."""

    def __init__(self, authority: Authority, decide: Decide, host: str = "127.0.0.1") -> None:
        self._authority = authority
        self._decide = decide
        self._server: asyncio.Server | None = None
        self.asked: list[Object] = []
        self.speaks = asyncio.Event()
        self.speaks.set()  # while it is clear, nothing is answered
        self.host = host
        self.port = 0

    async def __aenter__(self) -> WebhookProgram:
        certificate, key = self._authority.issue("webhook", "webhook", server=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(certificate), str(key))
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    def client_config(self, path: str = "/") -> Object:
        bundle = base64.b64encode(self._authority.path.read_bytes()).decode()
        return {"url": f"https://{self.host}:{self.port}{path}", "caBundle": bundle}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        review = json.loads(await reader.readexactly(length))
        self.asked.append(review["request"])
        await self.speaks.wait()
        response = {"uid": review["request"]["uid"], **self._decide(review["request"])}
        if "patch" in response:
            patch = base64.b64encode(json.dumps(response["patch"]).encode()).decode()
            response |= {"patch": patch, "patchType": "JSONPatch"}
        body = json.dumps({"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()
