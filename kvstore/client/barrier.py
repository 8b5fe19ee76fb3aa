"""Barriers: processes that wait for one another.

    Barrier          somebody holds it; who waits goes on when it is released
    DoubleBarrier    `count` processes begin together (`enter`) and end together (`leave`)
"""

from __future__ import annotations

from kvstore.client import ops
from kvstore.client.client import Client
from kvstore.client.errors import LockLost
from kvstore.client.lease import Lease
from kvstore.client.waiting import is_delete, is_put, wait_for
from kvstore.rpc import Code


class Barrier:
    """One key: while it is there, everyone waits. With a lease it falls by itself when its holder dies."""

    def __init__(self, client: Client, name: bytes) -> None:
        self._client = client
        self._key = name

    async def hold(self, lease: Lease | None = None) -> bool:
        """Put the barrier up; False when it was up already. Not retried once sent: asking again is harmless."""
        answer = await self._client.txn(
            [ops.create_revision(self._key) == 0], [ops.put(self._key, lease=0 if lease is None else lease.id)]
        )
        return answer.succeeded

    async def release(self) -> None:
        """Let everyone go on. Not retried once sent: asking again is harmless."""
        await self._client.delete(self._key)

    async def wait(self) -> None:
        """Return when the barrier is not there. Survives lost connections."""
        while True:
            found = await self._client.range(self._key, keys_only=True)
            if not found.kvs:
                return
            await wait_for(self._client, self._key, b"", found.header.revision + 1, is_delete)


class DoubleBarrier:
    """One participant of a computation that `count` processes begin and end together. One participant per lease.

    A participant that dies takes its place with it when its lease ends: it counts neither for entering nor for leaving.
    """

    def __init__(self, client: Client, name: bytes, lease: Lease, count: int) -> None:
        if count < 1:
            raise ValueError("a double barrier needs at least one participant")
        self._client = client
        self._lease = lease
        self._count = count
        stem = name.rstrip(b"/") + b"/"
        self._places = stem + b"waiters/"
        self._place = self._places + b"%x" % lease.id
        self._ready = stem + b"ready"

    async def enter(self) -> None:
        """Return when `count` participants have entered. Raises LockLost when the lease ended in the meantime."""
        await self._client.put(self._place, b"", lease=self._lease.id)
        while True:
            found = await self._client.txn(
                [],
                [
                    ops.range_(self._ready, keys_only=True),
                    ops.range_(self._places, ops.prefix_end(self._places), count_only=True),
                    ops.range_(self._place, keys_only=True),
                ],
            )
            ready, places, place = (response.response_range for response in found.responses)
            if not place.kvs:
                raise LockLost(Code.ABORTED, "the lease ended while waiting at the barrier")
            if ready.kvs:
                return
            if places.count >= self._count:
                await self._client.put(self._ready, b"")  # whoever completes the round opens it; twice does no harm
                return
            await wait_for(self._client, self._ready, b"", found.header.revision + 1, is_put)

    async def leave(self) -> None:
        """Return when everyone has left. The last one out takes `ready` away: the next round begins afresh."""
        left_at = (await self._client.delete(self._place)).header.revision
        end = ops.prefix_end(self._places)
        still_here = ops.range_(self._places, end, limit=1, keys_only=True, max_create_revision=left_at)
        while True:
            found = await self._client.txn(
                [ops.create_revision(self._places, end) == 0], [ops.delete(self._ready)], [still_here]
            )
            if found.succeeded or not found.responses[0].response_range.kvs:  # who is there has come for the next round
                return
            await wait_for(self._client, self._places, end, found.header.revision + 1, is_delete)
