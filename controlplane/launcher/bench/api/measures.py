"""The measures by name, in the order of the table: what each must reach, what it aims at, and what the peer had."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from controlplane.launcher.bench.api import load, objects
from controlplane.launcher.bench.api.system import NAMESPACE, ApiSystem
from controlplane.launcher.bench.api.watchers import MARKER
from controlplane.launcher.state import LauncherError
from controlplane.objects.kinds import CONFIG_MAPS, NAMESPACES

CONNECTIONS = 32
READ_OBJECTS = 1000
LISTS_SECONDS = 3
SETTLE_SECONDS = 1.0
OPENING_SECONDS = 180.0
TELLING_SECONDS = 60.0
STREAMS_PER_CONNECTION = 100
MILLISECONDS, MICROSECONDS, KILOBYTE, MEGABYTE = 1e3, 1e6, 1e3, 1e6


@dataclass(frozen=True, slots=True)
class Options:
    """How much of each: seconds of a run, objects of the list, objects of the memory, watches."""

    seconds: float
    listed: int
    kept: int
    watches: int
    folder: Path


@dataclass(slots=True)
class Run:
    """One system, and what was measured in passing: a run of wrk gives a rate and latencies."""

    system: ApiSystem
    options: Options
    outcomes: dict[str, load.Outcome] = field(default_factory=dict)
    cpu: dict[str, tuple[float, float]] = field(default_factory=dict)  # microseconds a request: API server, store
    watching: dict[int, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table. `better` is `higher` or `lower`; `peer` None: not known; `fresh`: on a system of its own."""

    name: str
    text: str
    unit: str
    better: str
    peer: float | None
    must: float | None
    aim: float | None
    run: Callable[[Run], Awaitable[float]]
    fresh: bool = False


def _path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


async def _namespace(run: Run, name: str) -> None:
    await run.system.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def _load(run: Run, name: str, script: str, connections: int) -> None:
    """Run wrk, and count the processor time of both processes meanwhile."""
    system, options = run.system, run.options
    processes = (system.server, system.store)
    before = [process.cpu_seconds() for process in processes]
    outcome = await load.run(system.endpoint.server, script, connections, options.seconds, options.folder)
    used = [process.cpu_seconds() - start for process, start in zip(processes, before)]
    run.cpu[name] = used[0] / outcome.requests * MICROSECONDS, used[1] / outcome.requests * MICROSECONDS
    run.outcomes[name] = outcome


async def _creates(run: Run, connections: int) -> load.Outcome:
    name = f"creates-{connections}"
    if name not in run.outcomes:
        endpoint = run.system.endpoint
        script = load.creating(_path(NAMESPACE), objects.lua_body(), endpoint.token, name)
        await _load(run, name, script, connections)
    return run.outcomes[name]


async def _gets(run: Run, connections: int) -> load.Outcome:
    name = f"gets-{connections}"
    if name not in run.outcomes:
        if not any(one.startswith("gets") for one in run.outcomes):
            await _namespace(run, "read")
            await objects.create_many(run.system.client, "read", READ_OBJECTS)
        endpoint = run.system.endpoint
        paths = [_path("read", f"object-{number:06d}") for number in range(READ_OBJECTS)]
        script = load.getting(paths, endpoint.token)
        await _load(run, name, script, connections)
    return run.outcomes[name]


async def creates(run: Run) -> float:
    return (await _creates(run, CONNECTIONS)).per_second


async def creates_one(run: Run) -> float:
    return (await _creates(run, 1)).per_second


async def creates_p99(run: Run) -> float:
    return (await _creates(run, CONNECTIONS)).p99 * MILLISECONDS


async def gets(run: Run) -> float:
    return (await _gets(run, CONNECTIONS)).per_second


async def gets_one(run: Run) -> float:
    return (await _gets(run, 1)).per_second


async def gets_p99(run: Run) -> float:
    return (await _gets(run, CONNECTIONS)).p99 * MILLISECONDS


async def _cpu(run: Run, name: str, process: int) -> float:
    await (_gets if name.startswith("gets") else _creates)(run, CONNECTIONS)
    return run.cpu[name][process]


async def creates_cpu(run: Run) -> float:
    return await _cpu(run, f"creates-{CONNECTIONS}", 0)


async def creates_store_cpu(run: Run) -> float:
    return await _cpu(run, f"creates-{CONNECTIONS}", 1)


async def gets_cpu(run: Run) -> float:
    return await _cpu(run, f"gets-{CONNECTIONS}", 0)


async def gets_store_cpu(run: Run) -> float:
    return await _cpu(run, f"gets-{CONNECTIONS}", 1)


async def ready(run: Run) -> float:
    return run.system.ready_seconds


async def listing(run: Run) -> float:
    await _namespace(run, "listed")
    await objects.create_many(run.system.client, "listed", run.options.listed)
    endpoint = run.system.endpoint
    script = load.getting([_path("listed")], endpoint.token)
    return (await load.run(endpoint.server, script, 1, LISTS_SECONDS, run.options.folder)).p50


async def memory(run: Run) -> float:
    await _namespace(run, "kept")
    client = run.system.client
    answer = await client.list(CONFIG_MAPS, "kept")  # what is listed or watched once is kept in memory
    assert not answer["items"]
    await objects.create_many(client, "kept", run.options.kept)
    await client.list(CONFIG_MAPS, "kept", limit=1, resource_version="0")
    await asyncio.sleep(SETTLE_SECONDS)
    return sum(run.system.server.memory().values()) / MEGABYTE


@asynccontextmanager
async def _holding(run: Run, path: str, streams: int) -> AsyncIterator[asyncio.StreamReader]:
    """The process of the watches, once they are open."""
    endpoint = asdict(run.system.endpoint) | {"path": path, "authority": str(run.system.endpoint.authority)}
    command = [sys.executable, "-m", "controlplane.launcher.bench.api.watchers", json.dumps(endpoint)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, str(run.options.watches), str(streams), stdout=pipe)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            if await process.stdout.readline() != b"open\n":
                raise LauncherError("the watches could not be opened")
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def _watches(run: Run, streams: int) -> tuple[float, float]:
    """(Seconds until the last watch was told, resident bytes for each), for so many streams on a connection."""
    if streams not in run.watching:
        client, name = run.system.client, f"watched-{streams}"
        await _namespace(run, name)
        created = await client.create(CONFIG_MAPS, objects.config_map("one", name))
        listed = await client.list(CONFIG_MAPS, name)
        version = listed["metadata"]["resourceVersion"]
        before = sum(run.system.server.memory().values())
        path = f"{_path(name)}?watch=true&resourceVersion={version}"
        async with _holding(run, path, streams) as told:
            await asyncio.sleep(SETTLE_SECONDS)
            each = (sum(run.system.server.memory().values()) - before) / run.options.watches
            created["data"]["payload"] = MARKER.decode()
            started = time.monotonic()
            await client.update(CONFIG_MAPS, created)
            async with asyncio.timeout(TELLING_SECONDS):
                seconds = float(await told.readline()) - started
        run.watching[streams] = seconds, each
    return run.watching[streams]


async def watch_seconds(run: Run) -> float:
    return (await _watches(run, 0))[0]


async def watch_memory(run: Run) -> float:
    return (await _watches(run, 0))[1] / KILOBYTE


async def stream_seconds(run: Run) -> float:
    return (await _watches(run, STREAMS_PER_CONNECTION))[0]


async def stream_memory(run: Run) -> float:
    return (await _watches(run, STREAMS_PER_CONNECTION))[1] / KILOBYTE


MEASURES = [
    Measure("ready", "from start to ready", "s", "lower", 3.5, 3.5, 2.0, ready),
    Measure("creates", "creates of 2 KB, 32 connections", "1/s", "higher", 666, 1000, 2000, creates),
    Measure("creates-1", "creates of 2 KB, 1 connection", "1/s", "higher", 250, 300, 600, creates_one),
    Measure("creates-p99", "p99 of creates, 32 connections", "ms", "lower", 124, 70, 30, creates_p99),
    Measure("creates-cpu", "processor time of such a create: API server", "us", "lower", None, None, None, creates_cpu),
    Measure("creates-store-cpu", "processor time of such a create: store", "us", "lower", None, None, None, creates_store_cpu),
    Measure("gets", "gets of 2 KB, 32 connections", "1/s", "higher", 1595, 5000, 12_000, gets),
    Measure("gets-1", "gets of 2 KB, 1 connection", "1/s", "higher", 890, 1500, 3000, gets_one),
    Measure("gets-p99", "p99 of gets, 32 connections", "ms", "lower", 70, 70, 30, gets_p99),
    Measure("gets-cpu", "processor time of such a get: API server", "us", "lower", None, None, None, gets_cpu),
    Measure("gets-store-cpu", "processor time of such a get: store", "us", "lower", None, None, None, gets_store_cpu),
    Measure("list", "list of 10,000 objects (19 MB)", "s", "lower", 0.38, 0.1, 0.03, listing),
    Measure("memory", "resident with 50,000 objects of 2 KB", "MB", "lower", 491, 350, 200, memory, fresh=True),
    Measure("watch", "one event to 10,000 watches (HTTP/1.1), last", "s", "lower", None, 1.0, 0.5, watch_seconds, fresh=True),
    Measure("watch-memory", "memory of such a watch", "KB", "lower", None, 60, 10, watch_memory),
    Measure("stream", "one event to 10,000 watches (HTTP/2), last", "s", "lower", None, 1.0, 0.5, stream_seconds, fresh=True),
    Measure("stream-memory", "memory of such a watch", "KB", "lower", None, 60, 10, stream_memory),
]  # fmt: skip
