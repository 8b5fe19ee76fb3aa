"""Leases, locks and elections against a real etcd."""

import asyncio

import pytest

from kvstore.client import Client, LeaseNotFound, Watch, prefix_end
from kvstore.client.election import Election
from kvstore.client.errors import LockLost
from kvstore.client.lock import Lock
from tests.kvstore.client.conftest import EtcdProcess


async def test_a_lease_is_granted_renewed_listed_and_revoked(client: Client, prefix: bytes) -> None:
    granted = await client.lease_grant(30)
    await client.put(prefix, b"value", lease=granted.ID)
    assert await client.lease_keep_alive(granted.ID) == 30
    left = await client.lease_time_to_live(granted.ID, keys=True)
    assert (left.grantedTTL, list(left.keys)) == (30, [prefix])
    assert granted.ID in [lease.ID for lease in (await client.leases()).leases]
    await client.lease_revoke(granted.ID)
    assert await client.get(prefix) is None
    assert (await client.lease_time_to_live(granted.ID)).TTL == -1


async def test_many_renewals_share_one_stream(client: Client) -> None:
    leases = [await client.lease_grant(30 + index) for index in range(20)]
    ttls = await asyncio.gather(*(client.lease_keep_alive(lease.ID) for lease in leases))
    assert ttls == [30 + index for index in range(20)]


async def test_a_kept_lease_outlives_its_time_and_dies_with_revoke(client: Client, prefix: bytes) -> None:
    async with await client.lease(1) as lease:
        await client.put(prefix, b"value", lease=lease.id)
        renewals = 0
        while renewals < 2:
            before = lease._expires_at
            await asyncio.sleep(0.05)
            renewals += lease._expires_at > before
        assert lease.is_held
        assert await client.get(prefix) is not None
    assert lease.lost.is_set()
    assert await client.get(prefix) is None


async def test_a_lease_that_was_revoked_elsewhere_is_lost(client: Client) -> None:
    lease = await client.lease(1)
    await client.lease_revoke(lease.id)
    async with asyncio.timeout(10):
        await lease.lost.wait()
    assert not lease.is_held
    await lease.revoke()  # no error


async def test_a_lease_is_lost_when_the_server_is_gone_for_its_time(own_etcd: EtcdProcess) -> None:
    async with Client([own_etcd.endpoint]) as client:
        lease = await client.lease(1)
        own_etcd.stop()
        async with asyncio.timeout(10):
            await lease.lost.wait()
        assert not lease.is_held


async def test_a_lease_outlives_a_restart_of_the_server(own_etcd: EtcdProcess) -> None:
    async with Client([own_etcd.endpoint]) as client:
        lease = await client.lease(5)
        own_etcd.stop()
        own_etcd.start()
        await own_etcd.ready()
        assert await client.lease_keep_alive(lease.id) == 5
        assert lease.is_held


async def test_a_lock_has_one_holder_and_growing_tokens(client: Client, prefix: bytes) -> None:
    holders: list[int] = []
    tokens: list[int] = []

    async def contend() -> None:
        async with await client.lease(30) as lease, Lock(client, prefix, lease) as lock:
            holders.append(1)
            assert len(holders) == 1
            tokens.append(lock.fencing_token)
            assert await lock.is_held()
            await asyncio.sleep(0)
            holders.pop()

    await asyncio.gather(*(contend() for _ in range(8)))
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 8


async def three_keys(queue: Watch) -> None:
    """Wait until three contenders stand in the queue."""
    events = 0
    while events < 3:
        events += len((await anext(queue)).events)


async def test_a_contender_that_gives_up_leaves_the_queue(client: Client, prefix: bytes) -> None:
    async with await client.lease(30) as first, await client.lease(30) as second, await client.lease(30) as third:
        queue = client.watch(prefix, prefix_end(prefix))
        await queue.started()
        holder = Lock(client, prefix, first)
        await holder.acquire()
        impatient = asyncio.create_task(Lock(client, prefix, second).acquire())
        waiting = Lock(client, prefix, third)
        patient = asyncio.create_task(waiting.acquire())
        await three_keys(queue)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        await holder.release()
        assert await patient == waiting.fencing_token


async def test_a_waiter_whose_lease_ends_is_told(client: Client, prefix: bytes) -> None:
    async with await client.lease(30) as first, await client.lease(30) as second:
        holder = Lock(client, prefix, first)
        await holder.acquire()
        waiter = Lock(client, prefix, second)
        entered = client.watch(waiter.key)
        await entered.started()
        waiting = asyncio.create_task(waiter.acquire())
        await anext(entered)
        await client.lease_revoke(second.id)
        await holder.release()
        with pytest.raises(LockLost):
            await waiting


async def test_an_election_has_one_leader_and_observers_see_each(client: Client, prefix: bytes) -> None:
    async with await client.lease(30) as lease_a, await client.lease(30) as lease_b:
        first, second = Election(client, prefix, lease_a), Election(client, prefix, lease_b)
        assert await first.leader() is None
        token = await first.campaign(b"a")
        seen = second.observe()
        assert (await anext(seen)).value == b"a"
        campaign = asyncio.create_task(second.campaign(b"b"))
        await first.proclaim(b"a2")
        assert (await anext(seen)).value == b"a2"
        await first.resign()
        assert await campaign > token
        assert (await anext(seen)).value == b"b"
        with pytest.raises(LockLost):
            await first.proclaim(b"too late")
        await seen.aclose()  # type: ignore[attr-defined]


async def test_keep_alive_of_a_missing_lease_is_not_found(client: Client) -> None:
    with pytest.raises(LeaseNotFound):
        await client.lease_keep_alive(99)
