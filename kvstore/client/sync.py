"""The synchronous face: the same client on one background thread with an event loop of its own.

    with SyncClient(["127.0.0.1:2379"]) as client:
        client.put(b"a", b"1")
        for batch in client.watch(b"a", start_revision=1): ...
        lease = client.lease(10)
        with SyncLock(client, b"name", lease) as lock: lock.fencing_token
        client.transact(lambda transaction: transaction.put(b"n", transaction.get(b"n") + b"."))
Signatures, answers and errors are those of the asynchronous side (face.py: how that is made); methods may be called from
any thread. SyncLock, SyncElection, SyncBarrier, SyncDoubleBarrier and SyncQueue stand in sync_recipes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

from kvstore.client.client import Client
from kvstore.client.face import Face, Runner, blocking, iterating, with_parameters_of
from kvstore.client.lease import Lease
from kvstore.client.transaction import ATTEMPTS, Isolation, Transaction, attempts
from kvstore.client.watch import Watch, WatchBatch

T = TypeVar("T")


class SyncWatch(Face[Watch]):
    """A watch as a plain iterator of WatchBatch."""

    started = blocking(Watch.started)
    request_progress = blocking(Watch.request_progress)

    def cancel(self) -> None:
        """See Watch.cancel; an iteration in another thread ends."""
        self.runner.loop.call_soon_threadsafe(self.core.cancel)

    def __iter__(self) -> Iterator[WatchBatch]:
        return self

    def __next__(self) -> WatchBatch:
        batch = self.runner.run(self._next())
        if batch is None:
            raise StopIteration
        return batch

    async def _next(self) -> WatchBatch | None:
        return await anext(self.core, None)


class SyncLease(Face[Lease]):
    """A lease that the background thread renews until `revoke`, or the end of a `with` block."""

    revoke = blocking(Lease.revoke)

    @property
    def id(self) -> int:
        """The lease id."""
        return self.core.id

    @property
    def is_lost(self) -> bool:
        """Whether the lease is gone."""
        return self.core.lost.is_set()

    @property
    def is_held(self) -> bool:
        """Whether the lease certainly has not expired."""
        return self.runner.run(self._is_held())

    async def _is_held(self) -> bool:
        return self.core.is_held

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.revoke()


class SyncTransaction(Face[Transaction]):
    """One attempt of a transaction; see kvstore.client.transaction."""

    get = blocking(Transaction.get)
    range = blocking(Transaction.range)

    @property
    def revision(self) -> int:
        """Of all reads; 0 before the first."""
        return self.core.revision

    def put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        """Write at the commit."""
        self.core.put(key, value, lease)

    def delete(self, key: bytes) -> None:
        """Delete at the commit."""
        self.core.delete(key)


class SyncClient(Face[Client]):
    """`Client` for code without an event loop. Takes the arguments of `Client`."""

    @with_parameters_of(Client.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        core = Client(*args, **kwargs)
        super().__init__(Runner(), core)

    range = blocking(Client.range)
    range_stream = iterating(Client.range_stream)
    get = blocking(Client.get)
    put = blocking(Client.put)
    delete = blocking(Client.delete)
    txn = blocking(Client.txn)
    compact = blocking(Client.compact)
    lease_grant = blocking(Client.lease_grant)
    lease_revoke = blocking(Client.lease_revoke)
    lease_time_to_live = blocking(Client.lease_time_to_live)
    leases = blocking(Client.leases)
    lease_keep_alive = blocking(Client.lease_keep_alive)
    status = blocking(Client.status)
    member_list = blocking(Client.member_list)
    snapshot = blocking(Client.snapshot)
    request = blocking(Client.request)

    @property
    def endpoints(self) -> list[str]:
        """The addresses, as given."""
        return self.core.endpoints

    @with_parameters_of(Client.watch)
    def watch(self, *args: Any, **kwargs: Any) -> SyncWatch:
        """See Client.watch."""

        async def make() -> Watch:
            return self.core.watch(*args, **kwargs)

        return SyncWatch(self.runner, self.runner.run(make()))

    def lease(self, ttl_seconds: int, lease_id: int = 0) -> SyncLease:
        """See Client.lease."""
        return SyncLease(self.runner, self.runner.run(self.core.lease(ttl_seconds, lease_id)))

    def transact(
        self,
        function: Callable[[SyncTransaction], T],
        isolation: Isolation = Isolation.SERIALIZABLE,
        *,
        limit: int = ATTEMPTS,
    ) -> T:
        """Run `function` (in this thread) until its transaction commits: its answer. See kvstore.client.transaction."""
        for transaction in self.runner.iterate(attempts(self.core, isolation, limit=limit)):
            answer = function(SyncTransaction(self.runner, transaction))
        return answer

    def close(self) -> None:
        """Close the client and end the thread. Idempotent."""
        if not self.runner.loop.is_closed():
            self.runner.run(self.core.close())
            self.runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
