"""The same random requests to a real etcd and to ours: the same answers, errors and events."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel, RpcError
from tests.kvstore.api.calls import WatchClient, call
from tests.kvstore.api.fake_member import FakeServer
from tests.kvstore.api.processes import needs_etcd, running_etcd
from tests.kvstore.mvcc.strategies import deletes, puts, ranges, txns

pytestmark = needs_etcd

METHODS = {rpc.PutRequest: "KV/Put", rpc.RangeRequest: "KV/Range", rpc.DeleteRangeRequest: "KV/DeleteRange",
           rpc.TxnRequest: "KV/Txn", rpc.CompactionRequest: "KV/Compact",
           rpc.LeaseGrantRequest: "Lease/LeaseGrant", rpc.LeaseRevokeRequest: "Lease/LeaseRevoke"}  # fmt: skip
REVISION_SPAN = 30  # strategies draw revisions from 0 to here; they are moved to the newest ones of the store

Requests = list[Any]


def move_revisions(request: Any, newest: int) -> None:
    """Let drawn revisions name the newest of the store, and a little of its future."""
    if isinstance(request, rpc.RangeRequest):
        for field in ("revision", "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            drawn = getattr(request, field)
            if drawn > 0:
                setattr(request, field, max(newest - REVISION_SPAN + 5 + drawn, 1))
    elif isinstance(request, rpc.CompactionRequest):
        # not 0: etcd 3.4 takes it once, later ones never do
        request.revision = max(newest - REVISION_SPAN + 3 + request.revision, 1)
    elif isinstance(request, rpc.TxnRequest):
        for compare in request.compare:
            if compare.create_revision or compare.mod_revision:
                field = "create_revision" if compare.create_revision else "mod_revision"
                setattr(compare, field, max(newest - 12 + getattr(compare, field), 0))
        for operation in [*request.success, *request.failure]:
            move_revisions(getattr(operation, operation.WhichOneof("request")), newest)


def without_identity(response: Any) -> Any:
    """Drop what differs between any two servers."""
    response.header.cluster_id = response.header.member_id = response.header.raft_term = 0
    return response


async def outcome(channel: Channel, request: Any) -> Any:
    try:
        return without_identity(await call(channel, METHODS[type(request)], request))
    except RpcError as error:
        return error.code, error.text


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


class Pair:
    """A real etcd and ours, fed alike."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def open(self) -> None:
        self.real = Channel(self._endpoint)
        self.ours = FakeServer()
        await self.ours.__aenter__()
        self.first = await self.newest()
        while self.ours.state.revision < self.first:  # a pair may be opened on an etcd that was used before
            await call(self.ours.channel, "KV/Put", rpc.PutRequest(key=b"filler"))
            await call(self.ours.channel, "KV/DeleteRange", rpc.DeleteRangeRequest(key=b"filler"))

    async def close(self) -> None:
        await self.real.close()
        await self.ours.__aexit__()

    async def newest(self) -> int:
        found = await call(self.real, "KV/Range", rpc.RangeRequest(key=b"none"))
        return int(found.header.revision)

    async def feed(self, requests: Requests) -> None:
        for request in requests:
            move_revisions(request, await self.newest())
            real = await outcome(self.real, request)
            ours = await outcome(self.ours.channel, request)
            assert ours == real, request


LEASE_IDS = st.integers(1, 3)
REQUESTS = st.lists(
    st.one_of(
        puts(), puts(), deletes(), ranges(), ranges(), txns(), txns(),
        st.builds(rpc.CompactionRequest, revision=st.integers(0, 33)),
        st.builds(rpc.LeaseGrantRequest, ID=LEASE_IDS, TTL=st.just(3600)),
        st.builds(rpc.LeaseRevokeRequest, ID=LEASE_IDS),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


@pytest.fixture(scope="module")
def pair(etcd: str, runner: asyncio.Runner) -> Iterator[Pair]:
    pair = Pair(etcd)
    runner.run(pair.open())
    yield pair
    runner.run(pair.close())


@given(requests=REQUESTS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, phases=[Phase.generate])
def test_random_requests_get_the_same_answers(pair: Pair, runner: asyncio.Runner, requests: Requests) -> None:
    runner.run(pair.feed(requests))


@pytest.mark.slow
@given(requests=REQUESTS)
@settings(
    max_examples=1500,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # the servers keep their state: a difference that was shrunk would be another one
)
def test_many_more_random_requests_get_the_same_answers(
    pair: Pair, runner: asyncio.Runner, requests: Requests
) -> None:
    runner.run(pair.feed(requests))


def test_watches_of_the_past_show_the_same_events(pair: Pair, runner: asyncio.Runner, tmp_path: Path) -> None:
    async def events(channel: Channel, start: int, last: int) -> list[Any]:
        client = WatchClient(channel)
        client.create(b"\0", b"\0", start_revision=start, prev_kv=True)
        assert (await client.receive()).created
        seen: list[Any] = []
        while not seen or seen[-1].kv.mod_revision < last:
            response = await client.receive()
            assert not response.canceled, response
            seen += list(response.events)
        client.stream.cancel()
        return seen

    async def compare() -> None:
        random = Random(5)
        for _ in range(40):
            key = random.choice([b"a", b"b", b"c"])
            request: Any = rpc.PutRequest(key=key, value=bytes([random.randrange(97, 100)]))
            if random.random() < 0.3:
                request = rpc.DeleteRangeRequest(key=key, range_end=random.choice([b"", b"\0"]))
            await pair.feed([request])
        last = await pair.newest()
        assert await events(pair.real, last - 25, last) == await events(pair.ours.channel, last - 25, last)

    runner.run(compare())
