"""A queue in the store: first in, first out, within a priority (a lower number goes first).

    queue = Queue(client, b"jobs")
    await queue.put(b"resize 42.png", priority=5)
    async with await queue.take(lease) as item: ...      at least once: an item whose worker dies goes to another worker
    value = await queue.pop()                            at most once: the item is gone before it is worked on

Keys sort in the order of delivery: `<name>/items/<priority>/<revision read before the put>/<chance>`. So an item that was put
after another one was acknowledged comes after it, and those that put at once do not wait for each other. A worker claims an
item with a key of its lease; the claim's create revision is the fencing token of the work.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from kvstore.client import ops
from kvstore.client.client import Client
from kvstore.client.errors import Compacted, LockLost
from kvstore.client.lease import Lease
from kvstore.client.waiting import wait_for
from kvstore.pb import kv_pb2
from kvstore.rpc import Code

LARGEST_PRIORITY: Final = 0xFFFFFFFF


class Item:
    """What a worker has taken. `async with` ends it: done, or given back when the block raised."""

    def __init__(self, client: Client, kv: kv_pb2.KeyValue, claim: bytes, fencing_token: int) -> None:
        self.key = kv.key
        self.value = kv.value
        self.fencing_token = fencing_token  # grows with every claim of this item
        self._client = client
        self._claim = claim

    async def done(self) -> None:
        """Take the item out of the queue. Raises LockLost when the lease ended: another worker may have the item now."""
        await self._end([ops.delete(self.key), ops.delete(self._claim)])

    async def give_back(self) -> None:
        """Let another worker have it, in its old place. Raises LockLost as `done` does."""
        await self._end([ops.delete(self._claim)])

    async def _end(self, then: list[ops.Op]) -> None:
        still_ours = ops.create_revision(self._claim) == self.fencing_token
        if not (await self._client.txn([still_ours], then)).succeeded:
            raise LockLost(Code.ABORTED, "the lease ended while the item was worked on")

    async def __aenter__(self) -> Item:
        return self

    async def __aexit__(self, kind: object, *exception: object) -> None:
        await (self.done() if kind is None else self.give_back())


class Queue:
    """One named queue; any number of processes put and take."""

    def __init__(self, client: Client, name: bytes, chance: random.Random | None = None) -> None:
        self._client = client
        self._stem = name.rstrip(b"/") + b"/"
        self._items = self._stem + b"items/"
        self._claims = self._stem + b"claims/"
        self._chance = chance or random.SystemRandom()

    async def put(self, value: bytes, priority: int = 0) -> bytes:
        """Append an item; its key. Not retried once sent: after an unknown outcome the item may be there."""
        if not 0 <= priority <= LARGEST_PRIORITY:
            raise ValueError(f"a priority is 0 to {LARGEST_PRIORITY}, not {priority}")
        now = (await self._client.range(self._items, count_only=True)).header.revision
        key = self._items + b"%08x/%016x/%08x" % (priority, now, self._chance.getrandbits(32))
        while not (await self._client.txn([ops.create_revision(key) == 0], [ops.put(key, value)])).succeeded:
            key += b"%08x" % self._chance.getrandbits(32)
        return key

    async def size(self) -> int:
        """Items that wait or are worked on."""
        return (await self._client.range(self._items, ops.prefix_end(self._items), count_only=True)).count

    async def take(self, lease: Lease) -> Item:
        """Wait for the first item that nobody works on, and claim it. When the lease ends, another worker gets it.

        After an unknown outcome the claim may stand until the lease ends.
        """
        kv, claim, fencing_token = await self._win(lambda key, claim: ops.put(claim, lease=lease.id))
        return Item(self._client, kv, claim, fencing_token)

    async def pop(self) -> bytes:
        """Wait for the first item that nobody works on, and remove it: its value. After an unknown outcome it may be gone."""
        kv, _, _ = await self._win(lambda key, claim: ops.delete(key))
        return kv.value

    async def _win(self, act: Callable[[bytes, bytes], ops.Op]) -> tuple[kv_pb2.KeyValue, bytes, int]:
        """Act on the first free item before anybody else does: the item, its claim's key, the revision of the act."""
        while True:
            kv, revision = await self._first()
            if kv is None:
                await wait_for(self._client, self._stem, ops.prefix_end(self._stem), revision + 1, lambda event: True)
                continue
            claim = self._claims + kv.key.removeprefix(self._items)
            answer = await self._client.txn(
                [ops.create_revision(kv.key) == kv.create_revision, ops.create_revision(claim) == 0],
                [act(kv.key, claim)],
            )
            if answer.succeeded:
                return kv, claim, answer.header.revision

    async def _first(self) -> tuple[kv_pb2.KeyValue | None, int]:
        """The first unclaimed item, and the revision of the look. Of n + 1 items, n claims leave one."""
        while True:
            claims = await self._client.range(self._claims, ops.prefix_end(self._claims), keys_only=True)
            revision = claims.header.revision
            try:
                items = await self._client.range(
                    self._items, ops.prefix_end(self._items), limit=len(claims.kvs) + 1, revision=revision
                )
            except Compacted:
                continue
            claimed = {kv.key.removeprefix(self._claims) for kv in claims.kvs}
            free = (kv for kv in items.kvs if kv.key.removeprefix(self._items) not in claimed)
            return next(free, None), revision
