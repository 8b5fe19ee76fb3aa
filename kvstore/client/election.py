"""Leader election: the lock's queue, whose first key holds what the leader proclaims (etcd's recipe)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kvstore.client import ops
from kvstore.client.client import Client
from kvstore.client.errors import LockLost
from kvstore.client.lease import Lease
from kvstore.client.lock import Turn
from kvstore.pb import kv_pb2, rpc_pb2
from kvstore.rpc import Code


class Election:
    """One candidate of one election."""

    def __init__(self, client: Client, name: bytes, lease: Lease) -> None:
        self._client = client
        self._turn = Turn(client, name, lease)

    @property
    def fencing_token(self) -> int:
        """Grows with every leader; 0 while not campaigning."""
        return self._turn.create_revision

    @property
    def key(self) -> bytes:
        """Our key: guard transactions with `create_revision(election.key) == election.fencing_token`."""
        return self._turn.key

    async def campaign(self, value: bytes) -> int:
        """Wait until elected; the fencing token. Raises LockLost when the lease ended while waiting."""
        await self._turn.take(value)
        try:
            await self._turn.wait()
        except BaseException:
            await self._turn.leave()
            raise
        return self._turn.create_revision

    async def proclaim(self, value: bytes) -> None:
        """Announce a new value as the leader. Raises LockLost when we are not (any more)."""
        token = self._turn.create_revision
        response = await self._client.txn(
            [ops.create_revision(self.key) == token], [ops.put(self.key, value, lease=self._turn.lease.id)]
        )
        if not token or not response.succeeded:
            self._turn.create_revision = 0
            raise LockLost(Code.ABORTED, "election: not leader")

    async def resign(self) -> None:
        """Let the next candidate lead."""
        await self._turn.leave()

    async def leader(self) -> kv_pb2.KeyValue | None:
        """The leader's key and value, or None."""
        response = await self._first()
        return response.kvs[0] if response.kvs else None

    async def observe(self) -> AsyncIterator[kv_pb2.KeyValue]:
        """The leader now, then every new leader and every value that a leader proclaims (intermediate ones may be skipped)."""
        response = await self._first()
        last = (0, 0)
        watch = self._client.watch(
            self._turn.prefix, ops.prefix_end(self._turn.prefix), start_revision=response.header.revision + 1
        )
        try:
            while True:
                if response.kvs:
                    leader = response.kvs[0]
                    if (leader.create_revision, leader.mod_revision) != last:
                        last = (leader.create_revision, leader.mod_revision)
                        yield leader
                await anext(watch)
                response = await self._first()
        finally:
            watch.cancel()

    async def _first(self) -> rpc_pb2.RangeResponse:
        return await self._client.range(
            self._turn.prefix,
            ops.prefix_end(self._turn.prefix),
            limit=1,
            sort_order=rpc_pb2.RangeRequest.ASCEND,
            sort_target=rpc_pb2.RangeRequest.CREATE,
        )
