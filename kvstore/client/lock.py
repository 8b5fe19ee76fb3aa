"""A distributed lock: etcd's recipe.

Each contender puts a key under the lock's prefix with its lease; the lowest create revision holds the lock; everyone waits for
the key just before its own to go, so that a release wakes one contender.

The create revision grows with each holder: pass it as a *fencing token* to whatever the lock protects, and have that refuse
smaller ones. Only that makes the lock safe: a holder can be paused longer than its lease lives.
"""

from __future__ import annotations

from kvstore.client import ops
from kvstore.client.client import Client
from kvstore.client.errors import LockLost
from kvstore.client.lease import Lease
from kvstore.client.waiting import is_delete, wait_for
from kvstore.pb import rpc_pb2
from kvstore.rpc import Code


class Turn:
    """A place in the queue under a prefix: what a lock and an election share."""

    def __init__(self, client: Client, prefix: bytes, lease: Lease) -> None:
        self.client = client
        self.prefix = prefix.rstrip(b"/") + b"/"
        self.lease = lease
        self.key = self.prefix + b"%x" % lease.id
        self.create_revision = 0  # of our key; 0 while we have none

    async def take(self, value: bytes) -> None:
        """Put our key, unless it is there (a retry after an unknown outcome finds its own)."""
        response = await self.client.txn(
            [ops.create_revision(self.key) == 0],
            [ops.put(self.key, value, lease=self.lease.id)],
            [ops.range_(self.key)],
        )
        if response.succeeded:
            self.create_revision = response.header.revision
            return
        found = response.responses[0].response_range.kvs[0]
        self.create_revision = found.create_revision
        if found.value != value:
            await self.client.put(self.key, value, lease=self.lease.id)

    async def wait(self) -> None:
        """Return when nobody is before us. Raises LockLost when our key went in the meantime."""
        while True:
            before = await self.client.range(
                self.prefix,
                ops.prefix_end(self.prefix),
                limit=1,
                max_create_revision=self.create_revision - 1,
                sort_order=rpc_pb2.RangeRequest.DESCEND,
                sort_target=rpc_pb2.RangeRequest.CREATE,
                keys_only=True,
            )
            if not before.kvs:
                break
            await wait_for(self.client, before.kvs[0].key, b"", before.header.revision + 1, is_delete)
        if not await self.is_ours():
            self.create_revision = 0
            raise LockLost(Code.ABORTED, "the lease ended while waiting for the lock")

    async def is_ours(self) -> bool:
        """Whether our key still stands (linearizable)."""
        kv = await self.client.get(self.key)
        return kv is not None and kv.create_revision == self.create_revision

    async def leave(self) -> None:
        """Delete our key, if it is still the one that we put."""
        if self.create_revision:
            revision, self.create_revision = self.create_revision, 0
            await self.client.txn([ops.create_revision(self.key) == revision], [ops.delete(self.key)])


class Lock:
    """`async with Lock(client, b"name", lease) as lock: ... lock.fencing_token`. One holder per lease."""

    def __init__(self, client: Client, name: bytes, lease: Lease) -> None:
        self._turn = Turn(client, name, lease)

    @property
    def fencing_token(self) -> int:
        """Grows with every holder; 0 while the lock is not held or waited for."""
        return self._turn.create_revision

    @property
    def key(self) -> bytes:
        """The key whose existence is the holding: guard transactions with `create_revision(lock.key) == lock.fencing_token`."""
        return self._turn.key

    async def acquire(self) -> int:
        """Wait for the lock; the fencing token. Raises LockLost when the lease ended while waiting."""
        await self._turn.take(b"")
        try:
            await self._turn.wait()
        except BaseException:
            await self._turn.leave()
            raise
        return self._turn.create_revision

    async def is_held(self) -> bool:
        """Ask the store. True is history by the time you read it; the fencing token is not."""
        return self._turn.create_revision != 0 and await self._turn.is_ours()

    async def release(self) -> None:
        """Let the next one in."""
        await self._turn.leave()

    async def __aenter__(self) -> Lock:
        await self.acquire()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.release()
