"""A `Backend` that seals values on their way to the store and opens them on the way back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from controlplane.apiserver.encryption.configuration import Rules
from controlplane.apiserver.encryption.providers import CannotOpen, RandomBytes
from controlplane.apiserver.storage.backend import Backend, Change, Changes, Expect, Outcome, Page, Put, Row, Watching
from controlplane.objects import status


class SealingBackend:
    """Another backend behind rules, which may be exchanged at any time.

    A value that no key opens is a 500 that names its object, whatever was asked: a list that left it out would tell
    controllers that it is gone.
    """

    def __init__(self, backend: Backend, rules: Rules, random_bytes: RandomBytes) -> None:
        self._backend = backend
        self._random_bytes = random_bytes
        self.rules = rules

    def _opened(self, row: Row) -> Row:
        value, stale = self._plain(row.key, row.value)
        return row if value is row.value else replace(row, value=value, stale=stale)

    def _plain(self, key: bytes, value: bytes) -> tuple[bytes, bool]:
        rule = self.rules.of(key)
        if rule is None or not value:
            return value, False
        try:
            return rule.open(value, key)
        except CannotOpen as error:
            raise status.internal_error(f'unable to transform key "{key.decode()}": {error}') from None

    def _sealed(self, put: Put) -> Put:
        rule = self.rules.of(put.key)
        return put if rule is None else replace(put, value=rule.seal(put.value, put.key, self._random_bytes))

    async def get(self, key: bytes) -> tuple[Row | None, int]:
        row, revision = await self._backend.get(key)
        return (None if row is None else self._opened(row)), revision

    async def modified(self, key: bytes) -> int:
        return await self._backend.modified(key)

    async def page(self, start: bytes, end: bytes, *, limit: int = 0, revision: int = 0) -> Page:
        page = await self._backend.page(start, end, limit=limit, revision=revision)
        if not any(self.rules.of(row.key) for row in page.rows[:1] + page.rows[-1:]):
            return page  # a range is of one resource
        return replace(page, rows=tuple(map(self._opened, page.rows)))

    async def commit(
        self, expected: Sequence[Expect], puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> Outcome:
        outcome = await self._backend.commit(expected, [self._sealed(put) for put in puts], deletes)
        if not any(outcome.rows):
            return outcome
        return replace(outcome, rows=tuple(None if row is None else self._opened(row) for row in outcome.rows))

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> Watching:
        return _Opening(self._backend.watch(start, end, after_revision=after_revision), self._opened_change)

    def _opened_change(self, change: Change) -> Change:
        value, _ = self._plain(change.key, change.value)
        return change if value is change.value else replace(change, value=value)

    async def tells_progress(self) -> bool:
        return await self._backend.tells_progress()

    async def grant_lease(self, ttl_seconds: int) -> int:
        return await self._backend.grant_lease(ttl_seconds)

    async def keep_lease_alive(self, lease: int) -> int:
        return await self._backend.keep_lease_alive(lease)

    async def revoke_lease(self, lease: int) -> None:
        await self._backend.revoke_lease(lease)

    async def compact(self, revision: int) -> None:
        await self._backend.compact(revision)

    async def close(self) -> None:
        await self._backend.close()


class _Opening:
    """A watch whose changes are opened."""

    def __init__(self, watching: Watching, opened: Callable[[Change], Change]) -> None:
        self._watching = watching
        self._opened = opened

    async def __aiter__(self) -> AsyncIterator[Changes]:
        async for changes in self._watching:
            yield replace(changes, events=tuple(map(self._opened, changes.events))) if changes.events else changes

    async def request_progress(self) -> None:
        await self._watching.request_progress()

    def cancel(self) -> None:
        self._watching.cancel()
