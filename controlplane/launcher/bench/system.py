"""Three members as processes on this machine, ours or etcd's: both take the same flags."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from controlplane.launcher.state import LauncherError
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError

MEMBERS = 3
START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.005
OURS_COMMAND = [sys.executable, "-m", "kvstore.command"]


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


class Member:
    """One process: where it serves, and whether it runs."""

    def __init__(self, command: list[str], endpoint: str, log: Path) -> None:
        self.endpoint = endpoint
        self._command, self._log = command, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end; nothing happens to one that does not run."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def last_words(self) -> str:
        """Return the last line of its log."""
        return self._log.read_text(errors="replace").strip().rpartition("\n")[2]

    def cpu_seconds(self) -> float:
        """Return the processor time it has used, its own and the kernel's for it."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, int]:
        """Resident bytes: RssAnon, and RssFile (pages of mapped files, which the kernel may drop)."""
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        found = dict(line.split(":", 1) for line in lines if line.startswith("Rss"))
        return {name: int(text.split()[0]) * 1024 for name, text in found.items()}


class System:
    """A cluster of one kind, and its client channels. `name` is `ours` or `peer`."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.loaded_keys = 0
        self.load_seconds = 0.0
        ports = free_ports(2 * MEMBERS)
        peers = [f"http://127.0.0.1:{port}" for port in ports[MEMBERS:]]
        cluster = ",".join(f"m{number}={url}" for number, url in enumerate(peers))
        self.members = []
        for number, (port, peer) in enumerate(zip(ports, peers)):
            url = f"http://127.0.0.1:{port}"
            flags = {"name": f"m{number}", "data-dir": str(folder / f"{name}-{number}"), "initial-cluster": cluster,
                     "listen-client-urls": url, "advertise-client-urls": url, "listen-peer-urls": peer,
                     "initial-advertise-peer-urls": peer, "quota-backend-bytes": str(8 << 30)}  # fmt: skip
            arguments = [*command, *(f"--{flag}={value}" for flag, value in flags.items())]
            self.members.append(Member(arguments, f"127.0.0.1:{port}", folder / f"{name}-{number}.log"))
        self._channels: dict[str, Channel] = {}

    async def start(self) -> None:
        """Start all; return when there is a leader and every member serves. Raises LauncherError."""
        for member in self.members:
            member.start()
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.leader()
                for member in self.members:
                    await self.serves(member)
        except TimeoutError as error:
            raise LauncherError(f"{self.name}: no leader within {START_SECONDS:.0f} s") from error

    async def stop(self) -> None:
        for member in self.members:
            member.end(signal.SIGKILL)
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def channel(self, member: Member) -> Channel:
        return self._channels.setdefault(member.endpoint, Channel(member.endpoint))

    async def call(self, member: Member, method: str, request: bytes, seconds: float = 30.0) -> bytes:
        """Return the answer to one call; raises RpcError."""
        return await self.channel(member).unary(f"/etcdserverpb.{method}", request, timeout=seconds)

    async def leader(self) -> Member:
        """Ask until a member says that it leads."""
        while True:
            if not any(member.is_running for member in self.members):
                raise LauncherError(f"{self.name}: no member runs; {self.members[0].last_words()}")
            for member in self.survivors():
                with contextlib.suppress(RpcError):
                    status = rpc.StatusResponse.FromString(await self.call(member, "Maintenance/Status", b"", 1.0))
                    if status.leader and status.leader == status.header.member_id:
                        return member
            await asyncio.sleep(POLL_SECONDS)

    async def serves(self, member: Member) -> None:
        """Return as soon as `member` answers a serializable read."""
        request = rpc.RangeRequest(key=b"none", serializable=True).SerializeToString()
        while True:
            channel = Channel(member.endpoint)  # no waiting between attempts to connect
            try:
                await channel.unary("/etcdserverpb.KV/Range", request, timeout=START_SECONDS)
            except RpcError:
                await asyncio.sleep(POLL_SECONDS)
            else:
                return
            finally:
                await channel.close()

    def survivors(self) -> Iterator[Member]:
        return (member for member in self.members if member.is_running)
