"""Objects in the store: read, create, change, remove one; every write is a compare-and-swap on its revision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.apiserver.storage import codec
from controlplane.apiserver.storage.backend import Backend, Expect, Outcome, OutcomeUnknown, Put, Row
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.objects import status
from controlplane.objects.status import ApiError

MOST_CONFLICTS: Final = 100  # in a row, before a change gives up
UNKNOWN_ATTEMPTS: Final = 6
UNKNOWN_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Also:
    """Other keys that are written in the same transaction: what they must be, what is put, what is deleted."""

    expected: tuple[Expect, ...] = ()
    puts: tuple[Put, ...] = ()
    deletes: tuple[bytes, ...] = ()

    def __add__(self, other: Also) -> Also:
        return Also(self.expected + other.expected, self.puts + other.puts, self.deletes + other.deletes)


NOTHING_ELSE: Final = Also()


@dataclass(frozen=True, slots=True)
class Write:
    """What a change decided: store `object`, or remove the key when it is None; `lease` of a put; `last` is how a removed
    object is answered when not as it was."""

    object: Object | None
    also: Also = NOTHING_ELSE
    lease: int = 0
    last: Object | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of a change: the entry as it is now, or as it was last when `removed`."""

    entry: Entry
    object: Object
    removed: bool = False


class CompanionTaken(Exception):
    """A key of `Also` was not as expected (an address is taken, say); `key` is the first of them."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.key = key


Change = Callable[[Object], Awaitable[Write]]


class ObjectStore:
    """Compare-and-swap on one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get(self, key: str, known: Entry | None = None) -> Entry | None:
        """The object now (a quorum read); `known`, which a cache has, is it when the store says that it is the newest."""
        if known is not None and await self._backend.modified(known.key) == known.revision:
            return known
        row, _ = await self._backend.get(key.encode())
        return Entry.from_stored(row.key, row.value, row.revision) if row else None

    async def revision(self) -> int:
        """The store's revision now (a quorum read)."""
        _, revision = await self._backend.get(b"/registry/health")
        return revision

    async def create(self, key: str, obj: Object, *, also: Also = NOTHING_ELSE, lease: int = 0) -> Entry | None:
        """Store a new object; None when the key exists; raises CompanionTaken."""
        raw_key, value = key.encode(), codec.encode(obj)
        outcome = await self._commit(
            [Expect(raw_key, 0), *also.expected], [Put(raw_key, value, lease), *also.puts], also.deletes
        )
        if outcome.succeeded:
            return Entry.from_stored(raw_key, value, outcome.revision)
        if outcome.rows and outcome.rows[0] is not None:
            return None
        raise _companion(also, outcome)

    async def change(
        self, key: str, change: Change, missing: Callable[[], ApiError], suggestion: Entry | None = None
    ) -> Changed:
        """Read, change, write back; again while others were faster. `suggestion` is a perhaps stale current object."""
        raw_key = key.encode()
        stale = suggestion is not None
        row = _row_of(suggestion) if suggestion is not None else (await self._backend.get(raw_key))[0]
        for _ in range(MOST_CONFLICTS):
            if row is None:
                raise missing()
            current = codec.with_revision(codec.decode(row.value), row.revision)
            try:
                write = await change(current)
                value = None if write.object is None else codec.encode(write.object)
            except ApiError:
                if not stale:
                    raise
                stale, row = False, (await self._backend.get(raw_key))[0]
                continue
            if value == row.value and write.also == NOTHING_ELSE and not row.stale:
                if not stale:
                    return Changed(Entry.from_stored(raw_key, value, row.revision), current)
                stale, row = False, (await self._backend.get(raw_key))[0]
                continue
            outcome = await self._write(raw_key, row, write, value)
            if outcome.succeeded:
                return _changed(raw_key, write, value, current, outcome.revision)
            fresh = outcome.rows[0] if outcome.rows else None
            if fresh is not None and fresh.revision == row.revision:
                raise _companion(write.also, outcome)
            stale, row = False, fresh
        raise status.internal_error(f"{key} changed faster than it could be written")

    async def _write(self, key: bytes, row: Row, write: Write, value: bytes | None) -> Outcome:
        expected = [Expect(key, row.revision), *write.also.expected]
        if value is None:
            return await self._commit(expected, write.also.puts, [key, *write.also.deletes])
        lease = write.lease or row.lease
        return await self._commit(expected, [Put(key, value, lease), *write.also.puts], write.also.deletes)

    async def _commit(self, expected: Sequence[Expect], puts: Sequence[Put], deletes: Sequence[bytes]) -> Outcome:
        """One transaction, asked again while its outcome is unknown (a leader died).

        That is safe because it compares: of two copies at most one is applied, and when the second is refused, the value
        that stands in its way tells whether the first was ours (a uid and a change of bytes are in each).
        """
        unknown = False
        for attempt in range(UNKNOWN_ATTEMPTS):
            try:
                outcome = await self._backend.commit(expected, puts, deletes)
            except OutcomeUnknown:
                if attempt == UNKNOWN_ATTEMPTS - 1:
                    raise
                unknown = True
                await asyncio.sleep(UNKNOWN_PAUSE_SECONDS * (attempt + 1))
                continue
            if unknown and not outcome.succeeded:
                return _recognised(expected[0].key, puts, deletes, outcome)
            return outcome
        raise AssertionError("the loop answers or raises")


def _recognised(key: bytes, puts: Sequence[Put], deletes: Sequence[bytes], outcome: Outcome) -> Outcome:
    """The outcome as it was, or success when the row in the way is what we wrote ourselves."""
    row = outcome.rows[0] if outcome.rows else None
    if row is None:
        return Outcome(True, outcome.revision) if key in deletes else outcome
    if any(put.key == key and put.value == row.value for put in puts):
        return Outcome(True, row.revision)
    return outcome


def _row_of(entry: Entry) -> Row:
    return Row(entry.key, codec.unsplice(entry.raw), entry.revision)


def _changed(key: bytes, write: Write, value: bytes | None, current: Object, revision: int) -> Changed:
    if value is None or write.object is None:
        last = codec.with_revision(write.last or current, revision)
        return Changed(Entry(key, revision, codec.encode_json(last)), last, removed=True)
    return Changed(Entry.from_stored(key, value, revision), codec.with_revision(write.object, revision))


def _companion(also: Also, outcome: Outcome) -> CompanionTaken:
    for expect, row in zip(also.expected, outcome.rows[1:]):
        if (row.revision if row else 0) != expect.revision:
            return CompanionTaken(expect.key)
    return CompanionTaken(also.expected[0].key if also.expected else b"")
