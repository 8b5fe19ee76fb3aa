"""The HTTP client against a scripted server on a real socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlplane.machinery.client import ApiClient, ApiError
from controlplane.machinery.config import ClientConfig
from controlplane.machinery.http import ConnectionLost, HttpClient
from controlplane.objects.kinds import PODS

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Each connection runs the script, then is closed; gives the address."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()
        await server.wait_closed()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return head[0], headers, body


def answer(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body


async def test_requests_share_one_kept_alive_connection() -> None:
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            line, headers, body = await read_request(reader)
            writer.write(answer(f"{line}|{headers.get('x')}|".encode() + body))

    async with served(script) as address:
        client = HttpClient(address + "/prefix/", None)
        response = await client.request("POST", "/a?b=c", {"x": "1"}, b"body")
        assert response.body == b"POST /prefix/a?b=c HTTP/1.1|1|body" and response.status == 200
        for _ in range(5):
            await client.request("GET", "/a")
        assert connections == 1
        await asyncio.gather(*(client.request("GET", "/a") for _ in range(3)))
        assert connections == 3
        await client.close()


async def test_a_get_is_sent_again_when_the_kept_alive_connection_had_been_closed_and_a_post_is_not() -> None:
    requests: list[str] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await read_request(reader))[0])
        writer.write(answer(b"ok"))
        await writer.drain()
        await read_request(reader)  # the second request on a connection gets no answer

    async with served(script) as address:
        client = HttpClient(address, None)
        assert (await client.request("GET", "/1")).body == b"ok"
        assert (await client.request("GET", "/2")).body == b"ok"
        with pytest.raises(ConnectionLost) as caught:
            await client.request("POST", "/3", {}, b"x")
        assert caught.value.sent
        assert len(requests) == 2
        await client.close()


async def test_a_fresh_connection_that_breaks_off_is_an_unknown_outcome() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

    async with served(script) as address:
        client = HttpClient(address, None)
        with pytest.raises(ConnectionLost) as caught:
            await client.request("GET", "/")
        assert caught.value.sent
        await client.close()


async def test_nobody_listening_means_the_request_never_left() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with served(script) as address:
        pass
    client = HttpClient(address, None)
    with pytest.raises(ConnectionLost) as caught:
        await client.request("POST", "/")
    assert not caught.value.sent
    await client.close()


async def test_silence_ends_in_a_time_out() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with served(script) as address:
        client = HttpClient(address, None)
        with pytest.raises(ConnectionLost, match="no answer"):
            await client.request("GET", "/", timeout_seconds=0.05)
        await client.close()


async def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")

    async with served(script) as address:
        client = HttpClient(address, None)
        assert (await client.request("GET", "/")).body == b"all of it"
        await client.close()


async def test_garbage_is_a_lost_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"nonsense\r\n\r\n")

    async with served(script) as address:
        client = HttpClient(address, None)
        with pytest.raises(ConnectionLost, match="malformed"):
            await client.request("GET", "/")
        await client.close()


async def test_a_reader_that_does_not_read_holds_the_server_back() -> None:
    written = 0
    stuck = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(400):
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                stuck.set()
                await writer.drain()
            written += 65536
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async with served(script) as address:
        client = HttpClient(address, None)
        stream = await client.stream("GET", "/")
        await stuck.wait()
        assert written < 400 * 65536
        assert len(await stream.read()) == 400 * 65536
        stream.close()
        await client.close()


async def test_a_watch_gives_whole_lines_however_they_are_cut_and_raises_an_error_line() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _, _ = await read_request(reader)
        assert "watch=true" in line and "resourceVersion=5" in line
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        data = b'{"type":"ADDED","object":{"n":1}}\n{"type":"BOOKMARK","object":{"n":2}}\n'
        data += b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"old"}}\n'
        for start in range(0, len(data), 7):
            piece = data[start : start + 7]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        await reader.read()

    async with served(script) as address:
        client = ApiClient(ClientConfig(address))
        seen: list[Any] = []
        with pytest.raises(ApiError, match="old") as caught:
            async for event in client.watch(PODS, resource_version="5"):
                seen.append((event.type, event.object["n"]))
        assert caught.value.code == 410 and seen == [("ADDED", 1), ("BOOKMARK", 2)]
        await client.close()


async def test_a_status_is_raised_and_text_that_is_none_becomes_one() -> None:
    bodies = [
        (
            b'{"kind":"Status","reason":"AlreadyExists","message":"there","code":409,"details":{"name":"x"}}',
            "409 Conflict",
        ),
        (b"404 page not found\n", "404 Not Found"),
    ]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body, status in bodies:
            await read_request(reader)
            writer.write(answer(body, status))

    async with served(script) as address:
        client = ApiClient(ClientConfig(address))
        with pytest.raises(ApiError) as caught:
            await client.create(PODS, {"metadata": {"name": "x", "namespace": "default"}})
        assert (caught.value.reason, caught.value.details) == ("AlreadyExists", {"name": "x"})
        with pytest.raises(ApiError) as caught:
            await client.get(PODS, "x", "default")
        assert (caught.value.code, caught.value.reason, caught.value.message) == (404, "NotFound", "404 page not found")
        await client.close()


async def test_answers_that_are_no_json_are_errors_and_not_crashes() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"<html>"))
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\noops\n\r\n")
        await reader.read()

    async with served(script) as address:
        client = ApiClient(ClientConfig(address))
        with pytest.raises(ApiError, match="not a JSON object"):
            await client.get(PODS, "x", "default")
        with pytest.raises(ConnectionLost, match="malformed watch event"):
            async for _ in client.watch(PODS):
                pass
        await client.close()


async def test_tls_with_a_client_certificate_resumes_its_session(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    reused: list[bool] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        tls = writer.get_extra_info("ssl_object")
        reused.append(tls.session_reused)
        subject = dict(pair[0] for pair in tls.getpeercert()["subject"])
        writer.write(answer(subject["commonName"].encode(), extra="connection: close\r\n"))
        await writer.drain()

    async with served(script, context) as address:
        config = ClientConfig.from_files(address, tmp_path / "ca.crt", tmp_path / "admin.crt", tmp_path / "admin.key")
        client = ApiClient(config)
        for _ in range(3):
            assert (await client.raw("GET", "/")).body == b"admin"
        await client.close()
    assert reused == [False, True, True]


def write_certificates(folder: Path) -> None:
    """A CA, and a certificate for the server on 127.0.0.1 and for the user admin, each signed by it."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    save(folder / "ca", ca_key, sign(ca_name, ca_key, ca_name, ca_key, authority=True))
    for file, name in (("server", "server"), ("admin", "admin")):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        save(folder / file, key, sign(subject, key, ca_name, ca_key, authority=False))


def sign(subject: x509.Name, key: Any, issuer: x509.Name, issuer_key: Any, *, authority: bool) -> x509.Certificate:
    import ipaddress

    start = datetime(2020, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256())


def save(path: Path, key: Any, certificate: x509.Certificate) -> None:
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
