"""A real etcd for the tests: the judge of the client."""

import asyncio
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kvstore.client import Client
from kvstore.client.errors import EtcdError

START_SECONDS = 20.0


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago (etcd cannot tell which port 0 became)."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class EtcdProcess:
    """One member of its own cluster, in its own directory; it can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        client_port, peer_port = free_ports(2)
        self.endpoint = f"127.0.0.1:{client_port}"
        client_url, peer_url = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
        self._command = [
            "etcd",
            f"--data-dir={directory}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--heartbeat-interval=10",
            "--election-timeout=100",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def ready(self) -> None:
        """Return when it serves linearizable reads."""
        async with asyncio.timeout(START_SECONDS), Client([self.endpoint]) as client:
            while True:
                try:
                    await client.get(b"ready", timeout_seconds=1.0)
                    return
                except EtcdError:
                    await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def shared_etcd() -> Iterator[EtcdProcess]:
    """One etcd for all tests; each takes its own key prefix."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    with tempfile.TemporaryDirectory() as directory:
        process = EtcdProcess(Path(directory) / "data")
        process.start()
        try:
            asyncio.run(process.ready())
            yield process
        finally:
            process.stop()


@pytest.fixture
async def own_etcd(tmp_path: Path) -> AsyncIterator[EtcdProcess]:
    """An etcd that the test may kill, compact or fill."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    process = EtcdProcess(tmp_path / "data")
    process.start()
    try:
        await process.ready()
        yield process
    finally:
        process.stop()


@pytest.fixture
async def client(shared_etcd: EtcdProcess) -> AsyncIterator[Client]:
    async with Client([shared_etcd.endpoint]) as made:
        yield made


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> bytes:
    """Keys of this test alone."""
    return request.node.name.encode() + b"/"
