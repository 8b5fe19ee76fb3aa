"""The cluster under test: member processes that this run started, and what can be done to them.

What a run needs beside plain processes is built only when a fault asks for it: see `Feature`.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random

from chaos.machine.disks import Disk
from chaos.machine.shim import Control, preload
from chaos.net.conditions import CLIENTS, Rules
from chaos.net.proxy import Proxy, Who, dialler
from chaos.net.tun import Switch
from kvstore.client import Client, EtcdError

__all__ = ["ETCD", "PILOTHOUSE", "Feature", "Node", "Program", "Target", "free_ports"]

STATUS_TIMEOUT_SECONDS = 1.0
END_SECONDS = 15.0
POLL_SECONDS = 0.05


class Feature(StrEnum):
    """What a fault may need of the cluster."""

    LINKS = "links"  # a proxy before every member's peer port
    CLIENT_LINKS = "client-links"  # a proxy before every member's client port
    SHIM = "shim"  # a library before libc
    DISKS = "disks"  # a file system of its own for every member
    SWITCH = "switch"  # a network namespace for every member
    CGROUPS = "cgroups"


@dataclass(frozen=True, slots=True)
class Program:
    """A store: its command line, and what it takes beside etcd's own flags."""

    name: str
    command: tuple[str, ...]
    is_preloadable: bool  # calls libc, so that a library can stand before it
    folders: dict[str, str]  # where its log and its state are, in its data directory


PILOTHOUSE = Program("pilothouse", (sys.executable, "-m", "kvstore.command"), True, {"log": "log", "state": "state"})
ETCD = Program("etcd", (shutil.which("etcd") or "etcd",), False, {"log": "member/wal", "state": "member/snap"})


@dataclass(slots=True)
class Node:
    """One member: where it is, what holds it down, and its process."""

    name: str
    folder: Path
    client: tuple[str, int]
    peer: tuple[str, int]
    peer_url: str = ""  # as the others dial it
    endpoint: str = ""  # as clients dial it
    flags: dict[str, str] = field(default_factory=dict)
    namespace: str = ""
    disk: Disk | None = None
    control: Control | None = None
    process: Process | None = None
    state: str = "new"  # --initial-cluster-state
    held_down: set[str] = field(default_factory=set)  # the faults that keep it from running
    paused: set[str] = field(default_factory=set)
    starts: int = 0

    @property
    def data(self) -> Path:
        return (self.disk.path if self.disk else self.folder) / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def words(self) -> str:
        """All that it has said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Target:
    """Members by name. `up` before anything else, `down` at the end whatever happened."""

    def __init__(
        self, folder: Path, program: Program, members: int, features: frozenset[Feature], random: Random, **flags: str
    ) -> None:
        self.folder, self.program, self.features, self.random = folder, program, features, random
        self.rules = Rules()
        self.nodes: dict[str, Node] = {}
        self.proxies: dict[str, Proxy] = {}
        self.client_proxies: dict[str, Proxy] = {}
        self.damage = asyncio.Lock()  # who holds it may destroy what one member keeps
        self.switch: Switch | None = None
        self.unexpected_ends: list[str] = []
        self.busy_faults: set[str] = set()
        self.may_compact: Callable[[], int] = lambda: 0  # up to which revision the history has been written down
        self._flags = flags
        self._count = members
        self._cleanups: list[Callable[[], object]] = []

    @property
    def members(self) -> list[str]:
        return list(self.nodes)

    @property
    def endpoints(self) -> list[str]:
        """What clients use; behind the proxies, where there are."""
        return [node.endpoint for node in self.nodes.values()]

    @property
    def direct(self) -> list[str]:
        """The members' own addresses: for those who watch over the run."""
        return [f"{host}:{port}" for host, port in (node.client for node in self.nodes.values())]

    async def up(self) -> None:
        """Start all members; return when one leads."""
        if Feature.SWITCH in self.features:
            self.switch = Switch(self.rules, Random(self.random.random()), self._count)
            self._cleanups.append(self.switch.close)
            self.switch.open()
        for number in range(1, self._count + 1):
            node = await self._prepare(number)
            self.nodes[node.name] = node
        for name in self.nodes:
            await self.start(name)
        async with asyncio.timeout(60):
            while await self.leader() is None:  # noqa: ASYNC110 (a process that starts has no event to tell)
                await asyncio.sleep(POLL_SECONDS)

    async def down(self) -> None:
        """End everything that `up` and `start` began."""
        for node in self.nodes.values():
            await self.end(node)
        for proxy in (*self.proxies.values(), *self.client_proxies.values()):
            await proxy.close()
        for cleanup in reversed(self._cleanups):
            cleanup()

    async def _prepare(self, number: int) -> Node:
        name = f"m{number}"
        folder = self.folder / name
        folder.mkdir(parents=True)
        client, peer = (("127.0.0.1", port) for port in free_ports(2))
        node = Node(name, folder, client, peer, flags=dict(self._flags))
        if self.switch is not None:
            address, node.namespace = self.switch.ends[number - 1]
            node.client, node.peer = (address, 2379), (address, 2380)
        node.endpoint = "{}:{}".format(*node.client)
        node.peer_url = "http://{}:{}".format(*node.peer)
        if Feature.LINKS in self.features and self.switch is None:
            proxy = self._proxy(name, node.peer, lambda here, there: dialler(here, there, self.pids()))
            self.proxies[name] = proxy
            node.peer_url = f"http://127.0.0.1:{await proxy.listen()}"
        if Feature.CLIENT_LINKS in self.features:
            proxy = self._proxy(name, node.client, lambda here, there: CLIENTS)
            self.client_proxies[name] = proxy
            node.endpoint = f"127.0.0.1:{await proxy.listen()}"
        if Feature.DISKS in self.features:
            node.disk = Disk(folder)
            self._cleanups.append(node.disk.close)
            node.disk.open()
        if Feature.SHIM in self.features and self.program.is_preloadable:
            node.control = Control(folder / "control")
        return node

    def _proxy(self, name: str, upstream: tuple[str, int], who: Who) -> Proxy:
        return Proxy(name, upstream, self.rules, who, Random(self.random.random()))

    def pids(self) -> dict[str, int]:
        """Of those that run."""
        return {name: node.process.pid for name, node in self.nodes.items() if node.process and node.is_running}

    async def start(self, name: str, **flags: str) -> None:
        """Start it with these flags beside its own, unless it runs or a fault holds it down."""
        node = self.nodes[name]
        node.flags.update({flag.replace("_", "-"): text for flag, text in flags.items()})
        if node.is_running or node.held_down:
            return
        await self.launch(node, [f"{other.name}={other.peer_url}" for other in self.nodes.values()])

    async def launch(self, node: Node, cluster: Sequence[str]) -> None:
        """Start the process of a member, known to this target or not."""
        given = {
            "name": node.name, "data-dir": str(node.data), "listen-client-urls": "http://{}:{}".format(*node.client),
            "advertise-client-urls": "http://{}:{}".format(*node.client), "listen-peer-urls": "http://{}:{}".format(*node.peer),
            "initial-advertise-peer-urls": node.peer_url, "initial-cluster": ",".join(cluster),
            "initial-cluster-state": node.state, **node.flags,
        }  # fmt: skip
        inside = ("ip", "netns", "exec", node.namespace) if node.namespace else ()
        environment = {**os.environ, **(preload(self.folder, node.control) if node.control else {})}
        with node.log.open("ab") as log:
            node.process = await asyncio.create_subprocess_exec(
                *inside, *self.program.command, *(f"--{flag}={text}" for flag, text in given.items()),
                stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        node.starts += 1

    async def end(self, node: Node, number: signal.Signals = signal.SIGKILL) -> int | None:
        """Send it the signal and wait for its end; SIGKILL after END_SECONDS. Return its exit code, None: it did not run."""
        if node.process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            node.process.send_signal(number)
        try:
            return await asyncio.wait_for(node.process.wait(), END_SECONDS)
        except TimeoutError:
            node.process.kill()
            return await node.process.wait()

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Send it, if it runs."""
        node = self.nodes[name]
        if node.process is not None and node.is_running:
            node.process.send_signal(number)

    async def hold_down(self, name: str, why: str, number: signal.Signals = signal.SIGKILL) -> int | None:
        """End it and keep it down until every `release`; return its exit code."""
        self.nodes[name].held_down.add(why)
        return await self.end(self.nodes[name], number)

    async def release(self, name: str, why: str) -> None:
        """Start it again, unless another fault still holds it down."""
        self.nodes[name].held_down.discard(why)
        await self.start(name)

    async def status(self, name: str) -> tuple[bool, int, int] | None:
        """Whether it says that it leads, its term and its revision; None: no answer."""
        async with Client(["{}:{}".format(*self.nodes[name].client)]) as client:
            try:
                answer = await asyncio.wait_for(client.status(), STATUS_TIMEOUT_SECONDS)
            except (EtcdError, TimeoutError):
                return None
        return answer.leader == answer.header.member_id, answer.raftTerm, answer.header.revision

    async def until_up(self, name: str) -> None:
        """Return when it answers."""
        while await self.status(name) is None:  # noqa: ASYNC110 (nor has one that comes back)
            await asyncio.sleep(POLL_SECONDS)

    async def leader(self) -> str | None:
        """Return the member that says it leads in the highest term, None when none answers so."""
        answers = await asyncio.gather(*(self.status(name) for name in self.nodes))
        leading = [(answer[1], name) for name, answer in zip(self.nodes, answers) if answer and answer[0]]
        return max(leading)[1] if leading else None

    async def tend(self) -> None:
        """Start again, as a supervisor would, who ended though no fault holds him down; note that he did."""
        for node in self.nodes.values():
            if node.process is not None and not node.is_running and not node.held_down:
                last = node.words().strip().splitlines()[-1:] or ["no words"]
                self.unexpected_ends.append(f"{node.name} ended with {node.process.returncode}: {last[0][:300]}")
                await self.start(node.name)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in opened]
    for one in opened:
        one.close()
    return ports
