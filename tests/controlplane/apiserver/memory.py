"""The store in memory: the dumb twin of `EtcdBackend`, whole history kept as a list of snapshots' differences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from controlplane.apiserver.storage.backend import Change, Changes, Expect, Outcome, Page, Put, RevisionCompacted, Row


class MemoryWatching:
    """Replays the log from a revision, then waits for more."""

    def __init__(self, backend: MemoryBackend, start: bytes, end: bytes, after_revision: int) -> None:
        self._backend, self._start, self._end = backend, start, end
        self._next = after_revision + 1
        self._progress_wanted = False
        self._cancelled = False

    async def __aiter__(self) -> AsyncIterator[Changes]:
        while not self._cancelled:
            if self._next <= self._backend.compacted:
                raise RevisionCompacted(self._backend.compacted + 1)
            current = self._backend.revision
            events = tuple(
                change
                for change in self._backend.log
                if self._next <= change.revision <= current and self._start <= change.key < self._end
            )
            self._next = current + 1
            if events:
                yield Changes(events[-1].revision, events)
            elif self._progress_wanted:
                self._progress_wanted = False
                yield Changes(current, ())
            elif self._next > self._backend.revision:
                await self._backend.changed()

    async def request_progress(self) -> None:
        self._progress_wanted = True
        self._backend.wake()

    def cancel(self) -> None:
        self._cancelled = True
        self._backend.wake()


class MemoryBackend:
    """Rows and the log of all changes; revisions as etcd counts them (one a transaction, the first is 1)."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.log: list[Change] = []
        self.revision = 1
        self.compacted = 0
        self._leases: set[int] = set()
        self._waiters: set[asyncio.Event] = set()

    async def changed(self) -> None:
        event = asyncio.Event()
        self._waiters.add(event)
        try:
            await event.wait()
        finally:
            self._waiters.discard(event)

    def wake(self) -> None:
        for event in self._waiters:
            event.set()

    def _at(self, revision: int) -> dict[bytes, Row]:
        if revision in (0, self.revision):
            return self.rows
        if revision < self.compacted:
            raise RevisionCompacted(self.compacted)
        rows: dict[bytes, Row] = {}
        for change in self.log:
            if change.revision > revision:
                break
            if change.deleted:
                rows.pop(change.key, None)
            else:
                rows[change.key] = Row(change.key, change.value, change.revision)
        return rows

    async def get(self, key: bytes) -> tuple[Row | None, int]:
        return self.rows.get(key), self.revision

    async def tells_progress(self) -> bool:
        return True

    async def modified(self, key: bytes) -> int:
        row = self.rows.get(key)
        return row.revision if row is not None else 0

    async def page(self, start: bytes, end: bytes, *, limit: int = 0, revision: int = 0) -> Page:
        rows = self._at(revision)
        found = [rows[key] for key in sorted(rows) if start <= key < end]
        shown = tuple(found[:limit] if limit else found)
        return Page(shown, revision or self.revision, len(shown) < len(found), len(found))

    async def commit(
        self, expected: Sequence[Expect], puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> Outcome:
        if any((row.revision if (row := self.rows.get(each.key)) else 0) != each.revision for each in expected):
            return Outcome(False, self.revision, tuple(self.rows.get(each.key) for each in expected))
        gone = [key for key in deletes if key in self.rows]
        if puts or gone:
            self.revision += 1
        for put in puts:
            old = self.rows.get(put.key)
            created = old.create_revision if old else self.revision
            self.rows[put.key] = Row(put.key, put.value, self.revision, created, put.lease)
            self.log.append(Change(put.key, put.value, self.revision, False))
        for key in gone:
            del self.rows[key]
            self.log.append(Change(key, b"", self.revision, True))
        self.wake()
        return Outcome(True, self.revision)

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> MemoryWatching:
        return MemoryWatching(self, start, end, after_revision)

    async def grant_lease(self, ttl_seconds: int) -> int:
        lease = len(self._leases) + 1
        self._leases.add(lease)
        return lease

    async def keep_lease_alive(self, lease: int) -> int:
        return 15 if lease in self._leases else 0

    async def revoke_lease(self, lease: int) -> None:
        self._leases.discard(lease)
        keys = [row.key for row in self.rows.values() if row.lease == lease]
        await self.commit((), (), keys)

    async def compact(self, revision: int) -> None:
        self.compacted = revision
        self.log = [change for change in self.log if change.revision >= revision]

    async def close(self) -> None:
        self.wake()
