"""An API server in the test's own loop, on the store in memory or on a real etcd, and clients of it."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.apiserver import ApiServerConfig, run
from controlplane.apiserver.environment import Environment
from controlplane.apiserver.storage.backend import Backend
from controlplane.machinery.client import ApiClient
from controlplane.machinery.config import ClientConfig
from kvstore.client import Client
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority

START_SECONDS = 10.0


@dataclass
class Api:
    """A running server: its address, its authority, clients of any user."""

    server: str
    authority: Authority
    config: ApiServerConfig
    backend: Backend | None
    stop: Callable[[], Any]
    clients: list[ApiClient] = field(default_factory=list)

    def kubeconfig(self, name: str = "admin", groups: tuple[str, ...] = ("system:masters",)) -> Path:
        return self.authority.kubeconfig(self.server, name, groups)

    def client(self, name: str = "admin", groups: tuple[str, ...] = ("system:masters",)) -> ApiClient:
        client = ApiClient(ClientConfig.from_kubeconfig(self.kubeconfig(name, groups)))
        self.clients.append(client)
        return client

    def token_client(self, token: str) -> ApiClient:
        config = ClientConfig.from_kubeconfig(self.kubeconfig())
        client = ApiClient(replace(config, token=token, certificate_data=b"", key_data=b""))
        self.clients.append(client)
        return client


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def base_config(authority: Authority) -> ApiServerConfig:
    certificate, key = authority.issue("server", "kube-apiserver", server=True)
    _, signing = authority.issue("signing", "signing")
    return ApiServerConfig(
        tls_cert_file=certificate,
        tls_private_key_file=key,
        client_ca_file=authority.path,
        secure_port=0,
        service_account_signing_key_file=signing,
        shutdown_grace_seconds=2.0,
    )


StartApi = Callable[..., Any]


@pytest.fixture
async def start_api(authority: Authority, base_config: ApiServerConfig) -> AsyncIterator[StartApi]:
    """A function that starts a server: `await start_api(backend=..., **changes of the configuration)`."""
    running: list[tuple[Api, asyncio.Event, asyncio.Task[None]]] = []

    async def start(backend: Backend | None = None, **changes: Any) -> Api:
        config = replace(base_config, **changes)
        stop, ready = asyncio.Event(), asyncio.Event()
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        environment = replace(Environment.system(), random=random.Random(7))
        task = asyncio.create_task(
            run(config, stop=stop, ready=ready.set, backend=backend, environment=environment, on_port=port.set_result)
        )
        async with asyncio.timeout(START_SECONDS):
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            if not ready.is_set():
                waiting.cancel()
                await task
        api = Api(f"https://127.0.0.1:{port.result()}", authority, config, backend, stop.set)
        running.append((api, stop, task))
        return api

    yield start
    for api, stop, task in running:
        for client in api.clients:
            await client.close()
        stop.set()
        await task


async def empty(store: str) -> None:
    """Delete every key of a store."""
    async with Client([store]) as client:
        await client.delete(b"\0", b"\0")


@pytest.fixture(
    params=[
        "memory",
        pytest.param("etcd", marks=pytest.mark.slow),
        pytest.param("member", marks=pytest.mark.slow),
    ]
)
def backing(request: pytest.FixtureRequest) -> str:
    """Where the server of a test keeps its objects: the address of a store, or "" for memory."""
    found: str = "" if request.param == "memory" else request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def api(start_api: StartApi, backing: str) -> Api:
    """A server on an empty store."""
    if not backing:
        in_memory: Api = await start_api(MemoryBackend())
        return in_memory
    await empty(backing)
    found: Api = await start_api(None, etcd_servers=(backing,))
    return found


@pytest.fixture
async def client(api: Api) -> ApiClient:
    """The administrator."""
    return api.client()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a store of our own, one member."""
    from kvstore import server
    from kvstore.member.config import MemberConfig

    client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    config = MemberConfig(
        data_dir=tmp_path / "member",
        listen_client_urls=(client,),
        advertise_client_urls=(client,),
        listen_peer_urls=(peer,),
        initial_advertise_peer_urls=(peer,),
        initial_cluster=(("default", peer),),
        heartbeat_interval_milliseconds=20,
        election_timeout_milliseconds=100,
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(server.run(config, stop=stop, ready=ready.set))
    async with asyncio.timeout(START_SECONDS):
        await ready.wait()
    yield client.removeprefix("http://")
    stop.set()
    await task


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real etcd; its keys are shared by the session's tests."""
    program = shutil.which("etcd")
    if program is None:
        pytest.skip("no etcd on PATH (Debian: etcd-server)")
    client, peer = _free_port(), _free_port()
    arguments = [
        program,
        f"--data-dir={tmp_path_factory.mktemp('etcd')}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
    ]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", client)) == 0:
                    break
            time.sleep(0.02)
        yield f"127.0.0.1:{client}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
