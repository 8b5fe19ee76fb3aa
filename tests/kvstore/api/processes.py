"""Real processes for tests: three members of ours, or one real etcd. Every one is ended by its own handle."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[3]
ETCD = shutil.which("etcd") or "/usr/bin/etcd"
ETCDCTL = shutil.which("etcdctl") or "/usr/bin/etcdctl"

needs_etcd = pytest.mark.skipif(not Path(ETCD).exists(), reason="etcd is not installed (Debian: etcd-server)")
needs_etcdctl = pytest.mark.skipif(not Path(ETCDCTL).exists(), reason="etcdctl is not installed (Debian: etcd-client)")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Process:
    """One server process with a log file."""

    def __init__(self, arguments: list[str], log: Path, ready_text: str) -> None:
        self._arguments = arguments
        self._log = log
        self._ready_text = ready_text
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def start(self) -> None:
        """Start it; `wait_ready` waits for it."""
        self._output = self._log.open("wb")
        self._process = subprocess.Popen(
            self._arguments, stdout=self._output, stderr=subprocess.STDOUT, cwd=ROOT, env=dict(os.environ)
        )

    def wait_ready(self) -> None:
        """Follow the log until it says that clients are served."""
        assert self._process is not None
        with subprocess.Popen(["tail", "-n", "+1", "-F", str(self._log)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True) as follower:  # fmt: skip
            assert follower.stdout is not None
            for line in follower.stdout:
                if self._ready_text in line:
                    break
            follower.terminate()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(15)
        self._process = None
        assert self._output is not None
        self._output.close()
        return code


class Cluster:
    """Three members on this machine."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(6)
        self.client_ports = ports[:3]
        peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        names = ["one", "two", "three"]
        initial = ",".join(f"{name}={url}" for name, url in zip(names, peers, strict=True))
        self.members = [
            Process(
                [sys.executable, "-m", "kvstore.command", "--name", name, f"--data-dir={directory / name}",
                 "--listen-client-urls", f"http://127.0.0.1:{port}",
                 f"--advertise-client-urls=http://127.0.0.1:{port}",
                 "--listen-peer-urls", url, "--initial-advertise-peer-urls", url, "--initial-cluster", initial],
                directory / f"{name}.log",
                "ready to serve client requests",
            )
            for name, port, url in zip(names, self.client_ports, peers, strict=True)
        ]

    @property
    def endpoints(self) -> list[str]:
        """Client addresses of all members."""
        return [f"127.0.0.1:{port}" for port in self.client_ports]

    def start(self) -> None:
        """Start all and wait until they serve."""
        for member in self.members:
            member.start()
        for member in self.members:
            member.wait_ready()


@contextmanager
def running_cluster(directory: Path) -> Iterator[Cluster]:
    """Run three members; none is left behind."""
    cluster = Cluster(directory)
    try:
        cluster.start()
        yield cluster
    finally:
        for member in cluster.members:
            member.end()


@contextmanager
def running_etcd(directory: Path, *flags: str, program: str = ETCD) -> Iterator[str]:
    """Run one real etcd; yield its endpoint."""
    client, peer = free_ports(2)
    client_url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    process = Process(
        [program, "--name", "real", "--data-dir", str(directory / "etcd"), "--listen-client-urls", client_url,
         "--advertise-client-urls", client_url, "--listen-peer-urls", peer_url,
         "--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"real={peer_url}", *flags],
        directory / "etcd.log",
        "ready to serve client requests" if program == ETCD else "serving client traffic insecurely",
    )  # fmt: skip
    process.start()
    try:
        process.wait_ready()
        yield f"127.0.0.1:{client}"
    finally:
        process.end()
