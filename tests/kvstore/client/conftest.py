"""Servers for the tests: a real etcd, the judge of the client, and our own member, which must be no different."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kvstore.client import Client
from kvstore.client.errors import EtcdError

START_SECONDS = 60.0


ADDRESS = f"127.77.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF}"  # outgoing connections never take a port of it


def free_ports(count: int) -> list[int]:
    """Ports of ADDRESS that are free (a server cannot tell which port 0 became)."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((ADDRESS, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


PROGRAMS = {
    "etcd": ["etcd", "--unsafe-no-fsync"],
    "pilothouse": [sys.executable, "-c", "from kvstore.command import member; member()"],
}


class EtcdProcess:
    """One member of its own cluster, in its own directory; it can be stopped and started again."""

    def __init__(self, program: str, directory: Path, name: str = "default", peers: dict[str, int] | None = None) -> None:
        if program == "etcd" and shutil.which("etcd") is None:
            pytest.skip("etcd is not installed")
        peers = peers or {name: free_ports(1)[0]}
        self.endpoint = f"{ADDRESS}:{free_ports(1)[0]}"
        client_url, peer_url = f"http://{self.endpoint}", f"http://{ADDRESS}:{peers[name]}"
        cluster = ",".join(f"{other}=http://{ADDRESS}:{port}" for other, port in peers.items())
        self._command = [
            *PROGRAMS[program],
            f"--name={name}",
            f"--data-dir={directory}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster={cluster}",
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

    def pause(self) -> None:
        """Stop it as a debugger would: connections stay, nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    async def ready(self) -> None:
        """Return when it serves linearizable reads."""
        async with asyncio.timeout(START_SECONDS), Client([self.endpoint]) as client:
            while True:
                try:
                    await client.get(b"ready", timeout_seconds=1.0)
                    return
                except EtcdError:
                    assert self._process is not None
                    assert self._process.poll() is None, "the server ended at its start"
                    await asyncio.sleep(0.02)


@pytest.fixture(scope="session", params=list(PROGRAMS))
def shared_etcd(request: pytest.FixtureRequest) -> Iterator[EtcdProcess]:
    """One server for all tests; each takes its own key prefix."""
    with tempfile.TemporaryDirectory() as directory:
        process = EtcdProcess(request.param, Path(directory) / "data")
        process.start()
        try:
            asyncio.run(process.ready())
            yield process
        finally:
            process.stop()


@pytest.fixture(params=list(PROGRAMS))
async def own_etcd(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EtcdProcess]:
    """A server that the test may kill, compact or fill."""
    process = EtcdProcess(request.param, tmp_path / "data")
    process.start()
    try:
        await process.ready()
        yield process
    finally:
        process.stop()


@pytest.fixture(params=list(PROGRAMS))
async def three_members(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[EtcdProcess]]:
    """A cluster of three."""
    peers = dict(zip(("m0", "m1", "m2"), free_ports(3), strict=True))
    members = [EtcdProcess(request.param, tmp_path / name, name, peers) for name in peers]
    try:
        for member in members:
            member.start()
        for member in members:
            await member.ready()
        yield members
    finally:
        for member in members:
            member.stop()


@pytest.fixture
async def client(shared_etcd: EtcdProcess) -> AsyncIterator[Client]:
    async with Client([shared_etcd.endpoint]) as made:
        yield made


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> bytes:
    """Keys of this test alone."""
    return request.node.name.encode() + b"/"
