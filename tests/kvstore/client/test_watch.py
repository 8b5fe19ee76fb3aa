"""Watches against a real etcd: every event once, in order, whatever happens to the connection."""

import asyncio

import pytest

from kvstore.client import Client, Compacted, Watch, prefix_end
from kvstore.client.errors import Cancelled
from kvstore.pb import kv_pb2, rpc_pb2
from tests.kvstore.client.conftest import EtcdProcess


async def take(watch: Watch, count: int) -> list[kv_pb2.Event]:
    """The next `count` events."""
    events: list[kv_pb2.Event] = []
    while len(events) < count:
        events += (await anext(watch)).events
    return events


class Cable:
    """A TCP forwarder that can be cut."""

    def __init__(self, target: str) -> None:
        self.host, port = target.split(":")
        self.port = int(port)
        self.writers: list[asyncio.StreamWriter] = []
        self.connections = 0
        self.connected = asyncio.Event()

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up_reader, up_writer = await asyncio.open_connection(self.host, self.port)
        self.writers += [writer, up_writer]
        self.connected.set()
        await asyncio.gather(self._pipe(reader, up_writer), self._pipe(up_reader, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def cut(self) -> None:
        self.connected.clear()
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def stop(self) -> None:
        self.cut()
        self.server.close()
        await asyncio.sleep(0)


async def test_a_watch_sees_what_happens_after_its_start(client: Client, prefix: bytes) -> None:
    watch = client.watch(prefix, prefix_end(prefix), prev_kv=True)
    revision = await watch.started()
    await client.put(prefix + b"a", b"1")
    await client.put(prefix + b"a", b"2")
    await client.delete(prefix + b"a")
    events = await take(watch, 3)
    assert [(event.type, event.kv.value, event.prev_kv.value) for event in events] == [
        (kv_pb2.Event.PUT, b"1", b""),
        (kv_pb2.Event.PUT, b"2", b"1"),
        (kv_pb2.Event.DELETE, b"", b"2"),
    ]
    assert all(event.kv.mod_revision > revision for event in events)
    watch.cancel()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_a_watch_starts_in_the_past(client: Client, prefix: bytes) -> None:
    first = await client.put(prefix, b"1")
    await client.put(prefix, b"2")
    watch = client.watch(prefix, start_revision=first.header.revision)
    assert [event.kv.value for event in await take(watch, 2)] == [b"1", b"2"]


async def test_filters_leave_events_out(client: Client, prefix: bytes) -> None:
    watch = client.watch(prefix, filters=[rpc_pb2.WatchCreateRequest.NOPUT])
    await watch.started()
    await client.put(prefix, b"1")
    await client.delete(prefix)
    assert [event.type for event in await take(watch, 1)] == [kv_pb2.Event.DELETE]


async def test_progress_comes_when_asked_for(client: Client, prefix: bytes) -> None:
    watch = client.watch(prefix)
    await watch.started()
    put = await client.put(b"another key", b"1")
    await client.request_progress()
    batch = await anext(watch)
    assert batch.is_progress
    assert batch.revision >= put.header.revision


async def test_a_compacted_start_raises_with_the_revision(own_etcd: EtcdProcess) -> None:
    async with Client([own_etcd.endpoint]) as client:
        for _ in range(5):
            last = await client.put(b"key", b"value")
        await client.compact(last.header.revision)
        watch = client.watch(b"key", start_revision=2)
        with pytest.raises(Compacted) as caught:
            await anext(watch)
        assert caught.value.compact_revision == last.header.revision


async def test_no_event_is_lost_or_doubled_over_cut_connections(
    client: Client, shared_etcd: EtcdProcess, prefix: bytes
) -> None:
    cable = Cable(shared_etcd.endpoint)
    async with Client([await cable.start()]) as watcher:
        watches = [watcher.watch(prefix, prefix_end(prefix)) for _ in range(5)]
        for watch in watches:
            await watch.started()
        for index in range(120):
            await client.put(prefix + b"%d" % (index % 7), b"%d" % index)
            if index % 30 == 10:
                await cable.connected.wait()
                cable.cut()
        for watch in watches:
            assert [event.kv.value for event in await take(watch, 120)] == [b"%d" % index for index in range(120)]
    assert cable.connections == 5
    await cable.stop()


async def test_a_watch_outlives_the_restart_of_its_server(own_etcd: EtcdProcess) -> None:
    async with Client([own_etcd.endpoint]) as client:
        watch = client.watch(b"key")
        await watch.started()
        await client.put(b"key", b"before")
        own_etcd.stop()
        own_etcd.start()
        await own_etcd.ready()
        await client.put(b"key", b"after")
        assert [event.kv.value for event in await take(watch, 2)] == [b"before", b"after"]


async def test_a_revision_in_fragments_is_one_batch(client: Client, prefix: bytes) -> None:
    for index in range(6):
        await client.put(prefix + b"%d" % index, b"x" * 500_000)
    watch = client.watch(prefix, prefix_end(prefix), prev_kv=True, fragment=True)
    await watch.started()
    await client.delete(prefix, prefix_end(prefix))
    assert len((await anext(watch)).events) == 6


async def test_a_hundred_watches_get_their_own_events(client: Client, prefix: bytes) -> None:
    watches = [client.watch(prefix + b"%03d" % index) for index in range(100)]
    for watch in watches:
        await watch.started()
    await asyncio.gather(*(client.put(prefix + b"%03d" % index, b"%d" % index) for index in range(100)))
    for index, watch in enumerate(watches):
        assert [event.kv.value for event in await take(watch, 1)] == [b"%d" % index]


async def test_a_slow_consumer_loses_nothing(client: Client, prefix: bytes) -> None:
    watch = client.watch(prefix)
    await watch.started()
    for index in range(40):
        await client.put(prefix, b"%d" % index + b" " * 300_000)
    events = await take(watch, 40)
    assert [int(event.kv.value) for event in events] == list(range(40))


async def test_watches_end_with_their_client(shared_etcd: EtcdProcess, prefix: bytes) -> None:
    client = Client([shared_etcd.endpoint])
    watch = client.watch(prefix)
    never_started = client.watch(prefix)
    await watch.started()
    await client.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    never_started.cancel()
    late = client.watch(prefix)
    with pytest.raises(Cancelled):
        await anext(late)
