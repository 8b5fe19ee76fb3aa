"""Three members, and the one that the client talks to dies."""

import asyncio

import pytest

from kvstore.client import Client, EtcdError, Unavailable
from tests.kvstore.client.conftest import EtcdProcess


async def write_until(client: Client, enough: asyncio.Event) -> tuple[list[int], set[int]]:
    """Put growing numbers one by one: those acknowledged, and those whose outcome is unknown."""
    acknowledged: list[int] = []
    unknown: set[int] = set()
    number = 0
    while not enough.is_set():
        number += 1
        try:
            await client.put(b"number", b"%d" % number, timeout_seconds=2.0)
            acknowledged.append(number)
        except EtcdError as error:
            if error.sent:
                unknown.add(number)
    return acknowledged, unknown


async def leader_first(members: list[EtcdProcess]) -> list[EtcdProcess]:
    """The members, the leader at the head."""
    async with Client([member.endpoint for member in members]) as client:
        states = [await client.status(member.endpoint) for member in members]
    leader = next(i for i, state in enumerate(states) if state.header.member_id == state.leader)
    return members[leader:] + members[:leader]


async def test_writes_reads_leases_and_watches_go_on_when_the_leader_dies(three_members: list[EtcdProcess]) -> None:
    members = await leader_first(three_members)
    async with Client([member.endpoint for member in members]) as client:
        watch = client.watch(b"number")
        await watch.started()
        lease = await client.lease(10)
        enough = asyncio.Event()
        writing = asyncio.create_task(write_until(client, enough))
        seen: list[int] = []
        while len(seen) < 20:
            seen += [int(event.kv.value) for event in (await anext(watch)).events]
        members[0].stop()
        killed_at = seen[-1]
        while seen[-1] < killed_at + 50:
            seen += [int(event.kv.value) for event in (await anext(watch)).events]
        enough.set()
        acknowledged, unknown = await writing
        while seen[-1] < acknowledged[-1]:
            seen += [int(event.kv.value) for event in (await anext(watch)).events]
        assert seen == sorted(set(seen)), "an event came twice or out of order"
        assert set(acknowledged) <= set(seen) <= set(acknowledged) | unknown
        assert lease.is_held
        assert await client.lease_keep_alive(lease.id) == 10
        await lease.revoke()


async def test_no_write_is_done_twice_when_the_leader_dies_under_load(three_members: list[EtcdProcess]) -> None:
    members = await leader_first(three_members)
    async with Client([member.endpoint for member in members]) as client:
        acknowledged = unknown = 0
        enough = asyncio.Event()

        async def write(key: bytes) -> None:
            nonlocal acknowledged, unknown
            while not enough.is_set():
                try:
                    await client.put(key, b"", timeout_seconds=5.0)
                    acknowledged += 1
                except EtcdError as error:
                    assert error.is_unknown or not error.sent
                    unknown += error.is_unknown

        keys = [b"key/%d" % index for index in range(8)]
        writers = [asyncio.create_task(write(key)) for key in keys]
        while acknowledged < 100:
            await client.get(b"key/0")
        members[0].stop()
        before = acknowledged
        while acknowledged < before + 100:
            await client.get(b"key/0")
        enough.set()
        await asyncio.gather(*writers)
        done = sum(kv.version for kv in (await client.range(b"key/", b"key0")).kvs)
        assert acknowledged <= done <= acknowledged + unknown


@pytest.mark.slow
async def test_reads_in_flight_survive_the_death_of_their_member(three_members: list[EtcdProcess]) -> None:
    members = await leader_first(three_members)
    async with Client([members[1].endpoint, members[2].endpoint, members[0].endpoint]) as client:
        await client.put(b"key", b"value")
        reads = [asyncio.create_task(client.get(b"key")) for _ in range(200)]
        await asyncio.sleep(0)
        members[1].stop()
        for kv in await asyncio.gather(*reads):
            assert kv is not None
            assert kv.value == b"value"


@pytest.mark.slow
async def test_without_a_quorum_calls_end_in_time(three_members: list[EtcdProcess]) -> None:
    members = await leader_first(three_members)
    members[0].stop()
    members[1].stop()
    async with Client([member.endpoint for member in members]) as client:
        try:
            async with asyncio.timeout(5.0):
                await client.put(b"key", b"value", timeout_seconds=0.5)
        except Unavailable as error:
            assert not error.sent or "leader" in error.text or "timed out" in error.text
        except EtcdError as error:
            assert "deadline" in error.text
        else:
            raise AssertionError("a write without a quorum was acknowledged")


@pytest.mark.slow
async def test_a_member_that_is_silent_is_left_by_reads_writes_and_watches(three_members: list[EtcdProcess]) -> None:
    members = await leader_first(three_members)
    async with Client([members[1].endpoint, members[2].endpoint]) as client:
        await client.put(b"key", b"1")
        watch = client.watch(b"key")
        await watch.started()
        members[1].pause()
        kv = await client.get(b"key")  # within a quarter of its timeout, on the other member
        assert kv is not None
        await client.put(b"key", b"2")
        async with asyncio.timeout(10):  # the read that waited in vain had the connection probed
            batch = await anext(watch)
        assert [event.kv.value for event in batch.events] == [b"2"]
