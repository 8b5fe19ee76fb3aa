"""Lock, Election, Barrier, DoubleBarrier and Queue for code without an event loop; see sync.py and face.py."""

from __future__ import annotations

from typing import Self

from kvstore.client.barrier import Barrier, DoubleBarrier
from kvstore.client.election import Election
from kvstore.client.face import Face, Runner, blocking, iterating
from kvstore.client.lock import Lock
from kvstore.client.queue import Item, Queue
from kvstore.client.sync import SyncClient, SyncLease


class SyncLock(Face[Lock]):
    """See kvstore.client.lock. `with SyncLock(client, b"name", lease) as lock: lock.fencing_token`."""

    def __init__(self, client: SyncClient, name: bytes, lease: SyncLease) -> None:
        super().__init__(client.runner, Lock(client.core, name, lease.core))

    acquire = blocking(Lock.acquire)
    release = blocking(Lock.release)
    is_held = blocking(Lock.is_held)

    @property
    def fencing_token(self) -> int:
        """Grows with every holder; 0 while the lock is not held or waited for."""
        return self.core.fencing_token

    @property
    def key(self) -> bytes:
        """The key whose existence is the holding."""
        return self.core.key

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


class SyncElection(Face[Election]):
    """See kvstore.client.election."""

    def __init__(self, client: SyncClient, name: bytes, lease: SyncLease) -> None:
        super().__init__(client.runner, Election(client.core, name, lease.core))

    campaign = blocking(Election.campaign)
    proclaim = blocking(Election.proclaim)
    resign = blocking(Election.resign)
    leader = blocking(Election.leader)
    observe = iterating(Election.observe)

    @property
    def fencing_token(self) -> int:
        """Grows with every leader; 0 while not campaigning."""
        return self.core.fencing_token

    @property
    def key(self) -> bytes:
        """Our key."""
        return self.core.key


class SyncBarrier(Face[Barrier]):
    """See kvstore.client.barrier."""

    def __init__(self, client: SyncClient, name: bytes) -> None:
        super().__init__(client.runner, Barrier(client.core, name))

    release = blocking(Barrier.release)
    wait = blocking(Barrier.wait)

    def hold(self, lease: SyncLease | None = None) -> bool:
        """Put the barrier up; False when it was up already."""
        return self.runner.run(self.core.hold(None if lease is None else lease.core))


class SyncDoubleBarrier(Face[DoubleBarrier]):
    """See kvstore.client.barrier."""

    def __init__(self, client: SyncClient, name: bytes, lease: SyncLease, count: int) -> None:
        super().__init__(client.runner, DoubleBarrier(client.core, name, lease.core, count))

    enter = blocking(DoubleBarrier.enter)
    leave = blocking(DoubleBarrier.leave)


class SyncItem(Face[Item]):
    """What a worker has taken. `with` ends it: done, or given back when the block raised."""

    def __init__(self, runner: Runner, core: Item) -> None:
        super().__init__(runner, core)
        self.key, self.value, self.fencing_token = core.key, core.value, core.fencing_token

    done = blocking(Item.done)
    give_back = blocking(Item.give_back)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is None:
            self.done()
        else:
            self.give_back()


class SyncQueue(Face[Queue]):
    """See kvstore.client.queue."""

    def __init__(self, client: SyncClient, name: bytes) -> None:
        super().__init__(client.runner, Queue(client.core, name))

    put = blocking(Queue.put)
    pop = blocking(Queue.pop)
    size = blocking(Queue.size)

    def take(self, lease: SyncLease) -> SyncItem:
        """Wait for the first item that nobody works on, and claim it."""
        return SyncItem(self.runner, self.runner.run(self.core.take(lease.core)))
