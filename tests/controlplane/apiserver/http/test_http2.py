"""HTTP/2 by ALPN: real clients (curl, h2load) and frames by hand."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from controlplane.apiserver.http import http1, http2
from kvstore.rpc import frames
from kvstore.rpc.hpack_memo import encode_fields
from tests.controlplane.apiserver.http.conftest import Served, answer, request

SECONDS = 20.0
HEAD_BYTES = 9


async def output(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0]


class Client:
    """One connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, served: Served, *opening: bytes) -> Client:
        client = cls(*await served.connect(served.client_context("h2")))
        client.send(frames.PREFACE, frames.settings_frame({}), *opening)
        return client

    def send(self, *data: bytes) -> None:
        self._writer.write(b"".join(data))

    def ask(self, stream_id: int, path: str, method: bytes = b"GET", *, ends: bool = True) -> None:
        fields = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":path", path.encode()),
            (b":authority", b"localhost"),
        ]
        flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
        self.send(frames.frame(frames.HEADERS, flags, stream_id, encode_fields(fields)))

    async def frame(self) -> tuple[int, int, int, bytes]:
        """(kind, flags, stream, payload) of the next frame that is no housekeeping."""
        while True:
            head = await self._reader.readexactly(HEAD_BYTES)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] not in (frames.SETTINGS, frames.WINDOW_UPDATE, frames.PING):
                return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    async def body(self, stream_id: int) -> bytes:
        """The DATA of one stream until its end, while no other has any."""
        body = b""
        while True:
            kind, flags, found, payload = await self.frame()
            assert found == stream_id
            body += payload if kind == frames.DATA else b""
            if flags & frames.END_STREAM:
                return body

    async def closed(self) -> bool:
        return await self._reader.read() == b""

    def abort(self) -> None:
        self._writer.transport.abort()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_speaks_http2_with_bodies_of_megabytes_and_streams(served: Served) -> None:
    body = served.authority.path.parent / "body"
    body.write_bytes(bytes(range(256)) * 8000)
    base = f"https://localhost:{served.server.port}"
    curl = ["curl", "-s", "--http2", "--cacert", str(served.authority.path), "--resolve"]
    curl.append(f"localhost:{served.server.port}:127.0.0.1")
    assert await output(*curl, "--data-binary", f"@{body}", f"{base}/echo") == body.read_bytes()
    shown = await output(*curl, "-w", "%{http_version} %{http_code}", f"{base}/stream")
    assert shown == b"one two three2 200"
    assert (await output(*curl, "-I", f"{base}/echo?12345")).startswith(b"HTTP/2 200")
    assert {scope["http_version"] for scope in served.application.seen} == {"2"}


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed (Debian: nghttp2-client)")
async def test_many_requests_at_once_share_connections(served: Served) -> None:
    shown = await output("h2load", "-n", "500", "-c", "4", "-m", "25", f"https://127.0.0.1:{served.server.port}/echo?x")
    assert b"500 succeeded" in shown and b"500 2xx" in shown
    assert {id(scope["state"]["connection"]) for scope in served.application.seen[:4]}


async def test_who_offers_no_protocol_is_served_http1(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(request("/echo?x"))
    assert (await answer(reader))[2] == b"x" and served.application.seen[0]["http_version"] == "1.1"


async def test_a_request_waits_for_no_other_and_a_reset_ends_only_its_own(served: Served) -> None:
    client = await Client.to(served)
    client.ask(1, "/wait")
    client.ask(3, "/echo?second")
    assert await client.body(3) == b"second"
    assert not served.application.lost.is_set()
    client.send(frames.rst_stream_frame(1, 8))
    await asyncio.wait_for(served.application.lost.wait(), SECONDS)
    client.ask(5, "/echo?third")
    assert await client.body(5) == b"third"


async def test_a_lost_connection_ends_all_its_requests(served: Served) -> None:
    client = await Client.to(served)
    client.ask(1, "/wait")
    await served.application.waiting.wait()
    client.abort()
    await asyncio.wait_for(served.application.lost.wait(), SECONDS)


async def test_a_stream_without_window_waits_and_costs_others_nothing(served: Served) -> None:
    client = await Client.to(served)
    client.ask(1, "/flood")
    received = 0
    while received < frames.DEFAULT_WINDOW_BYTES:
        kind, _, _, payload = await client.frame()
        received += len(payload) if kind == frames.DATA else 0
    assert served.application.sent_bytes <= http2.PENDING_HIGH_BYTES + 500_000
    client.send(frames.window_update_frame(0, 1 << 20))
    client.ask(3, "/echo?other")
    while True:  # what the first stream's window still lets through, then the other's answer
        _, flags, stream_id, payload = await client.frame()
        if stream_id == 3 and flags & frames.END_STREAM:
            assert payload == b"other"
            break


async def test_a_slow_stream_can_be_cut_alone(served: Served) -> None:
    client = await Client.to(served)
    client.ask(1, "/wait")
    await served.application.waiting.wait()
    served.application.seen[0]["state"]["connection"].abort()
    kind, _, stream_id, _ = await client.frame()
    assert (kind, stream_id) == (frames.RST_STREAM, 1) and served.application.lost.is_set()
    client.ask(3, "/echo?x")
    assert await client.body(3) == b"x"


async def test_a_malformed_head_is_a_reset_and_a_bad_preface_the_end(served: Served) -> None:
    client = await Client.to(served)
    fields = encode_fields([(b":method", b"GET"), (b":path", b"/echo"), (b"Upper", b"x")])
    client.send(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, fields))
    kind, _, stream_id, _ = await client.frame()
    assert (kind, stream_id) == (frames.RST_STREAM, 1) and not served.application.seen
    other = Client(*await served.connect(served.client_context("h2")))
    other.send(request("/echo"))
    kind, *_ = await other.frame()
    assert kind == frames.GOAWAY and await other.closed()


GET = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/echo"), (b":authority", b"localhost"))


@pytest.mark.parametrize(
    "fields",
    [
        (*GET, (b"host", b"elsewhere")),
        (*GET, (b"x-remote-user: admin", b"")),
        (*GET, (b"a b", b"c")),
        (*GET, (b"a", b"b\r\nc: d")),
        (*GET, (b"transfer-encoding", b"chunked")),
        (*GET, (b":path", b"/other")),
        ((b"a", b"b"), *GET),
        ((b":method", b"GET /x HTTP/1.1"), *GET[1:]),
        (*GET[:2], (b":path", b"/a HTTP/1.1"), GET[3]),
        (*GET[:2], (b":path", b"*"), GET[3]),
        (*GET, (b":status", b"200")),
        GET[:2],
    ],
)
async def test_a_head_that_http1_would_read_differently_reaches_nobody(
    served: Served, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    client = await Client.to(served)
    client.send(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, encode_fields(fields)))
    kind, _, stream_id, _ = await client.frame()
    assert (kind, stream_id) == (frames.RST_STREAM, 1) and not served.application.seen


@pytest.mark.parametrize(
    ("flood", "times"),
    [
        (frames.frame(frames.CONTINUATION, 0, 1, b"x"), 100),
        (frames.frame(frames.PING, 0, 0, bytes(8)), 30_000),
        (frames.settings_frame({}), 30_000),
        (frames.frame(frames.DATA, 0, 1, b""), 30_000),
    ],
    ids=["continuation", "ping", "settings", "empty data"],
)
async def test_a_flood_ends_its_connection_and_costs_no_other(served: Served, flood: bytes, times: int) -> None:
    attacker, other = await Client.to(served), await Client.to(served)
    if flood[3] == frames.CONTINUATION:
        attacker.send(frames.frame(frames.HEADERS, 0, 1, b""))
    elif flood[3] == frames.DATA:
        attacker.ask(1, "/wait", b"POST", ends=False)
    attacker.send(flood * times)
    kind, *_ = await attacker.frame()
    assert kind == frames.GOAWAY and await attacker.closed()
    other.ask(1, "/echo?x")
    assert await other.body(1) == b"x"


async def test_rapid_resets_end_their_connection(served: Served) -> None:
    attacker = await Client.to(served)
    for stream_id in range(1, 8001, 2):
        attacker.ask(stream_id, "/wait")
        attacker.send(frames.frame(frames.RST_STREAM, 0, stream_id, bytes(4)))
    kind, *_ = await attacker.frame()
    assert kind == frames.GOAWAY and await attacker.closed()


async def test_a_server_that_stops_says_so_and_finishes(served: Served) -> None:
    client = await Client.to(served)
    client.ask(1, "/wait")
    await served.application.waiting.wait()
    served.server.stop_listening()
    kind, *_ = await client.frame()
    assert kind == frames.GOAWAY
    served.application.release.set()
    assert await client.body(1) == b"released" and await client.closed()


async def test_an_idle_connection_is_swept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await Client.to(served)
    client.ask(1, "/echo?x")
    assert await client.body(1) == b"x"
    monkeypatch.setattr(http2, "KEEP_ALIVE_SECONDS", -1.0)
    assert http1.KEEP_ALIVE_SECONDS > 0
    served.server._sweep()
    served.server._sweeper.cancel()  # type: ignore[union-attr]
    kind, *_ = await client.frame()
    assert kind == frames.GOAWAY and await client.closed()
