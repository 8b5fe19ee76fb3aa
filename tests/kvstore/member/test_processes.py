"""Real processes: leaders killed under load, members that come back far behind."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

import pytest

from kvstore.pb import rpc_pb2
from kvstore.rpc import Channel, RpcError
from tests.kvstore.member.kit import free_ports

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("one", "two", "three")
SNAPSHOT_COUNT = 300


class Processes:
    """Three members, each a process."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(6)
        self.folder = folder
        self.clients = dict(zip(NAMES, ports[:3]))
        self.peers = {name: f"http://127.0.0.1:{port}" for name, port in zip(NAMES, ports[3:])}
        self.running: dict[str, Process] = {}
        self.channels = {name: Channel(f"127.0.0.1:{port}") for name, port in self.clients.items()}

    async def start(self, name: str) -> None:
        url, peer = f"http://127.0.0.1:{self.clients[name]}", self.peers[name]
        cluster = ",".join(f"{n}={u}" for n, u in self.peers.items())
        arguments = {"name": name, "data-dir": self.folder / name, "listen-client-urls": url, "advertise-client-urls": url,
                     "listen-peer-urls": peer, "initial-advertise-peer-urls": peer, "initial-cluster": cluster}
        flags = [f"--{flag}={value}" for flag, value in arguments.items()] + [f"--snapshot-count={SNAPSHOT_COUNT}"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "kvstore.command", *flags, cwd=ROOT, stdout=log, stderr=log, env=dict(os.environ)
            )

    async def end(self, name: str, number: int) -> int:
        process = self.running.pop(name)
        process.send_signal(number)
        return await process.wait()

    async def call(self, name: str, method: str, request: bytes) -> bytes:
        return await self.channels[name].unary(f"/etcdserverpb.{method}", request, timeout=8.0)

    async def leader(self) -> str:
        """Ask until a member says that it leads."""
        while True:
            for name in self.running:
                with suppress(RpcError):
                    status = rpc_pb2.StatusResponse.FromString(await self.call(name, "Maintenance/Status", b""))
                    if status.leader == status.header.member_id:
                        return name

    async def keys(self, name: str) -> dict[bytes, int]:
        """Keys and their versions, read on one member as soon as it answers."""
        request = rpc_pb2.RangeRequest(key=b"k", range_end=b"l", keys_only=True).SerializeToString()
        while True:
            with suppress(RpcError):
                answer = rpc_pb2.RangeResponse.FromString(await self.call(name, "KV/Range", request))
                return {pair.key: pair.version for pair in answer.kvs}


class Load:
    """Writers on all members; every key is written by one request only."""

    def __init__(self, processes: Processes, writers: int) -> None:
        self.processes, self.count = processes, 0
        self.acknowledged: set[bytes] = set()
        self.unknown: set[bytes] = set()
        self._enough = asyncio.Event()
        self._target = 0
        self._tasks = [asyncio.create_task(self._write(NAMES[i % 3])) for i in range(writers)]

    async def _write(self, name: str) -> None:
        while True:
            self.count += 1
            key = b"k%06d" % self.count
            request = rpc_pb2.PutRequest(key=key, value=b"x" * 256).SerializeToString()
            try:
                await self.processes.call(name, "KV/Put", request)
            except RpcError as error:
                if error.sent:
                    self.unknown.add(key)
                await asyncio.sleep(0.02)  # the member is down: no reason to ask it at full speed
                continue
            self.acknowledged.add(key)
            if len(self.acknowledged) >= self._target:
                self._enough.set()

    async def more(self, count: int) -> None:
        """Return when `count` more writes are acknowledged."""
        self._target = len(self.acknowledged) + count
        self._enough.clear()
        async with asyncio.timeout(60):
            await self._enough.wait()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.e2e
async def test_killed_leaders_lose_nothing_and_come_back_through_a_snapshot(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    for name in NAMES:
        await processes.start(name)
    try:
        load = Load(processes, 24)
        await load.more(200)
        for _ in range(2):
            leader = await processes.leader()
            await processes.end(leader, signal.SIGKILL)
            await load.more(1000)
            await processes.start(leader)
            await load.more(200)
        await load.stop()
        for name in NAMES:
            found = await processes.keys(name)
            assert load.acknowledged <= found.keys(), f"{name} lost acknowledged writes"
            assert found.keys() <= {b"k%06d" % number for number in range(1, load.count + 1)}
            assert set(found.values()) == {1}, f"{name} applied a write twice"
        assert [await processes.end(name, signal.SIGTERM) for name in NAMES] == [0, 0, 0]
        logs = [(tmp_path / f"{name}.log").read_text() for name in NAMES]
        assert any("installed the snapshot" in text for text in logs), logs
    finally:
        for channel in processes.channels.values():
            await channel.close()
        for name in list(processes.running):
            await processes.end(name, signal.SIGKILL)
