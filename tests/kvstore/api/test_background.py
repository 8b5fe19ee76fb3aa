"""What a member does by itself: auto-compaction, the quota's alarm, hashes compared; large ranges in slices."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kvstore.api import ApiLimits, CorruptionOptions, Retention, parse_retention
from kvstore.api.compactor import AutoCompactor
from kvstore.api.corruption import CorruptionCheck
from kvstore.api.slices import Slices, Steps
from kvstore.mvcc import alarms, commands
from kvstore.mvcc.ranges import Found
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Code, RpcError
from tests.kvstore.api.calls import call
from tests.kvstore.api.fake_member import MEMBER_ID, OTHER_ID, FakeServer


class Clock:
    """A clock and its timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append((self.now + seconds, callback))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and min(due for due, _ in self._timers) <= end:
            place = min(range(len(self._timers)), key=lambda one: self._timers[one][0])
            due, callback = self._timers.pop(place)
            self.now = max(self.now, due)
            callback()
        self.now = end


def put(server: FakeServer, count: int) -> None:
    for _ in range(count):
        data = commands.PUT + rpc.PutRequest(key=b"k").SerializeToString()
        server.state.apply(server.state.applied_index + 1, 3, data)


async def settled() -> None:
    """Let what is proposed be applied."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_periodic_compaction_keeps_the_history_of_the_period(served: FakeServer) -> None:
    clock = Clock()
    node = served.services.space._node
    compactor = AutoCompactor(node, Retention(seconds=600), lambda: clock.now, clock.later)
    put(served, 10)
    clock.advance(590)
    await settled()
    assert served.state.compacted == 0
    clock.advance(30)
    await settled()
    first = served.state.compacted
    assert first == 1, "what was there ten minutes ago"
    put(served, 5)
    clock.advance(600)
    await settled()
    assert served.state.compacted == 11
    compactor.stop()
    put(served, 5)
    clock.advance(6000)
    await settled()
    assert served.state.compacted == 11


async def test_compaction_by_revision_keeps_so_many_and_is_the_leaders_business(served: FakeServer) -> None:
    clock = Clock()
    AutoCompactor(served.services.space._node, Retention(revisions=10), lambda: clock.now, clock.later)
    put(served, 50)
    served.member.leader = OTHER_ID
    clock.advance(301)
    await settled()
    assert served.state.compacted == 0
    served.member.leader = MEMBER_ID
    clock.advance(301)
    await settled()
    assert served.state.compacted == 41


def test_retentions_are_read_as_etcd_reads_them() -> None:
    assert parse_retention("periodic", "0") == Retention()
    assert parse_retention("periodic", "2") == Retention(seconds=7200)
    assert parse_retention("periodic", "90m") == Retention(seconds=5400)
    assert parse_retention("revision", "1000") == Retention(revisions=1000)
    for mode, text in (("revision", "1h"), ("periodic", "soon"), ("hourly", "1")):
        with pytest.raises(ValueError, match="makes no sense"):
            parse_retention(mode, text)


async def alarms_of(server: FakeServer) -> list[tuple[int, int]]:
    answer = await call(server.channel, "Maintenance/Alarm", rpc.AlarmRequest())
    return [(one.memberID, one.alarm) for one in answer.alarms]


async def test_members_that_hold_other_data_raise_an_alarm() -> None:
    async with FakeServer() as ours, FakeServer() as other:
        ours.member.remote = other.member
        check = CorruptionCheck(
            ours.services.space._node, ours.services.slices, CorruptionOptions(), lambda seconds, work: None
        )
        for server in (ours, other):
            put(server, 5)
        check.check()
        for _ in range(10):
            await call(ours.channel, "Maintenance/HashKV", rpc.HashKVRequest())  # which takes as long, or longer
        assert await alarms_of(ours) == []
        for server, value in ((ours, b"one"), (other, b"two")):
            data = commands.PUT + rpc.PutRequest(key=b"k", value=value).SerializeToString()
            server.state.apply(server.state.applied_index + 1, 3, data)
        raised = asyncio.Event()
        ours.member.on_proposal = raised.set
        check.check()
        await raised.wait()
        assert await alarms_of(ours) == [(0, rpc.CORRUPT)], "with two members nobody knows who is right"


async def test_the_quota_raises_an_alarm_that_deletes_and_compaction_take_back() -> None:
    async with FakeServer(ApiLimits(quota_backend_bytes=2 << 20)) as server:
        with pytest.raises(RpcError, match="etcdserver: mvcc: database space exceeded"):
            for number in range(600):
                await call(server.channel, "KV/Put", rpc.PutRequest(key=b"k%d" % number, value=bytes(10_000)))
        assert await alarms_of(server) == [(MEMBER_ID, rpc.NOSPACE)]
        with pytest.raises(RpcError, match="database space exceeded"):
            await call(server.channel, "Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=9))
        deleted = await call(server.channel, "KV/DeleteRange", rpc.DeleteRangeRequest(key=b"k", range_end=b"l"))
        await call(
            server.channel, "KV/Compact", rpc.CompactionRequest(revision=deleted.header.revision, physical=True)
        )
        server.services.space.check()
        await call(server.channel, "KV/Put", rpc.PutRequest(key=b"again"))
        assert await alarms_of(server) == []


async def test_an_alarm_raised_by_hand_stays(served: FakeServer) -> None:
    raised = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=MEMBER_ID, alarm=rpc.NOSPACE)
    await call(served.channel, "Maintenance/Alarm", raised)
    served.services.space.check()
    await settled()
    assert await alarms_of(served) == [(MEMBER_ID, rpc.NOSPACE)]
    with pytest.raises(RpcError, match="database space exceeded"):
        await call(served.channel, "KV/Put", rpc.PutRequest(key=b"a"))


async def test_the_alarm_of_a_member_that_is_gone_is_taken_back(served: FakeServer) -> None:
    """Seed 5 of the simulator: a member on a full disk was replaced, and nobody could write any more."""
    change = alarms.encode_change(
        rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=99, alarm=rpc.NOSPACE), by_server=True
    )
    served.state.apply(served.state.applied_index + 1, 3, commands.ALARM + change)
    assert await alarms_of(served) == [(99, rpc.NOSPACE)]
    served.services.space.check()
    await settled()
    assert await alarms_of(served) == []


async def test_downgrades_are_validated_started_and_ended(served: FakeServer) -> None:
    async def ask(action: str, version: str = "") -> Any:
        try:
            request = rpc.DowngradeRequest(action=action, version=version)
            return (await call(served.channel, "Maintenance/Downgrade", request)).version
        except RpcError as error:
            return error.code, error.text

    assert await ask("VALIDATE", "3.6") == "3.7.0"
    assert await ask("VALIDATE", "3.5.0") == (3, "etcdserver: invalid downgrade target version")
    assert await ask("VALIDATE", "new") == (3, "etcdserver: wrong downgrade target version format")
    assert await ask("CANCEL") == (9, "etcdserver: no inflight downgrade job")
    assert await ask("ENABLE", "3.6.0") == "3.7.0"
    assert await ask("ENABLE", "3.6.0") == (9, "etcdserver: cluster has a downgrade job in progress")
    status = await call(served.channel, "Maintenance/Status", rpc.StatusRequest())
    assert (status.downgradeInfo.enabled, status.downgradeInfo.targetVersion) == (True, "3.6.0")
    assert await ask("CANCEL") == "3.7.0"


def fill(server: FakeServer, count: int) -> None:
    for number in range(count):
        data = commands.PUT + rpc.PutRequest(key=b"k%06d" % number, value=b"v%d" % number).SerializeToString()
        server.state.apply(server.state.applied_index + 1, 3, data)


async def test_a_large_range_is_what_a_small_one_would_be_and_does_not_see_later_puts(served: FakeServer) -> None:
    fill(served, 2500)
    plain: list[dict[str, Any]] = [{}, {"limit": 700}, {"limit": 2500}, {"keys_only": True}, {"serializable": True}]
    descending, by_value = {"sort_order": 2}, {"sort_order": 1, "sort_target": rpc.RangeRequest.VALUE}
    odd = [{"count_only": True}, {"limit": 3}, descending, {**descending, "limit": 3}, by_value, {**by_value, "limit": 3}]
    past = [{**options, "revision": 1800} for options in (*odd, {"min_mod_revision": 1700})]
    for options in (*plain, *odd, {"max_mod_revision": 2400}, *past):
        fields: dict[str, Any] = {"key": b"k", "range_end": b"l", **options}
        request = rpc.RangeRequest(**fields)
        asked = asyncio.create_task(call(served.channel, "KV/Range", request))
        await call(served.channel, "KV/Put", rpc.PutRequest(key=b"k999999"))
        await call(served.channel, "KV/DeleteRange", rpc.DeleteRangeRequest(key=b"k999999"))
        answer = await asked
        expected = served.state.range(rpc.RangeRequest(**{"revision": answer.header.revision, **fields}))
        assert isinstance(expected, Found)
        assert (answer.count, answer.more) == (expected.count, expected.more)
        assert [one.SerializeToString() for one in answer.kvs] == expected.pairs


async def stream(server: FakeServer, request: rpc.RangeRequest) -> list[rpc.RangeResponse]:
    opened = server.channel.stream("/etcdserverpb.KV/RangeStream")
    opened.send(request.SerializeToString())
    opened.half_close()
    return [rpc.RangeStreamResponse.FromString(message).range_response async for message in opened]


async def test_a_streamed_range_adds_up_to_the_range(served: FakeServer) -> None:
    fill(served, 1200)
    for request in (
        rpc.RangeRequest(key=b"k", range_end=b"l"),
        rpc.RangeRequest(key=b"k", range_end=b"l", limit=650),
        rpc.RangeRequest(key=b"k000001"),
        rpc.RangeRequest(key=b"none", range_end=b"nonf"),
    ):
        parts = await stream(served, request)
        merged = rpc.RangeResponse()
        for part in parts:
            merged.MergeFrom(part)
        whole = await call(served.channel, "KV/Range", request)
        assert merged == whole
        assert all(not part.HasField("header") for part in parts[:-1])
    with pytest.raises(RpcError) as caught:
        await stream(served, rpc.RangeRequest(key=b"k", range_end=b"l", sort_order="DESCEND"))
    assert caught.value.code == Code.UNIMPLEMENTED


def test_a_job_is_done_in_slices_and_closed_when_it_is_given_up() -> None:
    clock = Clock()
    closed: list[str] = []

    def job(name: str) -> Steps[str]:
        try:
            for _ in range(10):
                clock.now += 0.001
                yield None
            yield name
        finally:
            closed.append(name)

    slices = Slices(lambda: clock.now, clock.later)
    done: list[str] = []
    slices.run(job("a"), done.append)
    assert clock.now == pytest.approx(0.002), "the first slice was as long as a slice"
    give_up = slices.run(job("b"), done.append)
    give_up()
    slices.run(job("c"), done.append)
    clock.advance(0.004)
    assert closed == ["b"]
    slices.stop()
    clock.advance(1)
    assert (done, closed) == ([], ["b", "a", "c"])
    slices.run(job("d"), done.append)
    clock.advance(1)
    assert (done, closed[-1]) == (["d"], "d")
