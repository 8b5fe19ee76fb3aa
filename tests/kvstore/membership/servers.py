"""A cluster that grows and shrinks, of our processes or of real etcd's: both take the same flags."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kvstore.api.processes import ETCD, ETCDCTL, Process, free_ports

OURS = (sys.executable, "-m", "kvstore.command")
THEIRS = (ETCD,)
READY = {OURS: "ready to serve client requests", THEIRS: "erving insecure client requests"}
NAMES = ("one", "two", "three", "four", "five")
FLAGS = ("--heartbeat-interval=50", "--election-timeout=500", "--snapshot-count=200")


class Watched(Process):
    """A process whose end while it is waited for is noticed."""

    def wait_ready(self) -> None:
        assert self.reaches(self._ready_text), self._log.read_text()[-2000:]

    def reaches(self, text: str) -> bool:
        """Follow the log until it holds `text`; False when the process ended before."""
        assert self._process is not None
        with subprocess.Popen(
            ["tail", "-n", "+1", "-F", str(self._log)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as follower:  # fmt: skip
            assert follower.stdout is not None
            threading.Thread(target=self._end_with, args=(self._process, follower), daemon=True).start()
            found = any(text in line for line in follower.stdout)
            follower.terminate()
        return found

    @staticmethod
    def _end_with(process: "subprocess.Popen[bytes]", follower: "subprocess.Popen[str]") -> None:
        process.wait()
        follower.terminate()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        assert self._process is not None
        return self._process.poll() is not None

    def exit_code(self, seconds: float = 20) -> int:
        """Wait for its own end."""
        assert self._process is not None
        return self._process.wait(seconds)


class Servers:
    """Members by name; a member's ports are known before it starts."""

    def __init__(self, program: tuple[str, ...], directory: Path, peer_scheme: str, flags: tuple[str, ...]) -> None:
        ports = free_ports(2 * len(NAMES))
        self.flags = flags
        self.program, self.directory = program, directory
        self.clients = dict(zip(NAMES, ports[: len(NAMES)], strict=True))
        self.peers = {
            name: f"{peer_scheme}://127.0.0.1:{port}" for name, port in zip(NAMES, ports[len(NAMES) :], strict=True)
        }
        self.running: dict[str, Watched] = {}

    def endpoint(self, name: str) -> str:
        return f"127.0.0.1:{self.clients[name]}"

    def process(self, name: str, cluster: tuple[str, ...], state: str, *flags: str) -> Watched:
        url, peer = f"http://{self.endpoint(name)}", self.peers[name]
        return Watched(
            [*self.program, "--name", name, f"--data-dir={self.directory / name}", "--listen-client-urls", url,
             "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", ",".join(f"{one}={self.peers[one]}" for one in cluster),
             "--initial-cluster-state", state, *FLAGS, *self.flags, *flags],
            self.directory / f"{name}.log",
            READY[self.program],
        )  # fmt: skip

    def start(self, name: str, cluster: tuple[str, ...], state: str, *flags: str, waits: bool = True) -> Watched:
        process = self.running[name] = self.process(name, cluster, state, *flags)
        process.start()
        if waits:
            process.wait_ready()
        return process

    def found(self, *names: str, flags: tuple[str, ...] = ()) -> None:
        """Start the first members of a cluster."""
        for name in names:
            self.start(name, names, "new", *flags, waits=False)
        for name in names:
            self.running[name].wait_ready()

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        return self.running.pop(name).end(number)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def etcdctl(self, at: str, *arguments: str, seconds: int = 30) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ETCDCTL, "--endpoints", self.endpoint(at), *arguments],
            capture_output=True, text=True, timeout=seconds, env={**os.environ, "ETCDCTL_API": "3"}, check=False,
        )  # fmt: skip

    def until(self, text: str, at: str, *arguments: str) -> None:
        """Ask again until the answer holds `text`."""
        for _ in range(1000):
            if text in self.etcdctl(at, *arguments).stdout:
                return
        raise AssertionError((arguments, text))

    def ok(self, at: str, *arguments: str) -> str:
        """Ask until it is done: a member heard too long ago (a busy machine) makes the cluster unhealthy for a moment."""
        for _ in range(100):
            done = self.etcdctl(at, *arguments)
            if "unhealthy cluster" not in done.stderr:
                break
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def refused(self, at: str, *arguments: str) -> str:
        """What etcd says: the text of the error, without the client's frame."""
        done = self.etcdctl(at, *arguments)
        assert done.returncode != 0, (arguments, done.stdout)
        found = re.search(r"(Error: |\"error\":\")(.*?)(\"}|\n|$)", done.stderr)
        assert found is not None, done.stderr
        return found[2].split(" desc = ")[-1]  # the code of one refusal changed between etcd 3.4 and 3.7

    def members(self, at: str) -> list[dict[str, Any]]:
        members: list[dict[str, Any]] = json.loads(self.ok(at, "member", "list", "-w", "json"))["members"]
        return members

    def member_id(self, at: str, name: str) -> str:
        """As hexadecimal, by peer URL, because a member that has not started has no name."""
        return next(f"{one['ID']:x}" for one in self.members(at) if one["peerURLs"] == [self.peers[name]])

    def add(self, at: str, name: str, *flags: str) -> str:
        return self.ok(at, "member", "add", name, f"--peer-urls={self.peers[name]}", *flags)

    def leader(self, at: str) -> str:
        """The name of the leader that `at` knows, once it knows one."""
        for _ in range(100):
            status = json.loads(self.ok(at, "endpoint", "status", "-w", "json"))[0]["Status"]
            if status.get("leader"):
                return next(str(one["name"]) for one in self.members(at) if one["ID"] == status["leader"])
        raise AssertionError("nobody leads")


@contextmanager
def servers(
    program: tuple[str, ...], directory: Path, peer_scheme: str = "http", flags: tuple[str, ...] = ()
) -> Iterator[Servers]:
    """No process is left behind. `flags` are every member's."""
    directory.mkdir(parents=True, exist_ok=True)
    cluster = Servers(program, directory, peer_scheme, flags)
    try:
        yield cluster
    finally:
        for name in list(cluster.running):
            cluster.end(name)
