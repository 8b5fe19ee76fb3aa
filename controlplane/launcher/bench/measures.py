"""The measures by name, in the order of the table; adding one is one function and one line."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from controlplane.launcher.bench import clients
from controlplane.launcher.bench.hammer import hammer
from controlplane.launcher.bench.system import System
from kvstore.pb import rpc_pb2 as rpc

IN_FLIGHT = 128
TXN_IN_FLIGHT = 32
TXN_PUTS = 64
MEGABYTE = 1e6
MILLISECONDS = 1e3
MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Options:
    """How much of each: `requests` of a round, keys to load, watchers, and a folder for files."""

    requests: int
    keys: int
    watchers: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table. `better` is `higher` or `lower`; `once`: not repeated, since it changes the system.

    `must` and `aim`: the ratio to the peer that it must reach, and that it should.
    """

    name: str
    text: str
    unit: str
    better: str
    run: Callable[[System, Options], Awaitable[float]]
    must: float | None = None
    aim: float | None = None
    once: bool = False


async def _hammer(
    system: System, options: Options, method: str, request: bytes, requests: int, in_flight: int
) -> float:
    leader = await system.leader()
    return await hammer(leader.endpoint, method, request, requests, in_flight, options.folder)


async def put(system: System, options: Options) -> float:
    return await _hammer(system, options, "KV/Put", clients.put_request(b"bench/put"), options.requests, IN_FLIGHT)


async def put_cpu(system: System, options: Options) -> float:
    before = sum(member.cpu_seconds() for member in system.members)
    await put(system, options)
    return (sum(member.cpu_seconds() for member in system.members) - before) / options.requests * MICROSECONDS


async def _range(system: System, options: Options, *, serializable: bool) -> float:
    await system.call(await system.leader(), "KV/Put", clients.put_request(b"bench/range"))
    request = rpc.RangeRequest(key=b"bench/range", serializable=serializable).SerializeToString()
    return await _hammer(system, options, "KV/Range", request, options.requests, IN_FLIGHT)


async def linearizable_range(system: System, options: Options) -> float:
    return await _range(system, options, serializable=False)


async def serializable_range(system: System, options: Options) -> float:
    return await _range(system, options, serializable=True)


async def put_latency(system: System, options: Options) -> float:
    return await clients.put_median(system, options.requests // 20) * MILLISECONDS


async def txn(system: System, options: Options) -> float:
    puts = [
        rpc.PutRequest(key=b"bench/txn/%02d" % number, value=b"v" * clients.VALUE_BYTES) for number in range(TXN_PUTS)
    ]
    request = rpc.TxnRequest(success=[rpc.RequestOp(request_put=one) for one in puts]).SerializeToString()
    return TXN_PUTS * await _hammer(system, options, "KV/Txn", request, options.requests // 20, TXN_IN_FLIGHT)


async def watch(system: System, options: Options) -> float:
    return await clients.watch_events(system, options.watchers, max(options.requests // 200, 1))


async def unavailability(system: System, options: Options) -> float:
    return await clients.without_leader(system) * MILLISECONDS


async def load(system: System, options: Options) -> float:
    await clients.load_keys(system, options.keys)
    return system.loaded_keys / system.load_seconds


async def restart(system: System, options: Options) -> float:
    await clients.load_keys(system, options.keys)
    return await clients.restart_seconds(system)


async def _memory(system: System, options: Options, kind: str) -> float:
    await clients.load_keys(system, options.keys)
    return mean(member.memory()[kind] for member in system.members) / MEGABYTE


async def anonymous_memory(system: System, options: Options) -> float:
    return await _memory(system, options, "RssAnon")


async def mapped_memory(system: System, options: Options) -> float:
    return await _memory(system, options, "RssFile")


async def put_beside_range(system: System, options: Options) -> float:
    await clients.load_keys(system, options.keys)
    keys = min(options.keys, 100_000)
    return await clients.put_p99_beside_a_reader(system, keys, max(options.requests // 40, 100)) * MILLISECONDS


MEASURES = [
    Measure("put", "Put, 128 in flight, 256 B", "1/s", "higher", put, 1.5, 3),
    Measure("put-cpu", "processor time of all members for one such Put", "us", "lower", put_cpu),
    Measure("range", "linearizable Range of one key, 128 in flight", "1/s", "higher", linearizable_range, 1.2, 3),
    Measure(
        "range-serializable",
        "serializable Range of one key, 128 in flight",
        "1/s",
        "higher",
        serializable_range,
        1.2,
        3,
    ),
    Measure("put-latency", "Put, one client, median", "ms", "lower", put_latency, 1.0, 0.7),
    Measure("txn", "transactions of 64 puts, keys", "1/s", "higher", txn, 1.0, 2),
    Measure("watch", "events to the watchers of one key", "1/s", "higher", watch, 1.5, 4),
    Measure("unavailable", "no Put after kill -9 of the leader", "ms", "lower", unavailability, 1.0, 0.6),
    Measure("load", "loading sequential keys of 256 B", "1/s", "higher", load, 1.0, 3, once=True),
    Measure("memory", "RssAnon of a member with them", "MB", "lower", anonymous_memory, 0.5, 0.2, once=True),
    Measure("memory-mapped", "RssFile of a member with them", "MB", "lower", mapped_memory, once=True),
    Measure("restart", "restart of a member with them until it serves", "s", "lower", restart, 0.3, 0.1),
    Measure("put-beside-range", "Put p99 while 100k keys are read", "ms", "lower", put_beside_range, 1.0, 0.3),
]
