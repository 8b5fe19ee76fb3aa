"""The kubelet's streaming paths: what is asked for, whether it can be had, and the upgrade.

    /exec/NAMESPACE/POD/CONTAINER?command=..&input=1&output=1&error=1&tty=1      (Kubernetes' kubelet parameters)
    /attach/NAMESPACE/POD/CONTAINER?input=1&output=1&error=1&tty=1
    /portForward/NAMESPACE/POD[?port=..]                                         port: for WebSocket channels only
A refusal is an ordinary answer in plain text, given before anything is upgraded; the API server makes a Status of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from controlplane.kubelet.runtimes.port import ContainerKey, NotRunning, RunningCommand, StartFailed
from controlplane.kubelet.streaming import remotecommand
from controlplane.kubelet.streaming.connection import RawBytes, SpdyConnection
from controlplane.kubelet.streaming.portforward import SpdyForwarder, forward_channels
from controlplane.kubelet.streaming.sessions import ChannelSession, Session, SpdySession, Streams
from controlplane.kubelet.streaming.websocket import WebSocket, handshake

if TYPE_CHECKING:
    from controlplane.kubelet.agent import NodeAgent
    from controlplane.kubelet.worker import PodWorker

log = logging.getLogger("controlplane.kubelet")

V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
PORT_FORWARD: Final = "portforward.k8s.io"
TUNNEL: Final = f"SPDY/3.1+{PORT_FORWARD}"
SPDY: Final = "SPDY/3.1"
MAX_PORTS: Final = 127  # two channels each, and a channel is a byte

Pipes = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Query = Mapping[str, Sequence[str]]


class Refused(Exception):
    """The request cannot be served; nothing was upgraded."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What the client wants to change to. Header names are lower case, values of repeated headers joined by commas."""

    is_websocket: bool
    protocol: str  # of those that client and server know; "" for none
    key: str = ""

    @classmethod
    def of(cls, method: str, headers: Mapping[str, str], known: Sequence[str], spdy: Sequence[str]) -> Upgrade:
        """Raises Refused. `known`: WebSocket subprotocols that are served, best first; `spdy`: the same over SPDY."""
        wanted = headers.get("upgrade", "").lower()
        if wanted == "websocket":
            key = headers.get("sec-websocket-key", "")
            if method != "GET" or not key or headers.get("sec-websocket-version") != "13":
                raise Refused(400, "not a WebSocket request of RFC 6455\n")
            offered = _words(headers.get("sec-websocket-protocol", ""))
            found = next((name for name in offered if name in known), "")
            if offered and not found:
                raise Refused(400, f"unable to upgrade: no subprotocol of {', '.join(offered)} is served\n")
            return cls(True, found, key)
        if wanted != SPDY.lower():
            raise Refused(400, "unable to upgrade: the request asks for neither WebSocket nor SPDY/3.1\n")
        offered = _words(headers.get("x-stream-protocol-version", ""))
        found = next((name for name in offered if name in spdy), "")
        if not found and offered:
            raise Refused(403, f"unable to upgrade: unable to negotiate protocol: client supports {offered}\n")
        return cls(False, found or spdy[-1])

    def answer(self) -> bytes:
        """The 101."""
        if self.is_websocket:
            return handshake(self.key, self.protocol)
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {SPDY}"]
        return "\r\n".join([*lines, f"X-Stream-Protocol-Version: {self.protocol}", "", ""]).encode()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


async def serve(agent: NodeAgent, method: str, target: str, headers: Mapping[str, str], pipes: Pipes) -> None:
    """Serve one streaming request to its end. Raises Refused while the connection still speaks HTTP."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    words = [unquote(word) for word in parts.path.strip("/").split("/")]
    if len(words) == 4 and words[0] in ("exec", "attach"):
        worker = _worker(agent, words[1], words[2])
        key = _container(worker, words[3])
        upgrade = Upgrade.of(method, headers, (V5, V4), (V5, V4))
        await _remote_command(agent, words[0] == "exec", key, query, upgrade, pipes)
    elif len(words) == 3 and words[0] == "portForward":
        worker = _worker(agent, words[1], words[2])
        upgrade = Upgrade.of(method, headers, (TUNNEL, V4), (PORT_FORWARD,))
        await _port_forward(agent, worker, _ports(query), upgrade, pipes)
    else:
        raise Refused(404, "404 page not found\n")


def _worker(agent: NodeAgent, namespace: str, name: str) -> PodWorker:
    worker = agent.find(namespace, name)
    if worker is None:
        raise Refused(404, f'pod "{name}" not found on this node\n')
    return worker


def _container(worker: PodWorker, name: str) -> ContainerKey:
    if name not in worker.memory.slots:
        raise Refused(404, f'container not found ("{name}")\n')
    return ContainerKey(worker.uid, name)


def _flag(query: Query, name: str) -> bool:
    return query.get(name, [""])[0] in ("1", "true")


async def _remote_command(
    agent: NodeAgent, is_exec: bool, key: ContainerKey, query: Query, upgrade: Upgrade, pipes: Pipes
) -> None:
    tty = _flag(query, "tty")
    streams = Streams(_flag(query, "input"), _flag(query, "output"), _flag(query, "error") and not tty, tty)
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise Refused(400, "you must specify at least 1 of stdin, stdout, stderr\n")
    command = query.get("command", [])
    if is_exec and not command:
        raise Refused(400, "you must specify a command\n")
    instance = agent.runtime.instance(key)
    if instance is None or instance.exit is not None:
        raise Refused(500, f'container not found ("{key.name}")\n')

    async def make() -> RunningCommand:
        if is_exec:
            return await agent.runtime.begin(key, command, stdin=streams.stdin, tty=tty)
        return agent.runtime.attach(key, stdin=streams.stdin)

    session = await _session(upgrade, streams, pipes)
    if session is not None:
        await _run(session, make, streams, is_exec=is_exec)


async def _session(upgrade: Upgrade, streams: Streams, pipes: Pipes) -> Session | None:
    """Upgrade; None when the client has gone already."""
    reader, writer = pipes
    writer.write(upgrade.answer())
    await writer.drain()
    if upgrade.is_websocket:
        channels = ChannelSession(WebSocket(reader, writer), streams, half_close=upgrade.protocol == V5)
        await channels.open()
        return channels
    spdy = SpdySession(SpdyConnection(RawBytes(reader, writer)), streams)
    return spdy if await spdy.open() else None


async def _run(
    session: Session, make: Callable[[], Awaitable[RunningCommand]], streams: Streams, *, is_exec: bool
) -> None:
    try:
        command = await make()
    except (NotRunning, StartFailed) as error:
        text = error.message if isinstance(error, StartFailed) else str(error)
        what = "error executing command in container" if is_exec else "error attaching to container"
        await session.finish(remotecommand.failure_status(f"{what}: {text}"))
        return
    await remotecommand.serve(session, command, streams, is_exec=is_exec)


def _ports(query: Query) -> list[int]:
    """The ports of a WebSocket request; a value may hold several."""
    words = [word for value in (*query.get("port", ()), *query.get("ports", ())) for word in _words(value)]
    if any(not word.isdigit() or not 0 < int(word) < 65536 for word in words) or len(words) > MAX_PORTS:
        raise Refused(400, f"not a list of ports: {', '.join(words)[:200]}\n")
    return [int(word) for word in words]


async def _port_forward(
    agent: NodeAgent, worker: PodWorker, ports: Sequence[int], upgrade: Upgrade, pipes: Pipes
) -> None:
    by_channel = upgrade.is_websocket and upgrade.protocol != TUNNEL
    if by_channel and not ports:
        raise Refused(400, 'query parameter "port" is required\n')

    def describe(port: int) -> str:
        return f"pod {worker.pod['metadata']['name']}, uid {worker.uid}"

    async def connect(port: int) -> Pipes:
        return await agent.runtime.connect(worker.uid, worker.pod_ip, port)

    reader, writer = pipes
    writer.write(upgrade.answer())
    await writer.drain()
    if by_channel:
        await forward_channels(WebSocket(reader, writer), ports, connect, describe)
        return
    bytes_ = WebSocket(reader, writer) if upgrade.is_websocket else RawBytes(reader, writer)
    await SpdyForwarder(SpdyConnection(bytes_), connect, describe).run()
