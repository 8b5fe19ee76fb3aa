"""One HTTP/1.1 connection to a server: requests one after another."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any


class Http:
    """`endpoint` is host:port. Opened with the first request."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Return status and body."""
        if self._streams is None:
            host, _, port = self._endpoint.rpartition(":")
            self._streams = await asyncio.open_connection(host, int(port))
        reader, writer = self._streams
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body)
        first, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = dict(line.lower().split(": ", 1) for line in fields if line)
        if found.get("transfer-encoding") == "chunked":
            answer = await self._chunks(reader)
        else:
            answer = await reader.readexactly(int(found.get("content-length", "0")))
        if found.get("connection") == "close":
            await self.close()
        return int(first.split()[1]), answer.decode()

    @staticmethod
    async def _chunks(reader: asyncio.StreamReader) -> bytes:
        pieces = []
        while size := int(await reader.readline(), 16):
            pieces.append(await reader.readexactly(size))
            await reader.readline()
        while await reader.readline() != b"\r\n":
            pass  # trailers
        return b"".join(pieces)

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def shape(value: Any) -> Any:
    """Return JSON with the kinds of its values in their place: which fields are there, and how they are written."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in sorted(value.items())}
    if isinstance(value, list):
        return sorted((shape(one) for one in value), key=repr)  # their order is seen in the message
    return type(value).__name__


def parsed(text: str) -> Any:
    """Return the JSON of a body, or the body when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text
