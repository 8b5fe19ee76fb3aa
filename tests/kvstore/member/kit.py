"""What member tests share: a dictionary as state machine, and a cluster of whole members over loopback."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random

from kvstore.member.config import MemberConfig
from kvstore.member.driver import Driver, start_member
from kvstore.member.ports import Failed, Ok, Result
from kvstore.storage.data_dir import DataDirectory


class DictState:
    """`key=value` commands on a dictionary; a commit writes all of it to a file (when there is one)."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.data: dict[str, str] = {}
        self.applied_index = 0
        self.commands: list[bytes] = []
        self.turns = 0
        if path is not None and path.exists():
            self.applied_index, self.data = json.loads(path.read_text())

    def apply(self, index: int, term: int, data: bytes) -> object:
        assert index > self.applied_index
        self.applied_index = index
        self.commands.append(data)
        key, _, value = data.decode().partition("=")
        former = self.data.get(key)
        self.data[key] = value
        return former

    def skip(self, index: int, term: int) -> None:
        self.applied_index = index

    def is_quick(self, data: bytes) -> bool:
        return True

    def end_of_turn(self) -> None:
        self.turns += 1

    def commit(self) -> int:
        if self.path is not None:
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps([self.applied_index, self.data]))
            new.rename(self.path)
        return self.applied_index

    def snapshot(self) -> Iterator[bytes]:
        packed = json.dumps([self.applied_index, self.data]).encode()
        return iter([packed[i : i + 1000] for i in range(0, len(packed), 1000)])

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.applied_index, self.data = json.loads(b"".join(chunks))
        self.commit()


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


class LoopbackCluster:
    """Whole members in this process: real log, real peers' protocol, a dictionary as state."""

    def __init__(self, folder: Path, size: int = 3, **options: object) -> None:
        self.folder = folder
        names = [f"m{i}" for i in range(1, size + 1)]
        self.urls = dict(zip(names, (f"http://127.0.0.1:{port}" for port in free_ports(size))))
        self.options = {"heartbeat_interval_milliseconds": 50, "election_timeout_milliseconds": 1000, **options}
        self.drivers: dict[str, Driver] = {}
        self.states: dict[str, DictState] = {}
        self.directories: dict[str, DataDirectory] = {}

    def config(self, name: str) -> MemberConfig:
        return MemberConfig(
            name=name,
            data_dir=self.folder / name,
            listen_peer_urls=(self.urls[name],),
            initial_advertise_peer_urls=(self.urls[name],),
            advertise_client_urls=(f"http://{name}:2379",),
            initial_cluster=tuple(self.urls.items()),
            **self.options,  # type: ignore[arg-type]
        )

    async def start(self, *names: str) -> None:
        for name in names or tuple(self.urls):
            directory = DataDirectory(self.folder / name)
            state = DictState(self.folder / f"{name}.json")
            self.directories[name], self.states[name] = directory, state
            self.drivers[name] = await start_member(self.config(name), directory, state, Random(name))

    async def stop(self, *names: str) -> None:
        for name in names or tuple(self.drivers):
            await self.drivers.pop(name).stop()
            self.directories.pop(name).close()

    async def leader(self) -> str:
        """The name of the leader that all running members agree on."""
        def agreed() -> bool:
            leaders = {driver.member.leader for driver in self.drivers.values()}
            terms = {driver.member.term for driver in self.drivers.values()}
            return len(leaders) == 1 and leaders != {0} and len(terms) == 1

        await self.until(agreed)
        found = next(iter(self.drivers.values())).member.leader
        return next(name for name, driver in self.drivers.items() if driver.member.member_id == found)

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Return once `condition` holds; it is looked at after each turn of any member."""
        changed = asyncio.Event()
        for driver in self.drivers.values():
            driver.on_turn = changed.set
        async with asyncio.timeout(seconds):
            while not condition():
                changed.clear()
                await changed.wait()

    async def put(self, name: str, key: str, value: str) -> Result:
        """Propose on one member and wait for its answer."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.drivers[name].member.propose(f"{key}={value}".encode(), answer.set_result)
        return await answer

    async def barrier(self, name: str) -> Result:
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.drivers[name].member.read(answer.set_result)
        return await answer


__all__ = ["DictState", "Failed", "LoopbackCluster", "Ok", "free_ports"]
