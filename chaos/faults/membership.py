"""A fresh member joins while clients go on, and is removed again: configurations change, a snapshot travels."""

import asyncio
import shutil
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from random import Random
from typing import ClassVar

from google.protobuf.message import Message

from chaos.faults.base import Fault
from chaos.target import Target
from kvstore.pb.rpc_pb2 import Member, MemberAddRequest, MemberListRequest, MemberListResponse, MemberRemoveRequest
from kvstore.rpc import Channel, RpcError

ATTEMPTS = 60
PAUSE_SECONDS = 0.25
CALL_TIMEOUT_SECONDS = 8.0
END_SECONDS = 15.0  # for the member that was removed to notice it and stop
_CLUSTER = "/etcdserverpb.Cluster/"


class JoinAndLeave(Fault):
    """Adds a member that nobody has heard of, as a voter; heal removes it and waits for its process to end."""

    name: ClassVar[str] = "membership"

    def __init__(self) -> None:
        super().__init__()
        self._processes: dict[str, Process] = {}
        self._urls: dict[str, str] = {}

    async def choose(self, target: Target, random: Random) -> list[str]:
        return [f"extra-{self.injected}"]

    async def hurt(self, target: Target, victim: str) -> None:
        peer, client = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
        self._urls[victim] = peer
        await _until_done(target, "MemberAdd", MemberAddRequest(peerURLs=[peer]), "etcdserver: Peer URLs already exists")
        known = [f"{member.name}={url}" for member in await _members(target) for url in member.peerURLs if member.name]
        self._processes[victim] = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kvstore.command", "--name", victim, "--data-dir", str(_folder(target, victim)),
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--initial-cluster", ",".join([*known, f"{victim}={peer}"]), "--initial-cluster-state", "existing",
            stdout=DEVNULL, stderr=DEVNULL,
        )  # fmt: skip

    async def mend(self, target: Target, victim: str) -> None:
        url, process = self._urls.pop(victim), self._processes.pop(victim)
        for member in await _members(target):
            if url in member.peerURLs:
                request = MemberRemoveRequest(ID=member.ID)
                await _until_done(target, "MemberRemove", request, "etcdserver: member not found")
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        await asyncio.to_thread(shutil.rmtree, _folder(target, victim), True)


def _folder(target: Target, victim: str) -> Path:
    return target.data_dir / victim


def _free_ports(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in opened]
    for one in opened:
        one.close()
    return ports


async def _members(target: Target) -> list[Member]:
    answer = await _until_done(target, "MemberList", MemberListRequest(linearizable=True))
    return list(MemberListResponse.FromString(answer).members)


async def _until_done(target: Target, method: str, request: Message, done_already: str = "") -> bytes:
    """Ask one endpoint after the other until one does it; an attempt whose end is unknown may have done it."""
    for attempt in range(ATTEMPTS):
        channel = Channel(target.endpoints[attempt % len(target.endpoints)])
        try:
            return await channel.unary(_CLUSTER + method, request.SerializeToString(), timeout=CALL_TIMEOUT_SECONDS)
        except RpcError as error:
            if done_already and error.text == done_already:
                return b""
            last = error
        finally:
            await channel.close()
        await asyncio.sleep(PAUSE_SECONDS)
    raise last
