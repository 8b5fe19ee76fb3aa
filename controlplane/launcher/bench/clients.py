"""What the store is measured with beside equal requests in masses: one client, many keys, watchers, a lost leader."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from statistics import median, quantiles
from time import perf_counter  # uvloop's own clock counts milliseconds

from controlplane.launcher.bench.system import Member, System
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError

VALUE_BYTES = 256
LOAD_IN_FLIGHT = 128
LOAD_CONNECTIONS = 4
WATCH_CONNECTIONS = 20
WATCH_PUTS_IN_FLIGHT = 8
ATTEMPT_INTERVAL_SECONDS = 0.01
ATTEMPT_SECONDS = 10.0
MARKER = b"<event-of-the-benchmark>"


def put_request(key: bytes, value: bytes = b"v" * VALUE_BYTES) -> bytes:
    return rpc.PutRequest(key=key, value=value).SerializeToString()


async def put_latencies(system: System, member: Member, count: int) -> list[float]:
    """Return the seconds of each of `count` Puts of one client, one after another."""
    request = put_request(b"bench/latency")
    found = []
    for _ in range(count):
        started = perf_counter()
        await system.call(member, "KV/Put", request)
        found.append(perf_counter() - started)
    return found


async def load_keys(system: System, count: int) -> None:
    """Put `count` sequential keys once in the life of the system; it notes how long that took."""
    if system.loaded_keys >= count:
        return
    leader = await system.leader()
    numbers = iter(range(count))
    channels = [Channel(leader.endpoint) for _ in range(LOAD_CONNECTIONS)]

    async def work(channel: Channel) -> None:
        for number in numbers:
            await channel.unary("/etcdserverpb.KV/Put", put_request(b"load/%012d" % number))

    started = perf_counter()
    await asyncio.gather(*(work(channels[number % LOAD_CONNECTIONS]) for number in range(LOAD_IN_FLIGHT)))
    system.load_seconds, system.loaded_keys = perf_counter() - started, count
    for channel in channels:
        await channel.close()


class _Watcher:
    """Counts events by a mark in their value: no message is decoded, so that the client is not what is measured."""

    def __init__(self, awaited: int) -> None:
        self._awaited = awaited
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_message(self, message: bytes) -> None:
        self._awaited -= message.count(MARKER)
        if not self.ready.done():
            self.ready.set_result(None)
        if self._awaited <= 0 and not self.done.done():
            self.done.set_result(None)

    def on_end(self, error: RpcError | None) -> None:
        for future in (self.ready, self.done):
            if not future.done():
                future.set_exception(error or RuntimeError("the server ended the watch"))


async def watch_events(system: System, watchers: int, puts: int) -> float:
    """Return events a second that reach `watchers` streams of one key, from the first Put to the last event."""
    leader = await system.leader()
    channels = [Channel(leader.endpoint) for _ in range(WATCH_CONNECTIONS)]
    create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"bench/watched")).SerializeToString()
    clients = [_Watcher(puts) for _ in range(watchers)]
    for number, client in enumerate(clients):
        call = await channels[number % WATCH_CONNECTIONS].open("/etcdserverpb.Watch/Watch", None, client)
        call.send(create)
    await asyncio.gather(*(client.ready for client in clients))
    started = perf_counter()
    numbers = iter(range(puts))

    async def work() -> None:
        for _ in numbers:
            await system.call(leader, "KV/Put", put_request(b"bench/watched", MARKER))

    await asyncio.gather(*(work() for _ in range(WATCH_PUTS_IN_FLIGHT)), *(client.done for client in clients))
    seconds = perf_counter() - started
    for channel in channels:
        await channel.close()
    await asyncio.gather(*(client.done for client in clients), return_exceptions=True)
    return watchers * puts / seconds


async def without_leader(system: System) -> float:
    """kill -9 the leader; return the seconds until a Put sent afterwards succeeded. The member is started again."""
    loop = asyncio.get_running_loop()
    victim = await system.leader()
    client = next(member for member in system.survivors() if member is not victim)
    await system.call(client, "KV/Put", put_request(b"bench/alive"))
    answered: asyncio.Future[float] = loop.create_future()
    attempts: set[asyncio.Task[None]] = set()

    async def attempt() -> None:
        with contextlib.suppress(RpcError):
            await system.call(client, "KV/Put", put_request(b"bench/alive"), ATTEMPT_SECONDS)
            if not answered.done():
                answered.set_result(perf_counter())

    victim.end(signal.SIGKILL)
    killed = perf_counter()
    while not answered.done():
        attempts.add(asyncio.create_task(attempt()))
        await asyncio.wait([answered], timeout=ATTEMPT_INTERVAL_SECONDS)
    for task in attempts:
        task.cancel()
    await asyncio.gather(*attempts, return_exceptions=True)
    victim.start()
    await system.serves(victim)
    await system.leader()
    return answered.result() - killed


async def restart_seconds(system: System) -> float:
    """Stop a follower in good order, start it, and return the seconds until it serves."""
    leader = await system.leader()
    follower = next(member for member in system.members if member is not leader)
    await asyncio.to_thread(follower.end, signal.SIGTERM)
    started = perf_counter()
    follower.start()
    await system.serves(follower)
    return perf_counter() - started


@contextlib.asynccontextmanager
async def reading(endpoint: str, keys: int) -> AsyncIterator[None]:
    """A process reads a range of `keys` keys again and again while the block runs."""
    command = [sys.executable, "-m", "controlplane.launcher.bench.reader", endpoint, str(keys)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        yield
    finally:
        process.kill()
        await process.wait()


async def put_p99_beside_a_reader(system: System, keys: int, count: int) -> float:
    """Return the 99th percentile, in seconds, of Puts of one client while another reads a large range."""
    leader = await system.leader()
    async with reading(leader.endpoint, keys):
        return quantiles(await put_latencies(system, leader, count), n=100)[98]


async def put_median(system: System, count: int) -> float:
    return median(await put_latencies(system, await system.leader(), count))
