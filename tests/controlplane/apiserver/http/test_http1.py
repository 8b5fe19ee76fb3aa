"""HTTP/1.1 over TLS, spoken by hand: order, bodies, refusals, slow and vanishing clients, upgrades, the end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from controlplane.apiserver.http import http1, listener, tls
from tests.controlplane.apiserver.http.conftest import Served, answer, request, until

SECONDS = 20.0


async def test_requests_on_one_connection_are_answered_in_their_order(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"".join(request(f"/echo?{number}") for number in range(100)))
    assert [(await answer(reader))[2] for _ in range(100)] == [b"%d" % number for number in range(100)]
    writer.write(request("/echo", "POST", b"body"))
    assert (await answer(reader))[2] == b"body"
    assert len(served.server.sessions) == 1


async def test_a_request_in_small_pieces_is_one_request(served: Served) -> None:
    reader, writer = await served.connect()
    for byte in request("/echo", "POST", b"abc", "x-name: value"):
        writer.write(bytes([byte]))
        await writer.drain()
    assert await answer(reader) == (200, {"content-type": "text/plain", "content-length": "3"}, b"abc")
    assert (b"x-name", b"value") in served.application.seen[0]["headers"]


async def test_paths_are_unquoted_and_the_absolute_form_is_understood(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(request("/%65cho?a=%20") + request("https://localhost/echo?b"))
    assert [(await answer(reader))[2] for _ in range(2)] == [b"a=%20", b"b"]
    assert [scope["path"] for scope in served.application.seen] == ["/echo", "/echo"]


async def test_a_stream_comes_in_chunks_and_to_old_clients_until_the_end_of_the_connection(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(request("/stream"))
    code, headers, body = await answer(reader)
    assert (code, headers["transfer-encoding"], body) == (200, "chunked", b"one two three")
    writer.write(request("/stream", version="1.0"))
    head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    assert b"chunked" not in head and rest == b"one two three"


async def test_answers_without_a_body_have_none(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(
        request("/echo?12345", "HEAD") + request("/unchanged") + request("/stream", "HEAD") + request("/echo?x")
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"content-length: 5" in head
    assert (await answer(reader))[0] == 304
    assert b"200" in await reader.readuntil(b"\r\n\r\n")
    assert (await answer(reader))[2] == b"x"


async def test_a_client_that_asks_whether_to_go_on_is_told_when_the_body_is_wanted(served: Served) -> None:
    reader, writer = await served.connect()
    head, _, body = request("/echo", "POST", b"body", "expect: 100-continue").rpartition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await answer(reader))[2] == b"body"
    writer.write(request("/refuse", "POST", b"", "expect: 100-continue", "content-length: 100"))
    assert (await answer(reader))[0] == 413
    assert await reader.read() == b"", "the body may come or not: the connection is of no more use"


async def test_an_answer_before_the_end_of_the_body_leaves_the_connection_usable(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(request("/refuse", "POST", b"x" * 500_000))
    assert (await answer(reader))[0] == 413
    writer.write(request("/echo?next"))
    assert (await answer(reader))[2] == b"next"


async def test_bodies_of_megabytes_pass_both_ways(served: Served) -> None:
    reader, writer = await served.connect()
    body = bytes(range(256)) * 12_000
    writer.write(request("/echo", "POST", body))
    assert (await answer(reader))[2] == body


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET relative HTTP/1.1\r\nhost: x\r\n\r\n", b"400"),
        (b"GET /%ff HTTP/1.1\r\nhost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\na", b"400"),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx : y\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: y\r\n folded\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * (http1.HEADER_BYTES + 1), b"431"),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_ends(served: Served, sent: bytes, code: bytes) -> None:
    reader, writer = await served.connect()
    writer.write(sent)
    assert (await reader.read()).startswith(b"HTTP/1.1 " + code)


async def test_plain_http_on_the_port_of_https_is_told_so(served: Served) -> None:
    reader, writer = await served.connect(plain=True)
    writer.write(request("/"))
    assert await reader.read() == tls.PLAIN_HTTP


async def test_the_clients_certificate_reaches_the_application(served: Served) -> None:
    for shown in (False, True):
        reader, writer = await served.connect(served.client_context(certificate=shown))
        writer.write(request("/echo"))
        await answer(reader)
        assert (served.application.seen[-1]["state"]["connection"].certificate is not None) == shown


async def test_a_bug_of_the_application_is_500_and_within_an_answer_a_cut(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        reader, writer = await served.connect()
        writer.write(request("/broken"))
        assert (await answer(reader))[0] == 500
        reader, writer = await served.connect()
        writer.write(request("/broken_later"))
        assert (await reader.read()).endswith(b"\r\n5\r\nbegun\r\n"), "a chunked body without its end is no answer"


async def test_a_client_that_does_not_read_stops_its_own_stream_only(served: Served) -> None:
    _, slow = await served.connect()
    slow.transport.pause_reading()  # type: ignore[attr-defined]
    slow.write(request("/flood"))
    await slow.drain()
    reader, writer = await served.connect()
    before = -1
    async with asyncio.timeout(SECONDS):
        while served.application.sent_bytes != before:  # until it stands still over several answers to another client
            before = served.application.sent_bytes
            for _ in range(20):
                writer.write(request("/echo?x"))
                assert (await answer(reader))[2] == b"x"
    assert 0 < before < 32 << 20, "the kernel's buffers and ours, not everything"
    slow.transport.abort()
    await asyncio.wait_for(served.application.lost.wait(), SECONDS)


async def test_a_client_that_goes_within_its_body_is_noticed(served: Served) -> None:
    _, writer = await served.connect()
    writer.write(request("/echo", "POST", b"", "content-length: 10") + b"12345")
    await writer.drain()
    writer.transport.abort()
    await asyncio.wait_for(served.application.lost.wait(), SECONDS)


async def test_an_upgraded_connection_belongs_to_the_application_with_what_came_early(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(request("/upgrade", "GET", b"", "connection: upgrade", "upgrade: shouting") + b"hel")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    writer.write(b"lo")
    assert await reader.read() == b"HELLO"


async def test_a_server_that_stops_answers_what_runs_and_closes_what_is_idle(served: Served) -> None:
    idle, _ = await served.connect()
    reader, writer = await served.connect()
    writer.write(request("/wait"))
    await served.application.waiting.wait()
    served.server.stop_listening()
    assert await idle.read() == b""
    stopping = asyncio.create_task(served.server.stop(SECONDS))
    served.application.release.set()
    assert (await answer(reader))[2] == b"released"
    assert await reader.read() == b""
    await stopping


async def test_what_does_not_end_in_time_is_cut(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await served.connect()
    writer.write(request("/wait"))
    await served.application.waiting.wait()
    served.server.stop_listening()
    with caplog.at_level(logging.CRITICAL):
        await served.server.stop(0.05)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1_000_000)


async def test_idle_and_unfinished_connections_are_swept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.server._sweeper.cancel()  # type: ignore[union-attr]  # the test sweeps
    monkeypatch.setattr(http1, "KEEP_ALIVE_SECONDS", -1.0)
    idle, _ = await served.connect()
    unfinished, writer = await served.connect()
    writer.write(b"GET / HTTP/1.1\r\nho")
    silent, _ = await served.connect(plain=True)
    async with asyncio.timeout(SECONDS):
        await until(lambda: [bool(one._head_bytes) for one in served.server.sessions] == [False, True])  # type: ignore[attr-defined]
    for _ in range(max(http1.STALE_SWEEPS, listener.HANDSHAKE_SWEEPS) + 2):
        served.server._sweep()
        served.server._sweeper.cancel()  # type: ignore[union-attr]
    assert await idle.read() == b""
    for reader in (unfinished, silent):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), SECONDS)
