"""Watchers: each on one member's own stream, written down message by message, from now, from the past, from the future.

They write, too: several keys in one transaction, deletions, keys of their own that come and go.
"""

import asyncio

from chaos.observed import Scope
from chaos.watching import Event, Response, Stream
from chaos.workloads.session import PAUSE_AFTER_ERROR_SECONDS, Bench, Session
from kvstore.client import ops, prefix_end
from kvstore.pb import kv_pb2
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError

PREFIX = "chaos/watch/"
SCOPE = Scope("transactions", PREFIX)
KEYS = 10
LIFE_SECONDS = (0.5, 8.0)
WATCH = "/etcdserverpb.Watch/Watch"
WRITE_PAUSE_SECONDS = 0.01
START_BACK, START_AHEAD = 300, 60


async def client(bench: Bench) -> None:
    """Write and watch side by side, until `go_on` says no."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_write(bench))
        group.create_task(_watch(bench))


async def _write(bench: Bench) -> None:
    async with bench.session() as session:
        while bench.go_on():
            keys = bench.random.sample(range(KEYS), bench.random.randint(1, 3))
            await session.txn([], [_change(bench, session, f"{PREFIX}{number}".encode()) for number in keys])
            await asyncio.sleep(WRITE_PAUSE_SECONDS)


def _change(bench: Bench, session: Session, key: bytes) -> rpc.RequestOp:
    return ops.delete(key) if bench.random.random() < 0.2 else ops.put(key, session.unique().encode())


async def _watch(bench: Bench) -> None:
    count, revision = 0, 0
    while bench.go_on():
        count += 1
        member = bench.random.choice(list(bench.by_member))
        stream = _stream(bench, f"{bench.number}.{count}", member, revision)
        try:
            async with asyncio.timeout(bench.random.uniform(*LIFE_SECONDS)):
                await _follow(stream, bench.by_member[member], bench.random.random() < 0.5)
        except (RpcError, OSError):
            await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)
        except TimeoutError:
            pass  # it has seen enough
        revision = max([revision, *(response.revision for response in stream.responses)])
        bench.history.streams.append(stream)


def _stream(bench: Bench, name: str, member: str, revision: int) -> Stream:
    draw = bench.random.random()
    start = 0
    if revision and draw < 0.7:
        start = max(1, revision + bench.random.randint(-START_BACK, START_AHEAD if draw < 0.2 else 0))
    one_key = bench.random.random() < 0.3
    return Stream(
        name, member,
        f"{PREFIX}{bench.random.randrange(KEYS)}" if one_key else PREFIX,
        "" if one_key else prefix_end(PREFIX.encode()).decode(),
        start, with_previous=bench.random.random() < 0.4,
        no_put=bench.random.random() < 0.1, no_delete=bench.random.random() < 0.1,
    )  # fmt: skip


async def _follow(stream: Stream, endpoint: str, asks_progress: bool) -> None:
    create = rpc.WatchCreateRequest(
        key=stream.first_key.encode(), range_end=stream.end_key.encode(), start_revision=stream.start_revision,
        prev_kv=stream.with_previous, progress_notify=True,
        filters=[*([rpc.WatchCreateRequest.NOPUT] if stream.no_put else []),
                 *([rpc.WatchCreateRequest.NODELETE] if stream.no_delete else [])],
    )  # fmt: skip
    channel = Channel(endpoint)
    try:
        call = channel.stream(WATCH)
        call.send(rpc.WatchRequest(create_request=create).SerializeToString())
        number = 0
        async for message in call:
            response = rpc.WatchResponse.FromString(message)
            stream.responses.append(_response(response))
            if response.canceled:
                return
            number += 1
            if asks_progress and number % 5 == 0:
                call.send(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()).SerializeToString())
    finally:
        await channel.close()


def _response(response: rpc.WatchResponse) -> Response:
    return Response(
        response.header.revision, tuple(as_event(event) for event in response.events), response.created,
        response.compact_revision, response.fragment,
    )  # fmt: skip


def as_event(event: kv_pb2.Event) -> Event:
    """The form of the checkers."""
    previous = event.prev_kv.mod_revision if event.HasField("prev_kv") else None
    kv = event.kv
    if event.type == kv_pb2.Event.DELETE:
        return Event(kv.mod_revision, kv.key.decode(), True, previous=previous)
    return Event(kv.mod_revision, kv.key.decode(), False, kv.value.decode(), kv.create_revision, kv.version, previous)
