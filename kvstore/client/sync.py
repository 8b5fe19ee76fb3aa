"""The synchronous face: the same client on one background thread with an event loop of its own.

    with SyncClient(["127.0.0.1:2379"]) as client:
        client.put(b"a", b"1")
        for batch in client.watch(b"a", start_revision=1): ...
Signatures, answers and errors are those of `Client`; methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from kvstore.client.client import Client
from kvstore.client.lease import Lease
from kvstore.client.watch import Watch, WatchBatch

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncClient, P], T]:
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(method(self.client, *args, **kwargs))

    call.__name__ = method.__name__
    call.__doc__ = method.__doc__
    return call


class SyncWatch:
    """A watch as a plain iterator of WatchBatch."""

    def __init__(self, owner: SyncClient, watch: Watch) -> None:
        self._owner = owner
        self._watch = watch

    def started(self) -> int:
        """See Watch.started."""
        return self._owner.run(self._watch.started())

    def request_progress(self) -> None:
        """See Watch.request_progress."""
        self._owner.run(self._watch.request_progress())

    def cancel(self) -> None:
        """See Watch.cancel; an iteration in another thread ends."""
        self._owner.loop.call_soon_threadsafe(self._watch.cancel)

    def __iter__(self) -> Iterator[WatchBatch]:
        return self

    def __next__(self) -> WatchBatch:
        batch = self._owner.run(self._next())
        if batch is None:
            raise StopIteration
        return batch

    async def _next(self) -> WatchBatch | None:
        return await anext(self._watch, None)


class SyncLease:
    """A lease that the background thread renews until `revoke`."""

    def __init__(self, owner: SyncClient, lease: Lease) -> None:
        self._owner = owner
        self.lease = lease

    @property
    def id(self) -> int:
        """The lease id."""
        return self.lease.id

    @property
    def is_lost(self) -> bool:
        """Whether the lease is gone."""
        return self.lease.lost.is_set()

    def revoke(self) -> None:
        """End the lease and delete its keys."""
        self._owner.run(self.lease.revoke())


class SyncClient:
    """`Client` for code without an event loop. Takes the arguments of `Client`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = Client(*args, **kwargs)
        self._thread = threading.Thread(target=self._serve, name="kvstore-client", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the async core (a Lock, an Election) on the background loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    range = _blocking(Client.range)
    get = _blocking(Client.get)
    put = _blocking(Client.put)
    delete = _blocking(Client.delete)
    txn = _blocking(Client.txn)
    compact = _blocking(Client.compact)
    lease_grant = _blocking(Client.lease_grant)
    lease_revoke = _blocking(Client.lease_revoke)
    lease_time_to_live = _blocking(Client.lease_time_to_live)
    leases = _blocking(Client.leases)
    lease_keep_alive = _blocking(Client.lease_keep_alive)
    status = _blocking(Client.status)
    member_list = _blocking(Client.member_list)

    def watch(self, *args: Any, **kwargs: Any) -> SyncWatch:
        """See Client.watch."""

        async def make() -> Watch:
            return self.client.watch(*args, **kwargs)

        return SyncWatch(self, self.run(make()))

    def lease(self, ttl_seconds: int, lease_id: int = 0) -> SyncLease:
        """See Client.lease."""
        return SyncLease(self, self.run(self.client.lease(ttl_seconds, lease_id)))

    def close(self) -> None:
        """Close the client and end the thread. Idempotent."""
        if not self.loop.is_closed():
            self.run(self.client.close())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
