"""One member as a process, and a client of it that keeps what was acknowledged."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError
from tests.kvstore.api.processes import ROOT, free_ports

START_SECONDS = 30.0
CALL_SECONDS = 10.0
POLL_SECONDS = 0.01


class Member:
    """A cluster of one, in `folder`. Its log file is beside its data."""

    def __init__(self, folder: Path, name: str = "one", data: Path | None = None) -> None:
        self.data = data or folder / "data"
        self.log = folder / f"{name}.log"
        self._name = name
        self._ports = free_ports(2)
        self._process: Process | None = None
        self._channel: Channel | None = None

    async def launch(self, environment: dict[str, str] | None = None, **flags: str) -> None:
        """Start it; see `start` and `exit_code`."""
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports)
        given = {
            "name": self._name, "data-dir": str(self.data), "listen-client-urls": client, "advertise-client-urls": client,
            "listen-peer-urls": peer, "initial-advertise-peer-urls": peer, "initial-cluster": f"{self._name}={peer}",
            **{flag.replace("_", "-"): text for flag, text in flags.items()},
        }  # fmt: skip
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "kvstore.command", *(f"--{flag}={text}" for flag, text in given.items()),
                cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **(environment or {})},
            )  # fmt: skip
        self._channel = Channel(f"127.0.0.1:{self._ports[0]}")

    async def start(self, environment: dict[str, str] | None = None, **flags: str) -> bool:
        """Start it; return whether it serves (it may be killed by a fault before)."""
        await self.launch(environment, **flags)
        assert self._process is not None
        async with asyncio.timeout(START_SECONDS):
            while self._process.returncode is None:
                try:
                    await self.read(b"none")
                except RpcError:
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    return True
        return False

    async def call(self, method: str, request: bytes, seconds: float = CALL_SECONDS) -> bytes:
        assert self._channel is not None
        return await self._channel.unary(f"/etcdserverpb.{method}", request, timeout=seconds)

    async def put(self, key: bytes, value: bytes, seconds: float = CALL_SECONDS) -> None:
        await self.call("KV/Put", rpc.PutRequest(key=key, value=value).SerializeToString(), seconds)

    async def read(self, key: bytes, range_end: bytes = b"") -> dict[bytes, bytes]:
        request = rpc.RangeRequest(key=key, range_end=range_end).SerializeToString()
        answer = rpc.RangeResponse.FromString(await self.call("KV/Range", request))
        return {pair.key: pair.value for pair in answer.kvs}

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    async def exit_code(self) -> int:
        """Wait for its end."""
        assert self._process is not None
        async with asyncio.timeout(START_SECONDS):
            return await self._process.wait()

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End it, if it still runs; return the exit code."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(number)
        code, self._process = await self._process.wait(), None
        return code

    def words(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Writer:
    """Puts keys one after another, each with a value of its own; knows which were acknowledged and which may be there."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.acknowledged: dict[bytes, bytes] = {}
        self.unknown: dict[bytes, bytes] = {}

    async def write(self, count: int) -> RpcError | None:
        """Put `count` keys; stop at the first error and return it."""
        for _ in range(count):
            number = len(self.acknowledged) + len(self.unknown)
            key, value = b"k%06d" % number, b"value-of-%06d." % number * 20
            try:
                await self._member.put(key, value)
            except RpcError as error:
                self.unknown[key] = value
                return error
            self.acknowledged[key] = value
        return None

    async def check(self) -> None:
        """Assert that the member holds what was acknowledged, and nothing that was never sent."""
        found = await self._member.read(b"k", b"l")
        lost = {key for key, value in self.acknowledged.items() if found.get(key) != value}
        assert not lost, f"acknowledged and lost: {sorted(lost)}"
        invented = found.items() - (self.acknowledged | self.unknown).items()
        assert not invented, f"never written: {invented}"
