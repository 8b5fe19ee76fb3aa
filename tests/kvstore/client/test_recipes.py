"""Barriers and queues, against real etcd and against us."""

import asyncio

import pytest

from kvstore.client import Barrier, Client, DoubleBarrier, LockLost, Queue


async def test_a_barrier_lets_nobody_pass_until_it_is_released(client: Client, prefix: bytes) -> None:
    barrier = Barrier(client, prefix)
    await barrier.wait()
    assert await barrier.hold()
    assert not await Barrier(client, prefix).hold()
    waiting = [asyncio.create_task(Barrier(client, prefix).wait()) for _ in range(3)]
    for _ in range(5):
        await client.get(prefix)  # round trips on the connection of those who wait
    assert not any(task.done() for task in waiting)
    await barrier.release()
    await asyncio.gather(*waiting)


async def test_a_barrier_falls_with_the_lease_of_its_holder(client: Client, prefix: bytes) -> None:
    lease = await client.lease(30)
    await Barrier(client, prefix).hold(lease)
    waiting = asyncio.create_task(Barrier(client, prefix).wait())
    await lease.revoke()
    await waiting


async def test_a_double_barrier_is_entered_and_left_together_round_after_round(client: Client, prefix: bytes) -> None:
    inside, most = 0, 0

    async def participant() -> None:
        nonlocal inside, most
        async with await client.lease(30) as lease:
            barrier = DoubleBarrier(client, prefix, lease, 3)
            for _ in range(3):
                await barrier.enter()
                inside += 1
                most = max(most, inside)
                await barrier.leave()
                inside -= 1

    async with asyncio.timeout(30):
        await asyncio.gather(*(participant() for _ in range(3)))
    assert most == 3
    with pytest.raises(ValueError, match="participant"):
        DoubleBarrier(client, prefix, await client.lease(30), 0)


async def test_a_double_barrier_waits_for_the_last_participant(client: Client, prefix: bytes) -> None:
    async with await client.lease(30) as one, await client.lease(30) as two:
        first = asyncio.create_task(DoubleBarrier(client, prefix, one, 2).enter())
        for _ in range(5):
            await client.get(prefix)
        assert not first.done()
        await DoubleBarrier(client, prefix, two, 2).enter()
        await first


async def test_items_come_in_the_order_of_their_priority_and_arrival(client: Client, prefix: bytes) -> None:
    queue = Queue(client, prefix)
    for value, priority in ((b"late", 9), (b"1", 5), (b"2", 5), (b"soon", 1), (b"3", 5)):
        await queue.put(value, priority)
    assert await queue.size() == 5
    assert [await queue.pop() for _ in range(5)] == [b"soon", b"1", b"2", b"3", b"late"]
    with pytest.raises(ValueError, match="priority"):
        await queue.put(b"", -1)


async def test_every_item_goes_to_one_worker_of_many(client: Client, prefix: bytes) -> None:
    queue, taken = Queue(client, prefix), []

    async def worker() -> None:
        async with await client.lease(30) as lease:
            while True:
                async with await queue.take(lease) as item:
                    if item.value == b"stop":
                        return
                    taken.append(item.value)

    workers = [asyncio.create_task(worker()) for _ in range(4)]
    await asyncio.gather(*(queue.put(b"%d" % index) for index in range(30)))
    for _ in workers:
        await queue.put(b"stop")
    async with asyncio.timeout(30):
        await asyncio.gather(*workers)
    assert sorted(taken, key=int) == [b"%d" % index for index in range(30)]
    assert await queue.size() == 0
    assert not (await client.range(prefix, prefix + b"\xff")).kvs, "claims were left"


async def test_an_item_whose_worker_dies_or_fails_goes_to_another_in_its_old_place(client: Client, prefix: bytes) -> None:
    queue = Queue(client, prefix)
    await queue.put(b"first")
    await queue.put(b"second")
    dying, living = await client.lease(30), await client.lease(30)
    lost = await queue.take(dying)
    assert lost.value == b"first"
    assert (await queue.take(living)).value == b"second"
    waiting = asyncio.create_task(queue.take(living))
    await dying.revoke()
    again = await waiting
    assert (again.value, again.fencing_token > lost.fencing_token) == (b"first", True)
    with pytest.raises(LockLost):
        await lost.done()
    with pytest.raises(KeyError):
        async with again:
            raise KeyError
    assert (await queue.take(living)).key == again.key
