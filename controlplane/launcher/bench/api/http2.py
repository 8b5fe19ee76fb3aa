"""The little of an HTTP/2 client that many watches on one connection need: HEADERS out, DATA counted, windows given back."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from kvstore.rpc import frames
from kvstore.rpc.hpack_memo import encode_fields

if TYPE_CHECKING:
    from controlplane.launcher.bench.api.watchers import Tally

HEAD_BYTES = 9
WINDOW_BYTES = 1 << 30
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4


class Watches(asyncio.Protocol):
    """One connection with several watches."""

    def __init__(self, block: bytes, streams: int, tally: Tally, marker: bytes) -> None:
        self._block, self._streams, self._tally, self._marker = block, streams, tally, marker
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own
        self._transport = transport
        opening = [frames.PREFACE, frames.settings_frame({INITIAL_WINDOW_SIZE: WINDOW_BYTES})]
        opening.append(frames.window_update_frame(0, WINDOW_BYTES))
        for number in range(self._streams):
            opening.append(frames.frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, self._block))
        transport.write(b"".join(opening))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at = 0
        while len(buffer) - at >= HEAD_BYTES:
            length = int.from_bytes(buffer[at : at + 3], "big")
            end = at + HEAD_BYTES + length
            if end > len(buffer):
                break
            self._on_frame(buffer[at + 3], buffer[at + 4], buffer[at + HEAD_BYTES : end])
            at = end
        self._buffer = buffer[at:]

    def _on_frame(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == DATA:
            if self._marker in payload:
                self._tally.event(payload.count(self._marker))
            else:
                self._tally.refused(payload)
        elif kind == HEADERS and not flags & END_STREAM:
            self._tally.head()
        elif kind == SETTINGS and not flags & ACK:
            self._transport.write(frames.frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._transport.write(frames.frame(PING, ACK, 0, payload))
        elif kind not in (SETTINGS, PING, 8):
            self._tally.lost(f"a watch ended: frame {kind}, flags {flags}, {payload[:80]!r}")

    def connection_lost(self, error: Exception | None) -> None:
        self._tally.lost(f"the watches of a connection were lost: {error}")


async def watch(
    host: str, port: int, path: str, token: str, context: ssl.SSLContext, tally: Tally, count: int, streams: int
) -> None:
    """Open `count` watches, `streams` to a connection."""
    from controlplane.launcher.bench.api.watchers import MARKER

    context.set_alpn_protocols(["h2"])
    fields = {
        ":method": "GET",
        ":scheme": "https",
        ":authority": host,
        ":path": path,
        "authorization": f"Bearer {token}",
    }
    block = encode_fields((name.encode(), value.encode()) for name, value in fields.items())
    loop = asyncio.get_running_loop()
    for first in range(0, count, streams):
        some = min(streams, count - first)
        await loop.create_connection(lambda some=some: Watches(block, some, tally, MARKER), host, port, ssl=context)  # type: ignore[misc]
