"""Transactions as plain code: as if alone, against real etcd and against us."""

import asyncio
import random

import pytest

from kvstore.client import Client, Conflict, Isolation, Transaction, prefix_end, transact
from tests.kvstore.client.conftest import EtcdProcess


async def test_transfers_at_once_neither_make_nor_lose_money(client: Client, prefix: bytes) -> None:
    accounts = [prefix + b"%d" % index for index in range(4)]
    for account in accounts:
        await client.put(account, b"100")
    chance = random.Random(7)

    async def transfer(source: bytes, target: bytes, amount: int) -> None:
        async def move(transaction: Transaction) -> None:
            ours, theirs = await transaction.get(source), await transaction.get(target)
            assert ours is not None
            assert theirs is not None
            transaction.put(source, b"%d" % (int(ours) - amount))
            transaction.put(target, b"%d" % (int(theirs) + amount))

        await transact(client, move, chance=chance)

    async def totals() -> None:
        async def read(transaction: Transaction) -> int:
            return sum([int(await transaction.get(account) or b"0") for account in accounts])

        for _ in range(10):
            assert await transact(client, read) == 400, "reads of two revisions were mixed"

    moves = (transfer(*chance.sample(accounts, 2), chance.randint(1, 50)) for _ in range(40))
    await asyncio.gather(totals(), *moves)
    await totals()


async def run_beside(client: Client, isolation: Isolation, *keys: bytes) -> int:
    """Two transactions that read all keys at once and then write one each: how many had to run again."""
    both_read = asyncio.Barrier(2)
    runs = 0

    async def one(mine: bytes) -> None:
        first = True

        async def work(transaction: Transaction) -> None:
            nonlocal runs, first
            runs += 1
            total = 0
            for key in keys:
                total += int(await transaction.get(key) or b"0")
            if first:
                first = False
                await both_read.wait()
            transaction.put(mine, b"%d" % (total + 1))

        await transact(client, work, isolation)

    await asyncio.gather(one(keys[0]), one(keys[-1]))
    return runs - 2


async def test_write_skew_is_refused_when_serializable_and_let_through_by_snapshot(client: Client, prefix: bytes) -> None:
    left, right = prefix + b"left", prefix + b"right"
    assert await run_beside(client, Isolation.SERIALIZABLE, left, right) == 1
    assert await run_beside(client, Isolation.SNAPSHOT, prefix + b"x", prefix + b"y") == 0


async def test_of_two_writers_of_one_key_one_runs_again_under_either_isolation(client: Client, prefix: bytes) -> None:
    for isolation in Isolation:
        key = prefix + isolation.value.encode()
        assert await run_beside(client, isolation, key) == 1
        kv = await client.get(key)
        assert kv is not None
        assert kv.value == b"2"


@pytest.mark.parametrize("change", ["added", "rewritten", "removed"])
async def test_a_range_that_was_read_may_not_change_before_the_commit(client: Client, prefix: bytes, change: str) -> None:
    await client.put(prefix + b"in/1", b"1")
    seen: list[dict[bytes, bytes]] = []

    async def work(transaction: Transaction) -> None:
        seen.append(await transaction.range(prefix + b"in/", prefix_end(prefix + b"in/")))
        if len(seen) == 1:
            if change == "removed":
                await client.delete(prefix + b"in/1")
            else:
                await client.put(prefix + (b"in/0" if change == "added" else b"in/1"), b"2")
        transaction.put(prefix + b"out", b"%d" % len(seen[-1]))

    await transact(client, work)
    assert len(seen) == 2
    assert seen[1] == {"added": {prefix + b"in/0": b"2", prefix + b"in/1": b"1"}, "rewritten": {prefix + b"in/1": b"2"},
                       "removed": {}}[change]  # fmt: skip


async def test_a_transaction_sees_its_own_writes_and_nobody_else_does_before_the_commit(client: Client, prefix: bytes) -> None:
    await client.put(prefix + b"old", b"1")

    async def work(transaction: Transaction) -> None:
        transaction.put(prefix + b"new", b"2")
        transaction.delete(prefix + b"old")
        assert await transaction.get(prefix + b"new") == b"2"
        assert await transaction.get(prefix + b"old") is None
        assert await transaction.range(prefix, prefix_end(prefix)) == {prefix + b"new": b"2"}
        assert await client.get(prefix + b"new") is None

    await transact(client, work)
    assert [kv.key for kv in (await client.range(prefix, prefix_end(prefix))).kvs] == [prefix + b"new"]


async def test_snapshot_isolation_notices_a_blind_write_to_a_key_that_vanished(client: Client, prefix: bytes) -> None:
    await client.put(prefix + b"doomed", b"1")
    runs = 0

    async def work(transaction: Transaction) -> None:
        nonlocal runs
        runs += 1
        await transaction.get(prefix + b"other")
        if runs == 1:
            await client.delete(prefix + b"doomed")
        transaction.put(prefix + b"doomed", b"2")

    await transact(client, work, Isolation.SNAPSHOT)
    assert runs == 2


async def test_an_error_in_the_code_writes_nothing_and_endless_conflicts_end_in_one(client: Client, prefix: bytes) -> None:
    async def fail(transaction: Transaction) -> None:
        transaction.put(prefix, b"1")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await transact(client, fail)
    assert await client.get(prefix) is None

    async def disturbed(transaction: Transaction) -> None:
        await transaction.get(prefix)
        await client.put(prefix, b"faster")
        transaction.put(prefix, b"2")

    with pytest.raises(Conflict):
        await transact(client, disturbed, limit=3)


async def test_a_transaction_that_only_reads_asks_for_no_commit(client: Client, prefix: bytes, shared_etcd: EtcdProcess) -> None:
    await client.put(prefix, b"1")

    async def read(transaction: Transaction) -> bytes | None:
        found = await transaction.get(prefix)
        await client.put(prefix, b"2")
        assert await transaction.get(prefix) == found
        return found

    assert await transact(client, read) == b"1"
