"""The store as the API server sees it: rows, revisions, compare-and-swap.  A port; `etcd.py` implements it.

Requests are those of Kubernetes' own storage layer (etcd v3): a get is a Range of one key, a write is one transaction
that compares modification revisions, a page is a Range at a pinned revision.  Failures of the store leave here as
`ApiError` (the store did not answer in time, is unavailable) or `RevisionCompacted`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from controlplane.objects.status import ApiError


@dataclass(frozen=True, slots=True)
class Row:
    """One key of the store with its value and revisions."""

    key: bytes
    value: bytes
    revision: int  # of the last modification: the object's resourceVersion
    create_revision: int = 0
    lease: int = 0
    stale: bool = False  # the store holds it in a form that is no longer written (an older key): any write renews it


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in key order, the revision they were read at, whether more follow, and how many keys the range has."""

    rows: tuple[Row, ...]
    revision: int
    more: bool
    count: int


@dataclass(frozen=True, slots=True)
class Put:
    """Set a key; `lease` 0 means none."""

    key: bytes
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Expect:
    """A key must have this modification revision; 0: the key must not exist."""

    key: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction did: at `revision`; when it did not succeed, `rows` has the current row of each expected key."""

    succeeded: bool
    revision: int
    rows: tuple[Row | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the store; `value` is empty for a deletion."""

    key: bytes
    value: bytes
    revision: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """All events of one message; an empty one says that everything up to `revision` has been told."""

    revision: int
    events: tuple[Change, ...]


class OutcomeUnknown(ApiError):
    """A write may or may not have happened. Who knows how to tell asks again; a client is told 504."""

    def __init__(self, why: str) -> None:
        super().__init__(504, "Timeout", f"Timeout: the outcome of the write is unknown: {why}")


class RevisionCompacted(Exception):
    """The revision asked for is no longer in the store; `revision` is the oldest that is (0: unknown)."""

    def __init__(self, revision: int = 0) -> None:
        super().__init__(f"compacted at {revision}")
        self.revision = revision


class Watching(Protocol):
    """A running watch of a range: an asynchronous iterator of `Changes` that survives lost connections."""

    def __aiter__(self) -> AsyncIterator[Changes]: ...
    async def request_progress(self) -> None: ...
    def cancel(self) -> None: ...


class Backend(Protocol):
    """The port; `storage.etcd.EtcdBackend` is the implementation, tests use one in memory."""

    async def get(self, key: bytes) -> tuple[Row | None, int]: ...
    async def modified(self, key: bytes) -> int: ...  # the revision of its last modification, 0 when it is not there
    async def page(self, start: bytes, end: bytes, *, limit: int = 0, revision: int = 0) -> Page: ...
    async def commit(
        self, expected: Sequence[Expect], puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> Outcome: ...
    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> Watching: ...
    async def tells_progress(self) -> bool: ...  # whether what a watch is told on request comes after all its events
    async def grant_lease(self, ttl_seconds: int) -> int: ...
    async def keep_lease_alive(self, lease: int) -> int: ...
    async def revoke_lease(self, lease: int) -> None: ...
    async def compact(self, revision: int) -> None: ...
    async def close(self) -> None: ...
