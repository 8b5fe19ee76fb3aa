"""The node's HTTPS endpoint: who has a client certificate of the cluster's authority or a token that the API knows may ask
what the API lets him (access.py); everybody else gets 401 or 403.

    /healthz  /pods  /metrics/resource  /stats/summary  /containerLogs/NAMESPACE/POD/CONTAINER
    /exec  /attach  /portForward    (streaming/endpoint.py)
A small HTTP/1.1 server on asyncio streams, GET only but for upgrades, one answer at a time on a connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from controlplane.kubelet import metrics
from controlplane.kubelet.access import Access
from controlplane.kubelet.podstatus import parse_time
from controlplane.kubelet.runtimes import proc
from controlplane.kubelet.runtimes.port import ContainerKey, LogOptions, NoLog, Usage
from controlplane.machinery.client import ApiError, ConnectionLost
from controlplane.machinery.clock import Clock

if TYPE_CHECKING:
    from controlplane.kubelet.agent import NodeAgent

log = logging.getLogger("controlplane.kubelet")

HEAD_LIMIT_BYTES = 64 * 1024
IDLE_SECONDS = 120.0
LOG_TIME = "%Y-%m-%dT%H:%M:%S.%f000Z"
STREAMING = ("/exec/", "/attach/", "/portForward/")
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, or one that streams (`chunks`)."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    chunks: AsyncIterator[bytes] | None = field(default=None, compare=False)


class KubeletServer:
    """Serves one NodeAgent."""

    def __init__(self, agent: NodeAgent, clock: Clock, access: Access) -> None:
        self._agent = agent
        self._access = access
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, address: str, port: int, context: ssl.SSLContext) -> int:
        """Listen; the port (that was chosen for 0). OSError when it is taken."""
        self._server = await asyncio.start_server(
            self._on_connection, address, port, ssl=context, limit=HEAD_LIMIT_BYTES
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._one_request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ssl.SSLError):
            pass  # the client went away, or speaks no HTTP
        except asyncio.CancelledError:
            pass  # the server stops; nobody awaits this task's outcome
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to be closed."""
        async with asyncio.timeout(IDLE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        words = line.decode("latin-1").split(" ")
        # One spelling of a path only: what is authorized must be what is served.
        if len(words) != 3 or not words[1].startswith("/") or "//" in words[1].partition("?")[0]:
            await _send(writer, Answer(400, b"bad request\n"), keep=False)
            return False
        headers = _headers(rest)
        keep = "close" not in headers.get("connection", "").lower() and words[2] == "HTTP/1.1"
        keep = keep and "content-length" not in headers
        method, target = words[0], words[1]
        refusal = await self._refusal(method, target, headers, writer.get_extra_info("peercert"))
        if refusal is not None:
            answer = refusal
        elif target.startswith(STREAMING):
            failure = await self._stream(method, target, headers, (reader, writer))
            if failure is None:
                return False
            answer, keep = failure, False
        elif method not in ("GET", "HEAD"):
            answer = Answer(405, b"Method Not Allowed\n")
        else:
            answer = self.answer(target)
        return await self._deliver(writer, answer, keep) and keep

    async def _refusal(
        self, method: str, target: str, headers: Mapping[str, str], certificate: Mapping[str, Any] | None
    ) -> Answer | None:
        """Why the requester gets nothing; None when he may."""
        try:
            requester = await self._access.requester(certificate, headers.get("authorization", ""))
            if requester is None:
                return Answer(401, b"Unauthorized\n")
            if await self._access.allows(requester, method, target):
                return None
        except (ApiError, ConnectionLost) as error:
            log.warning("%s %s: whether it is allowed cannot be asked: %s", method, target.split("?")[0], error)
            return Answer(500, b"Authorization error: the API server cannot be asked\n")
        return Answer(403, f"Forbidden (user={requester.name}, verb={method.lower()}, resource=nodes)\n".encode())

    async def _stream(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        pipes: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> Answer | None:
        """Serve an upgraded connection to its end: None. Or say why not."""
        from controlplane.kubelet.streaming import endpoint

        try:
            await endpoint.serve(self._agent, method, target, headers, pipes)
        except endpoint.Refused as refused:
            return Answer(refused.status, refused.text.encode())
        return None

    async def _deliver(self, writer: asyncio.StreamWriter, answer: Answer, keep: bool) -> bool:
        if answer.chunks is None:
            await _send(writer, answer, keep)
            return True
        try:
            first = await anext(answer.chunks, b"")
        except NoLog as error:
            await _send(writer, Answer(400, str(error).encode()), keep)
            return True
        head = _head(answer, keep, "Transfer-Encoding: chunked")
        writer.write(head + _chunk(first))
        await writer.drain()
        async for chunk in answer.chunks:
            writer.write(_chunk(chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def answer(self, target: str) -> Answer:
        """What a GET of `target` gets."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        path = parts.path.rstrip("/")
        if path == "/healthz":
            return Answer(200, b"ok")
        if path == "/pods":
            pods = [{"apiVersion": "v1", "kind": "Pod", **worker.pod} for worker in self._agent.workers.values()]
            return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
        if path == "/metrics/resource":
            text = metrics.resource_metrics(self._reading())
            return Answer(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")
        if path == "/stats/summary":
            return _json(metrics.summary(self._agent.config.node_name, self._reading()))
        words = [unquote(word) for word in path.split("/")]
        if len(words) == 5 and words[1] == "containerLogs":
            return self._logs(words[2], words[3], words[4], query)
        return Answer(404, b"404 page not found\n")

    def _reading(self) -> metrics.Reading:
        own = proc.read_process(os.getpid())
        agent = Usage(own.cpu_seconds, own.memory_bytes) if own is not None else Usage(0.0, 0)
        pods = [worker.pod for worker in self._agent.workers.values()]
        return metrics.make_reading(pods, self._agent.runtime.usage(), agent, self._clock.now())

    def _logs(self, namespace: str, name: str, container: str, query: Mapping[str, str]) -> Answer:
        worker = self._agent.find(namespace, name)
        if worker is None:
            return Answer(404, f'pod "{name}" not found on this node\n'.encode())
        if container not in worker.memory.slots:
            return Answer(404, f'container "{container}" not found in pod "{name}"\n'.encode())
        try:
            options = self._log_options(query)
            chunks = self._agent.runtime.logs(ContainerKey(worker.uid, container), options)
        except ValueError as error:
            return Answer(400, f"{error}\n".encode())
        except NoLog:
            which = "previous terminated container" if query.get("previous") == "true" else "container"
            text = f'{which} "{container}" in pod "{name}" is waiting to start or not found'
            if which.startswith("previous"):
                text = f'previous terminated container "{container}" in pod "{name}" not found'
            return Answer(400, text.encode())
        return Answer(200, chunks=chunks)

    def _log_options(self, query: Mapping[str, str]) -> LogOptions:
        """PodLogOptions from a query. ValueError for what is no number or time."""
        since: datetime | None = None
        if query.get("sinceTime"):
            since = parse_time(query["sinceTime"])
            if since is None or since.tzinfo is None:
                raise ValueError(f"sinceTime: {query['sinceTime']} is no time of RFC 3339")
        if query.get("sinceSeconds"):
            since = self._clock.now() - timedelta(seconds=int(query["sinceSeconds"]))
        return LogOptions(
            follow=query.get("follow") in ("true", "1"),
            previous=query.get("previous") in ("true", "1"),
            timestamps=query.get("timestamps") in ("true", "1"),
            tail_lines=_count(query, "tailLines"),
            limit_bytes=_count(query, "limitBytes"),
            since=since.astimezone(UTC).strftime(LOG_TIME) if since is not None else "",
        )


def _headers(text: bytes) -> dict[str, str]:
    """Header lines by lower-case name; the values of repeated ones are joined by commas."""
    found: dict[str, str] = {}
    for line in text.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name:
            name, value = name.lower(), value.strip()
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _count(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None or text == "":
        return None
    if not text.isdigit():
        raise ValueError(f"{name}: {text} is not a number from 0 up")
    return int(text)


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value, separators=(",", ":")).encode(), "application/json")


def _head(answer: Answer, keep: bool, length: str) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, '')}",
        f"Content-Type: {answer.content_type}",
        length,
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


async def _send(writer: asyncio.StreamWriter, answer: Answer, keep: bool) -> None:
    writer.write(_head(answer, keep, f"Content-Length: {len(answer.body)}") + answer.body)
    await writer.drain()
