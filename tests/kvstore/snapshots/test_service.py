"""Maintenance.Snapshot over a fake member, as a client of etcd reads it."""

import asyncio
import hashlib

import pytest

from kvstore.api import snapshot as service
from kvstore.mvcc import layout
from kvstore.mvcc.state import StateMachine
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import ClientStream, Code, RpcError
from kvstore.storage.bbolt import BoltFile
from kvstore.storage.etcd_restore import Bump, restore_state
from kvstore.storage.memory import MemoryStore
from tests.kvstore.api.calls import call
from tests.kvstore.api.fake_member import MEMBER_ID, FakeServer


def opened(server: FakeServer) -> ClientStream:
    stream = server.channel.stream("/etcdserverpb.Maintenance/Snapshot")
    stream.send(rpc.SnapshotRequest().SerializeToString())
    stream.half_close()
    return stream


async def taken(server: FakeServer) -> list[rpc.SnapshotResponse]:
    return [rpc.SnapshotResponse.FromString(message) async for message in opened(server)]


async def fill(server: FakeServer, count: int, size: int) -> None:
    for number in range(count):
        await call(server.channel, "KV/Put", rpc.PutRequest(key=b"%06d" % number, value=b"v" * size))


async def test_blobs_of_32_kib_count_down_and_end_with_the_hash(served: FakeServer) -> None:
    await fill(served, 300, 1000)
    messages = await taken(served)
    content = b"".join(message.blob for message in messages[:-1])
    assert {len(message.blob) for message in messages[:-2]} == {32 << 10}
    assert messages[-1].blob == hashlib.sha256(content).digest()
    left = len(content)
    for message in messages[:-1]:
        left -= len(message.blob)
        assert message.remaining_bytes == left
    assert {message.version for message in messages} == {"3.5.0"}
    assert (len(content) + 32) % 512 == 32


async def test_the_file_holds_the_data_and_the_members(served: FakeServer) -> None:
    await fill(served, 20, 10)
    file = BoltFile(b"".join(message.blob for message in (await taken(served))[:-1]))
    members = dict(file.records(b"members"))
    assert set(members) == {b"%x" % MEMBER_ID, b"b"}
    assert b'"isLearner":true' in members[b"b"]
    assert b'"voters":[10]' in dict(file.records(b"meta"))[b"confState"]
    store = MemoryStore(layout.TABLES)
    restored = restore_state(file, store, index=1, term=1, bump=Bump())
    assert (restored.revision, restored.versions) == (21, 20)
    assert StateMachine(store).newest(b"000007") == served.state.newest(b"000007")


async def test_writes_go_on_and_none_of_them_is_in_the_file(served: FakeServer) -> None:
    await fill(served, 300, 1000)
    messages = aiter(opened(served))
    pieces = [rpc.SnapshotResponse.FromString(await anext(messages)).blob]
    await fill(served, 50, 2000)
    pieces += [rpc.SnapshotResponse.FromString(message).blob async for message in messages]
    store = MemoryStore(layout.TABLES)
    restored = restore_state(BoltFile(b"".join(pieces)), store, index=1, term=1, bump=Bump())
    assert (restored.revision, served.state.revision) == (301, 351)


async def test_a_client_that_leaves_lets_go_of_the_view(served: FakeServer) -> None:
    await fill(served, 300, 1000)
    stream = opened(served)
    await anext(aiter(stream))
    stream.cancel()
    while served.services._snapshots._streams:
        await call(served.channel, "Maintenance/Hash", rpc.HashRequest())


async def test_too_many_at_a_time_are_refused(served: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_STREAMS", 0)
    with pytest.raises(RpcError) as refusal:
        await taken(served)
    assert refusal.value.text == "etcdserver: too many requests"


async def test_a_stopping_member_ends_its_snapshots(served: FakeServer) -> None:
    await fill(served, 3000, 1000)
    messages = aiter(opened(served))
    await anext(messages)
    served.services.stop()
    with pytest.raises(RpcError) as end:
        async for _ in messages:
            await asyncio.sleep(0)
    assert (end.value.code, end.value.text) == (Code.UNAVAILABLE, "etcdserver: server stopped")
