"""A node with a real process, and an API server that knows it: both in the test's own loop."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from controlplane.kubelet.access import Access
from controlplane.kubelet.agent import NodeAgent
from controlplane.kubelet.runtimes.port import ContainerKey, StartRequest
from controlplane.kubelet.runtimes.process import ProcessRuntime
from controlplane.kubelet.server import KubeletServer
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import SystemClock
from controlplane.objects.kinds import NODES, PODS, SERVICE_ACCOUNTS, Resource
from tests.controlplane.apiserver.conftest import Api, StartApi, authority, base_config, start_api
from tests.controlplane.apiserver.examples import pod
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority

__all__ = ["authority", "base_config", "start_api"]

KEY = ContainerKey("uid-p", "c")
MASTERS = ("system:masters",)
POD_PATH = "/api/v1/namespaces/default/pods/p"


@dataclass
class Memory:
    slots: dict[str, None] = field(default_factory=lambda: {"c": None})


@dataclass
class Worker:
    """As much of a PodWorker as the streams look at."""

    uid: str = KEY.pod_uid
    pod_ip: str = "127.200.0.9"
    memory: Memory = field(default_factory=Memory)
    pod: dict[str, Any] = field(
        default_factory=lambda: {"metadata": {"name": "p", "namespace": "default", "uid": "uid-p"}}
    )


@dataclass
class Agent:
    """As much of a NodeAgent as its server looks at."""

    runtime: ProcessRuntime
    workers: dict[str, Worker] = field(default_factory=lambda: {KEY.pod_uid: Worker()})

    def find(self, namespace: str, name: str) -> Worker | None:
        return next(iter(self.workers.values())) if (namespace, name) == ("default", "p") else None


class Refusing:
    """An API that allows nothing; its own server, a master, is not asked about."""

    async def create(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        return {**obj, "status": {"allowed": False}}


@dataclass
class Node:
    """A kubelet's server and the runtime behind it."""

    port: int
    runtime: ProcessRuntime

    async def start(self, *argv: str, **options: Any) -> None:
        await self.runtime.start(StartRequest(KEY, 0, "default", "p", "busybox", argv, **options), lambda: None)


@pytest.fixture
async def node(authority: Authority, tmp_path: Path) -> AsyncIterator[Node]:
    runtime = ProcessRuntime(f"streams-{os.getpid()}", tmp_path / "node", SystemClock(), os.environ["PATH"])
    await runtime.open()
    access = Access(cast(ApiClient, Refusing()), "n1")
    server = KubeletServer(cast(NodeAgent, Agent(runtime)), SystemClock(), access)
    certificate, key = authority.issue("kubelet", "kubelet", server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_OPTIONAL
    port = await server.start("127.0.0.1", 0, context)
    yield Node(port, runtime)
    await server.stop()
    await runtime.close(0.2)


@pytest.fixture
async def api(start_api: StartApi, authority: Authority, node: Node) -> Api:
    """With the node, and a running pod `p` on it."""
    certificate, key = authority.issue("to-kubelet", "kube-apiserver-kubelet-client", MASTERS)
    found: Api = await start_api(
        MemoryBackend(),
        kubelet_client_certificate=certificate,
        kubelet_client_key=key,
        kubelet_certificate_authority=authority.path,
    )
    client = found.client()
    await client.create(NODES, {"metadata": {"name": "n"}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": node.port}},
    }
    await client.patch(NODES, "n", {"status": status}, type="merge", subresource="status")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(PODS, pod("p", labels={"app": "a"}), "default")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}}
    await client.create(PODS, binding, "default", subresource="binding", name="p")
    await client.patch(PODS, "p", {"status": {"phase": "Running"}}, "default", type="merge", subresource="status")
    return found


@dataclass
class User:
    """Somebody with a client certificate, or with nothing but a header or a subprotocol."""

    authority: Authority
    name: str = ""
    groups: tuple[str, ...] = ()

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.path))
        if self.name:
            context.load_cert_chain(*self.authority.issue(f"user-{self.name}", self.name, self.groups))
        return context

    def connect(self, server: str, path: str, *subprotocols: str, **options: Any) -> connect:
        """A WebSocket: `async with`. InvalidStatus when it is refused."""
        offered = [Subprotocol(name) for name in subprotocols] or None
        address = server.replace("https://", "wss://") + path
        return connect(address, ssl=self.context(), subprotocols=offered, compression=None, proxy=None, **options)

    async def ask(self, server: str, method: str, path: str, **headers: str) -> tuple[bytes, Any]:
        """Send a bare request; (head of the answer, pipes). Header names with underscores for dashes."""
        host, _, port = server.removeprefix("https://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=self.context())
        lines = [f"{method} {path} HTTP/1.1", "host: x", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return await reader.readuntil(b"\r\n\r\n"), (reader, writer)


@pytest.fixture
def admin(authority: Authority) -> User:
    return User(authority, "admin", MASTERS)


async def all_messages(socket: ClientConnection) -> list[bytes]:
    """Until the server closes."""
    return [message if isinstance(message, bytes) else message.encode() async for message in socket]
