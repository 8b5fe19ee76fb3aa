"""Watch over a real socket, as etcd's clients see it."""

import asyncio

import pytest

from kvstore.api import ApiLimits
from kvstore.pb import rpc_pb2 as rpc
from kvstore.pb.kv_pb2 import Event
from kvstore.rpc import Code, RpcError
from tests.kvstore.api.calls import WatchClient, call
from tests.kvstore.api.fake_member import FakeServer


async def put(server: FakeServer, key: bytes, value: bytes = b"") -> int:
    answer = await call(server.channel, "KV/Put", rpc.PutRequest(key=key, value=value))
    return int(answer.header.revision)


async def delete(server: FakeServer, key: bytes, range_end: bytes = b"") -> None:
    await call(server.channel, "KV/DeleteRange", rpc.DeleteRangeRequest(key=key, range_end=range_end))


async def watch(server: FakeServer, key: bytes, range_end: bytes = b"", **fields: object) -> WatchClient:
    client = WatchClient(server.channel)
    client.create(key, range_end, **fields)
    created = await client.receive()
    assert created.created
    assert not created.canceled
    return client


def told(response: rpc.WatchResponse) -> list[tuple[int, bytes, bytes]]:
    return [(event.kv.mod_revision, event.kv.key, event.kv.value) for event in response.events]


async def test_events_after_the_creation_arrive_in_order(served: FakeServer) -> None:
    await put(served, b"a", b"before")
    client = await watch(served, b"a")
    await put(served, b"a", b"1")
    await put(served, b"b", b"elsewhere")
    await delete(served, b"a")
    first, second = await client.receive(), await client.receive()
    assert told(first) == [(3, b"a", b"1")]
    assert first.header.revision == 3
    assert second.events[0].type == Event.DELETE
    assert told(second) == [(5, b"a", b"")]


async def test_the_past_is_delivered_before_the_present(served: FakeServer) -> None:
    for value in (b"1", b"2", b"3"):
        await put(served, b"a", value)
    client = await watch(served, b"a", start_revision=3)
    response = await client.receive()
    assert told(response) == [(3, b"a", b"2"), (4, b"a", b"3")]
    await put(served, b"a", b"4")
    assert told(await client.receive()) == [(5, b"a", b"4")]


async def test_a_watch_from_the_future_waits_for_it(served: FakeServer) -> None:
    client = await watch(served, b"a", start_revision=4)
    for value in (b"1", b"2", b"3", b"4"):
        await put(served, b"a", value)
    events = told(await client.receive())
    if len(events) < 2:
        events += told(await client.receive())
    assert events == [(4, b"a", b"3"), (5, b"a", b"4")]


async def test_previous_values_come_when_asked_for(served: FakeServer) -> None:
    await put(served, b"a", b"1")
    await put(served, b"a", b"2")
    past = await watch(served, b"a", start_revision=3, prev_kv=True)
    assert (await past.receive()).events[0].prev_kv.value == b"1"
    present = await watch(served, b"a", prev_kv=True)
    await delete(served, b"a")
    event = (await present.receive()).events[0]
    assert event.prev_kv.value == b"2"
    assert (await past.receive()).events[0].prev_kv.value == b"2"


async def test_filters_leave_nothing_of_what_they_name(served: FakeServer) -> None:
    client = await watch(served, b"a", filters=[rpc.WatchCreateRequest.NOPUT])
    await put(served, b"a")
    await delete(served, b"a")
    assert [event.type for event in (await client.receive()).events] == [Event.DELETE]


async def test_all_changes_of_one_revision_come_together_and_in_order(served: FakeServer) -> None:
    for key in (b"a", b"b", b"c"):
        await put(served, key)
    client = await watch(served, b"a", b"\0")
    await delete(served, b"a", b"z")
    assert [key for _, key, _ in told(await client.receive())] == [b"a", b"b", b"c"]


async def test_ids_are_counted_for_each_stream_and_may_be_chosen(served: FakeServer) -> None:
    client = WatchClient(served.channel)
    ids = []
    for wanted in (0, 1, 0, 7, 0):
        client.create(b"a", watch_id=wanted)
        ids.append((await client.receive()).watch_id)
    assert ids == [0, 1, 2, 7, 3]
    client.create(b"a", watch_id=7)
    refused = await client.receive()
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"


async def test_an_empty_range_and_a_negative_start_are_refused(served: FakeServer) -> None:
    client = WatchClient(served.channel)
    client.create(b"b", b"a")
    assert (await client.receive()).cancel_reason == "mvcc: watcher range is empty"
    client.create(b"b", start_revision=-1)
    refused = await client.receive()
    assert refused.cancel_reason == "etcdserver: mvcc: required revision has been compacted"
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)


async def test_a_start_below_the_compaction_is_cancelled_with_the_revision(served: FakeServer) -> None:
    for value in (b"1", b"2", b"3"):
        await put(served, b"a", value)
    await call(served.channel, "KV/Compact", rpc.CompactionRequest(revision=3))
    client = await watch(served, b"a", start_revision=2)
    cancelled = await client.receive()
    assert (cancelled.canceled, cancelled.compact_revision, cancelled.cancel_reason) == (True, 3, "")
    assert cancelled.header.revision == 0
    at_mark = await watch(served, b"a", start_revision=3)
    assert told(await at_mark.receive()) == [(3, b"a", b"2"), (4, b"a", b"3")]


async def test_a_cancelled_watch_says_so_and_an_unknown_one_is_met_with_silence(served: FakeServer) -> None:
    client = await watch(served, b"a")
    client.cancel(99)
    client.cancel(0)
    answer = await client.receive()
    assert (answer.canceled, answer.watch_id, answer.cancel_reason) == (True, 0, "")
    await put(served, b"a")
    client.create(b"b", watch_id=5)
    assert (await client.receive()).watch_id == 5


async def test_requested_progress_names_the_revision_once_all_watchers_are_synced(served: FakeServer) -> None:
    client = await watch(served, b"a")
    revision = await put(served, b"b")
    client.request_progress()
    answer = await client.receive()
    assert (answer.watch_id, answer.header.revision, len(answer.events)) == (-1, revision, 0)
    client.create(b"a", start_revision=100)
    assert (await client.receive()).created
    client.request_progress()
    client.cancel(0)
    assert (await client.receive()).canceled


async def test_progress_is_notified_to_the_idle_who_asked_for_it() -> None:
    async with FakeServer(ApiLimits(watch_progress_notify_interval_seconds=0.05)) as server:
        client = await watch(server, b"a", progress_notify=True)
        answer = await client.receive()
        assert (answer.watch_id, answer.header.revision, len(answer.events)) == (0, 1, 0)


async def test_a_large_revision_is_split_for_those_who_take_fragments() -> None:
    limits = ApiLimits(max_request_bytes=1000)
    async with FakeServer(limits) as server:
        whole = await watch(server, b"k", b"l", watch_id=1)
        parts = await watch(server, b"k", b"l", fragment=True)
        operations = [
            rpc.RequestOp(request_put=rpc.PutRequest(key=b"k%d" % number, value=bytes(300_000))) for number in range(4)
        ]
        index = server.state.applied_index + 1
        server.state.apply(index, 3, b"T" + rpc.TxnRequest(success=operations).SerializeToString())
        server.state.end_of_turn()
        assert len((await whole.receive()).events) == 4
        fragments = []
        while not fragments or fragments[-1].fragment:
            fragments.append(await parts.receive())
        assert [len(fragment.events) for fragment in fragments] == [1, 1, 1, 1]
        assert {fragment.header.revision for fragment in fragments} == {2}


async def test_a_slow_watcher_holds_nobody_up_and_misses_nothing(served: FakeServer) -> None:
    slow = await watch(served, b"k")
    quick = await watch(served, b"k", start_revision=1)
    count = 60
    for number in range(count):
        await put(served, b"k", b"%03d" % number + bytes(100_000))
        assert told(await quick.receive())[0][0] == number + 2
    watchers, behind = served.services.hub.counts()
    assert (watchers, behind) == (2, 1)
    seen: list[int] = []
    while len(seen) < count:
        seen += [revision for revision, _, _ in told(await slow.receive())]
    assert seen == list(range(2, count + 2))


async def test_a_stream_is_cut_when_there_is_no_leader_for_long() -> None:
    async with FakeServer(ApiLimits(election_timeout_seconds=0.01)) as server:
        client = WatchClient(server.channel, {"hasleader": "true"})
        client.create(b"a")
        assert (await client.receive()).created
        server.member.elect(0)
        with pytest.raises(RpcError) as caught:
            await client.receive()
        assert (caught.value.code, caught.value.text) == (Code.UNAVAILABLE, "etcdserver: no leader")


async def test_watchers_go_with_their_stream(served: FakeServer) -> None:
    client = await watch(served, b"a")
    assert served.services.hub.counts() == (1, 0)
    client.stream.cancel()
    while served.services.hub.counts() != (0, 0):  # noqa: ASYNC110 - the server has no event to wait for
        await asyncio.sleep(0)


async def test_watchers_go_on_after_the_state_was_replaced(served: FakeServer) -> None:
    await put(served, b"a", b"1")
    client = await watch(served, b"a")
    async with FakeServer() as other:
        for value in (b"1", b"2", b"3"):
            await put(other, b"a", value)
        other.state.commit()
        served.state.restore(other.state.snapshot())
    assert told(await client.receive()) == [(3, b"a", b"2"), (4, b"a", b"3")]


async def test_a_client_that_has_no_more_to_ask_still_hears(served: FakeServer) -> None:
    watch = WatchClient(served.channel)
    watch.create(b"a")
    watch.stream.half_close()
    assert (await watch.receive()).created
    await call(served.channel, "KV/Put", rpc.PutRequest(key=b"a"))
    assert (await watch.receive()).events[0].kv.key == b"a"
