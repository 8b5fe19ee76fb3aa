"""The questions that probes and hooks put to a container over the network: HTTP, TCP, gRPC health.

Each returns (passed, what to say about it) and raises nothing but cancellation; the caller limits the time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

READ_BYTES = 10 * 1024
USER_AGENT = "kube-probe/1.37"
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_DATA, _FRAME_HEADERS, _FRAME_RESET, _FRAME_SETTINGS, _FRAME_GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found."""

    passed: bool
    text: str = ""


@cache
def _unverified() -> ssl.SSLContext:
    """Probes do not verify certificates, as in Kubernetes."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def port_number(container: Mapping[str, Any], port: Any) -> int:
    """A probe's port: a number, or the name of one of the container's ports. ValueError when there is none such."""
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    if str(port).isdigit():
        return int(port)
    raise ValueError(f'couldn\'t find port: "{port}"')


async def http_get(container: Mapping[str, Any], action: Mapping[str, Any], pod_ip: str) -> Outcome:
    """200..399 passes."""
    try:
        port = port_number(container, action.get("port"))
        status, body = await _http_request(action, action.get("host") or pod_ip, port)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return Outcome(False, f"Get failed: {error}")
    if 200 <= status < 400:
        return Outcome(True)
    text = body[:200].decode("utf-8", "replace").strip()
    return Outcome(False, f"HTTP probe failed with statuscode: {status}" + (f": {text}" if text else ""))


async def _http_request(action: Mapping[str, Any], host: str, port: int) -> tuple[int, bytes]:
    secure = str(action.get("scheme") or "HTTP").upper() == "HTTPS"
    reader, writer = await asyncio.open_connection(host, port, ssl=_unverified() if secure else None)
    try:
        headers = {"Host": f"{host}:{port}", "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
        headers.update({entry["name"]: entry.get("value", "") for entry in action.get("httpHeaders") or ()})
        lines = [f"GET {action.get('path') or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        status_line = await reader.readline()
        words = status_line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/"):
            raise ValueError("malformed HTTP response")
        data = await reader.read(READ_BYTES)
        return int(words[1]), data.partition(b"\r\n\r\n")[2]
    finally:
        writer.transport.abort()


async def tcp_connect(container: Mapping[str, Any], action: Mapping[str, Any], pod_ip: str) -> Outcome:
    """A connection that is accepted passes."""
    try:
        port = port_number(container, action.get("port"))
        _, writer = await asyncio.open_connection(action.get("host") or pod_ip, port)
    except (OSError, ValueError) as error:
        return Outcome(False, f"dial tcp failed: {error}")
    writer.transport.abort()
    return Outcome(True)


async def grpc_health(action: Mapping[str, Any], pod_ip: str) -> Outcome:
    """grpc.health.v1.Health/Check answers SERVING. One call, so the frames are made by hand (RFC 9113, literal HPACK)."""
    service = str(action.get("service") or "").encode()
    request = (b"\x0a" + bytes([len(service)]) + service) if service else b""
    host = f"{pod_ip}:{action.get('port')}"
    headers = b"".join(
        _literal(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/grpc.health.v1.Health/Check"),
            (b":authority", host.encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", USER_AGENT.encode()),
        )
    )
    body = b"\0" + len(request).to_bytes(4, "big") + request
    try:
        reader, writer = await asyncio.open_connection(pod_ip, int(action.get("port") or 0))
    except (OSError, ValueError) as error:
        return Outcome(False, f"failed to connect service at {host}: {error}")
    try:
        writer.write(_HTTP2_PREFACE + _frame(_FRAME_SETTINGS, 0, 0, b""))
        writer.write(_frame(_FRAME_HEADERS, _END_HEADERS, 1, headers) + _frame(_FRAME_DATA, _END_STREAM, 1, body))
        answer = await _read_answer(reader, writer)
    except (OSError, asyncio.IncompleteReadError) as error:
        return Outcome(False, f"rpc failed: {error}")
    finally:
        writer.transport.abort()
    if answer[5:] == b"\x08\x01":
        return Outcome(True)
    return Outcome(False, "service unhealthy (responded with anything but SERVING)")


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def _read_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The message on stream 1; b"" when the call ended without one."""
    collected = b""
    while True:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        if kind == _FRAME_SETTINGS and not flags & _ACK:
            writer.write(_frame(_FRAME_SETTINGS, _ACK, 0, b""))
        elif kind == _FRAME_DATA and stream == 1:
            collected += payload
        ends = (kind in (_FRAME_DATA, _FRAME_HEADERS) and flags & _END_STREAM) or kind in (_FRAME_RESET, _FRAME_GOAWAY)
        if ends or len(collected) > READ_BYTES:
            return collected
