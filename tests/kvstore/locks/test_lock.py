"""v3lock.Lock over a fake member."""

import asyncio

import pytest

from kvstore.mvcc import commands
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Code, RpcError
from tests.kvstore.api.calls import call
from tests.kvstore.locks.conftest import Clients


async def test_a_free_lock_is_given_at_once_and_its_key_names_the_lease(clients: Clients) -> None:
    await clients.grant(0x1A)
    answer = await clients.lock(b"door", 0x1A)
    assert answer.key == b"door/1a"
    assert answer.header.revision == 2
    pair = (await call(clients.channel, "KV/Range", rpc.RangeRequest(key=answer.key))).kvs[0]
    assert (pair.lease, pair.value) == (0x1A, b"")


async def test_a_negative_lease_names_its_key_as_etcd_does(clients: Clients) -> None:
    assert (await clients.lock(b"door", await clients.grant(-1))).key == b"door/-1"


async def test_the_same_lease_is_given_the_lock_again(clients: Clients) -> None:
    await clients.grant(1)
    assert (await clients.lock(b"door", 1)).key == (await clients.lock(b"door", 1)).key


async def test_contenders_are_served_in_the_order_in_which_they_came(clients: Clients) -> None:
    first = await clients.lock(b"door", await clients.grant(9))
    waiting = []
    for number, lease in enumerate((7, 8, 5), 2):
        waiting.append(asyncio.ensure_future(clients.lock(b"door", await clients.grant(lease))))
        await clients.until_queued(b"door", number)
    key = first.key
    for turn in waiting:
        assert not any(other.done() for other in waiting[waiting.index(turn) :])
        await clients.unlock(key)
        key = (await turn).key
    assert key == b"door/5"


async def test_a_waiter_whose_lease_ends_is_refused_and_never_holds_the_lock(clients: Clients) -> None:
    await clients.lock(b"door", await clients.grant(1))
    late = asyncio.ensure_future(clients.lock(b"door", await clients.grant(2)))
    await clients.until_queued(b"door", 2)
    await clients.revoke(2)
    with pytest.raises(RpcError) as refusal:
        await late
    assert (refusal.value.code, refusal.value.text) == (Code.UNKNOWN, "mutex: session is expired")


async def test_a_lease_that_ends_in_the_turn_of_the_release_does_not_get_the_lock(clients: Clients) -> None:
    held = await clients.lock(b"door", await clients.grant(1))
    late = asyncio.ensure_future(clients.lock(b"door", await clients.grant(2)))
    last = asyncio.ensure_future(clients.lock(b"door", await clients.grant(3)))
    await clients.until_queued(b"door", 3)
    state, index = clients.server.state, clients.server.state.applied_index
    state.apply(index + 1, 3, commands.DELETE_RANGE + rpc.DeleteRangeRequest(key=held.key).SerializeToString())
    state.apply(index + 2, 3, commands.LEASE_REVOKE + rpc.LeaseRevokeRequest(ID=2).SerializeToString())
    state.end_of_turn()
    with pytest.raises(RpcError, match="mutex: session is expired"):
        await late
    answer = await last
    pair = (await call(clients.channel, "KV/Range", rpc.RangeRequest(key=answer.key))).kvs[0]
    assert pair.create_revision <= answer.header.revision


async def test_a_waiter_that_gives_up_leaves_the_queue(clients: Clients) -> None:
    held = await clients.lock(b"door", await clients.grant(1))
    impatient = asyncio.ensure_future(clients.lock(b"door", await clients.grant(2)))
    patient = asyncio.ensure_future(clients.lock(b"door", await clients.grant(3)))
    await clients.until_queued(b"door", 3)
    impatient.cancel()
    while b"door/2" in await clients.keys(b"door/"):
        pass
    await clients.unlock(held.key)
    assert (await patient).key == b"door/3"


async def test_without_a_lease_the_server_makes_one_of_a_minute(clients: Clients) -> None:
    answer = await clients.lock(b"door")
    leases = (await call(clients.channel, "Lease/LeaseLeases", rpc.LeaseLeasesRequest())).leases
    assert answer.key == b"door/%x" % leases[0].ID
    life = await call(clients.channel, "Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=leases[0].ID))
    assert life.grantedTTL == 60


async def test_a_lease_that_is_not_there_is_said(clients: Clients) -> None:
    with pytest.raises(RpcError) as refusal:
        await clients.lock(b"door", 77)
    assert (refusal.value.code, refusal.value.text) == (Code.UNKNOWN, "etcdserver: requested lease not found")


async def test_unlocking_what_is_not_locked_is_no_error(clients: Clients) -> None:
    assert (await clients.unlock(b"door/5")).header.revision == 1


async def test_unlocking_without_a_key_is_one(clients: Clients) -> None:
    with pytest.raises(RpcError, match="etcdserver: key is not provided"):
        await clients.unlock(b"")


async def test_a_cancelled_lock_whose_key_is_still_on_its_way_takes_the_key_back(clients: Clients) -> None:
    await clients.grant(4)
    member = clients.server.member
    member.holds_proposals = True
    asked = asyncio.ensure_future(clients.lock(b"door", 4))
    while not member.held:
        await clients.keys(b"door")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await clients.keys(b"door")  # a round trip: the cancellation is there by now
    member.release()
    while len(member.proposals) < 3:  # the grant, the key, and its removal
        await clients.keys(b"door")
    assert await clients.keys(b"door/") == []
