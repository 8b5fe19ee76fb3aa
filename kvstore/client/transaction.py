"""Transactions as plain code: read and write as if alone; the commit checks that it was so, and the code runs again if not.

    async def transfer(transaction: Transaction) -> None:
        ours = int(await transaction.get(b"accounts/a") or b"0")
        transaction.put(b"accounts/a", b"%d" % (ours - 10))
        ...
    await transact(client, transfer)

Reads come from one revision, that of the first read, so they never contradict each other, whatever others write meanwhile.
Writes stay here until the commit, which is one etcd transaction; `get` sees them before.

    Isolation.SERIALIZABLE  (default) commits only if nothing that was read has changed: keys, keys that were missing, and
                            ranges with all that could have appeared in or vanished from them. The result is as if the
                            transactions had run one after the other at their commits.
    Isolation.SNAPSHOT      commits only if nobody else changed what is *written* since the reads. Fewer retries, but two
                            transactions may each read what the other writes (write skew).

A transaction that only reads commits without asking: its reads are of one revision. The function may run many times: it
must do nothing that it could not do twice. A commit whose outcome is unknown (the connection broke) is not tried again: the
error has `is_unknown`; have the function write and check a key of its own where that matters. etcd takes 128 comparisons in one
transaction (`--max-txn-ops`): a serializable one reads no more keys than that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from enum import Enum
from typing import Final, TypeVar

from kvstore.client import ops
from kvstore.client.client import Client
from kvstore.client.errors import Conflict
from kvstore.pb import kv_pb2
from kvstore.rpc import Code

ATTEMPTS: Final = 100  # of one transaction before it gives up with Conflict
LONGEST_PAUSE_SECONDS: Final = 0.2  # between attempts; the first are nearly at once

T = TypeVar("T")


class Isolation(Enum):
    """What a commit checks; see the module."""

    SERIALIZABLE = "serializable"
    SNAPSHOT = "snapshot"


class Transaction:
    """One attempt. Reads raise Compacted when the attempt outlives the history of the store."""

    def __init__(self, client: Client, isolation: Isolation = Isolation.SERIALIZABLE) -> None:
        self.revision = 0  # of all reads; 0 before the first
        self.committed_revision = 0  # of the commit, or of the reads when nothing was written
        self._client = client
        self._isolation = isolation
        self._read: dict[bytes, kv_pb2.KeyValue | None] = {}
        self._ranges: dict[tuple[bytes, bytes], None] = {}
        self._writes: dict[bytes, tuple[bytes, int] | None] = {}

    async def get(self, key: bytes) -> bytes | None:
        """The value, or None: what this transaction wrote, else what the store had at the transaction's revision."""
        if key in self._writes:
            written = self._writes[key]
            return None if written is None else written[0]
        found = await self._stored(key)
        return None if found is None else found.value

    async def _stored(self, key: bytes) -> kv_pb2.KeyValue | None:
        if key not in self._read:
            answer = await self._client.range(key, revision=self.revision)
            self.revision = self.revision or answer.header.revision
            self._read[key] = answer.kvs[0] if answer.kvs else None
        return self._read[key]

    async def range(self, key: bytes, range_end: bytes) -> dict[bytes, bytes]:
        """Values by key of [key, range_end), in the order of the keys, with what this transaction wrote."""
        answer = await self._client.range(key, range_end, revision=self.revision)
        self.revision = self.revision or answer.header.revision
        self._ranges[key, range_end] = None
        for kv in answer.kvs:
            self._read[kv.key] = kv
        found = {kv.key: kv.value for kv in answer.kvs}
        for written, value in self._writes.items():
            if key <= written and (range_end == b"\0" or written < range_end):
                found.pop(written, None)
                if value is not None:
                    found[written] = value[0]
        return dict(sorted(found.items()))

    def put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        """Write at the commit."""
        self._writes[key] = (value, lease)

    def delete(self, key: bytes) -> None:
        """Delete at the commit."""
        self._writes[key] = None

    async def commit(self) -> bool:
        """Whether the writes are in the store; False: somebody was faster, nothing was written. Raises EtcdError."""
        if not self._writes:
            self.committed_revision = self.revision
            return True
        answer = await self._client.txn(await self._checks(), [_op(key, write) for key, write in self._writes.items()])
        self.committed_revision = answer.header.revision if answer.succeeded else 0
        return answer.succeeded

    async def _checks(self) -> list[ops.Comparison]:
        if self._isolation is Isolation.SNAPSHOT:
            return [_unchanged(key, await self._stored(key)) for key in self._writes] if self.revision else []
        ranges = [ops.mod_revision(*span) < self.revision + 1 for span in self._ranges]  # nothing new, nothing rewritten
        return ranges + [_unchanged(key, kv) for key, kv in self._read.items()]  # nothing gone


def _unchanged(key: bytes, kv: kv_pb2.KeyValue | None) -> ops.Comparison:
    return ops.mod_revision(key) == (0 if kv is None else kv.mod_revision)


def _op(key: bytes, write: tuple[bytes, int] | None) -> ops.Op:
    return ops.delete(key) if write is None else ops.put(key, write[0], lease=write[1])


async def attempts(
    client: Client,
    isolation: Isolation = Isolation.SERIALIZABLE,
    *,
    limit: int = ATTEMPTS,
    chance: random.Random | None = None,
) -> AsyncGenerator[Transaction, None]:
    """Transactions until one commits: use each, then ask for the next; the iteration ends with the one that committed.

    Raises Conflict after `limit` attempts, EtcdError of a commit (`is_unknown`: it may have happened).
    """
    draw = chance or random.SystemRandom()
    for attempt in range(limit):
        transaction = Transaction(client, isolation)
        yield transaction
        if await transaction.commit():
            return
        await asyncio.sleep(draw.random() * min(LONGEST_PAUSE_SECONDS, 0.001 * 2.0 ** min(attempt, 10)))
    raise Conflict(Code.ABORTED, f"the transaction met others in each of {limit} attempts")


async def transact(
    client: Client,
    function: Callable[[Transaction], Awaitable[T]],
    isolation: Isolation = Isolation.SERIALIZABLE,
    *,
    limit: int = ATTEMPTS,
    chance: random.Random | None = None,
) -> T:
    """Run `function` until its transaction commits: its answer. Raises what `function` raises (nothing is written then),
    Conflict, EtcdError."""
    async with aclosing(attempts(client, isolation, limit=limit, chance=chance)) as made:
        async for transaction in made:
            answer = await function(transaction)
    return answer
