"""The watch cache of one resource: one store watch, shared by every watcher and by reads that may be a little old.

It lists once, then follows the store. Recent events stay in a ring, so that a watcher may begin in the past; older ones
are told `Expired`. Events are filtered per watcher, their bytes are made once. A watcher that does not read is bounded
(`MAX_PENDING_EVENTS`) and then ended; nothing here ever waits for a watcher.

A watcher may begin at a revision that this cache has not reached yet (it came from a consistent list): events up to
that revision are simply not for it.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controlplane.apiserver.storage.backend import Backend, Change, RevisionCompacted, Watching
from controlplane.apiserver.storage.entry import Entry, FieldsOf
from controlplane.apiserver.storage.layout import prefix_end
from controlplane.apiserver.storage.subscription import Pin, Subscription
from controlplane.objects.status import ApiError

RING_EVENTS: Final = 4096
FRAMED_EVENTS: Final = 256  # the last events whose watch lines are kept made
LIST_PAGE_ROWS: Final = 2000
RETRY_SECONDS: Final = 0.5
CATCH_UP_SECONDS: Final = 0.2  # that a consistent list waits for the cache before it reads the store itself

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One change: the entry after it (for a deletion: as it was, with the deletion's revision) and the entry before."""

    revision: int
    deleted: bool
    entry: Entry
    previous: Entry | None


class TooOld(Exception):
    """The ring no longer reaches back to the revision asked for; `oldest` is the first that a watch may begin after."""

    def __init__(self, oldest: int) -> None:
        super().__init__(oldest)
        self.oldest = oldest


class WatchCache:
    """All objects under one prefix, kept by a store watch."""

    def __init__(self, backend: Backend, prefix: str, fields_of: FieldsOf) -> None:
        self._backend = backend
        self._start = prefix.encode()
        self._end = prefix_end(self._start)
        self._fields_of = fields_of
        self._entries: dict[bytes, Entry] = {}
        self._sorted: list[bytes] | None = None
        self._ring: deque[Event] = deque()
        self._framed: deque[Entry] = deque(maxlen=FRAMED_EVENTS)
        self._floor = 0
        self._subscriptions: set[Subscription] = set()
        self._pinned: dict[Pin, set[Subscription]] = {}
        self._listeners: list[Callable[[Event | None], None]] = []
        self._ready = asyncio.Event()
        self._news = asyncio.Event()  # the first list is in, or failed for good
        self._broken: ApiError | None = None
        self._task: asyncio.Task[None] | None = None
        self._watching: Watching | None = None
        self._asked_progress_at = 0
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []
        self._asking: asyncio.Task[None] | None = None
        self.revision = 0  # everything up to here has been seen

    # Life

    def open(self, from_revision: int = 0) -> None:
        """Begin to follow the store, from the state at `from_revision` when it is still there."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(from_revision))

    async def ready(self) -> None:
        """Return once the first list is in; raises the 500 of an object that cannot be read, which no waiting heals."""
        while not self._ready.is_set():
            if self._broken is not None:
                raise self._broken
            await self._news.wait()

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    async def close(self) -> None:
        """Stop following; every watcher ends."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._end_subscriptions()

    def _end_subscriptions(self) -> None:
        for subscription in list(self._subscriptions):
            subscription.end()

    async def _run(self, from_revision: int) -> None:
        wanted = from_revision
        while True:
            begins_in_the_past, revision, wanted = wanted > 0, wanted, 0
            try:
                await self._list(revision)
                begins_in_the_past = False
                await self._follow()
            except (RevisionCompacted, ApiError) as error:
                logger.debug("watch cache of %s begins anew: %s", self._start.decode(), error)
                if isinstance(error, ApiError) and error.code == 500:
                    logger.error("watch cache of %s: %s", self._start.decode(), error.message)
                    self._broken = error
                    self._news.set()
                if begins_in_the_past:
                    continue  # that past is not there: the present is
            except Exception:
                logger.exception("watch cache of %s failed", self._start.decode())
            await asyncio.sleep(RETRY_SECONDS)

    async def _list(self, revision: int) -> None:
        entries: dict[bytes, Entry] = {}
        start = self._start
        while True:
            page = await self._backend.page(start, self._end, limit=LIST_PAGE_ROWS, revision=revision)
            revision = page.revision
            for row in page.rows:
                old = self._entries.get(row.key)
                same = old is not None and old.revision == row.revision
                entries[row.key] = old if same and old else Entry.from_stored(row.key, row.value, row.revision)
            if not page.more:
                break
            start = page.rows[-1].key + b"\x00"
        # Watchers of a lost past cannot be told what they missed: they end and begin again.
        self._end_subscriptions()
        self._entries, self._sorted = entries, None
        self._ring.clear()
        self._floor = self.revision = revision
        self._broken = None
        self._ready.set()
        self._news.set()
        for listener in self._listeners:
            listener(None)

    async def _follow(self) -> None:
        self._watching = self._backend.watch(self._start, self._end, after_revision=self.revision)
        try:
            async for changes in self._watching:
                for change in changes.events:
                    self._on_change(change)
                self.revision = max(self.revision, changes.revision)
                if self._awaited:
                    self._tell_awaited()
        finally:
            self._watching.cancel()
            self._watching = None

    # Events

    def _on_change(self, change: Change) -> None:
        previous = self._entries.get(change.key)
        if change.deleted:
            if previous is None:
                return
            del self._entries[change.key]
            self._sorted = None
            entry = previous.at_revision(change.revision)
        else:
            entry = Entry.from_stored(change.key, change.value, change.revision)
            self._entries[change.key] = entry
            if previous is None:
                self._sorted = None
        event = Event(change.revision, change.deleted, entry, previous)
        self._ring.append(event)
        if len(self._framed) == FRAMED_EVENTS:
            self._framed[0].forget_frames()
        self._framed.append(entry)
        if len(self._ring) > RING_EVENTS:
            self._floor = self._ring.popleft().revision
        self.revision = max(self.revision, change.revision)
        for listener in self._listeners:
            listener(event)
        for subscription in self._interested(event):
            subscription.offer(event)

    def _interested(self, event: Event) -> list[Subscription]:
        if not self._subscriptions:
            return []
        found = list(self._pinned.get(None, ()))
        if len(self._pinned) > 1 or None not in self._pinned:
            pins: set[Pin] = set(event.entry.fields(self._fields_of).items())
            if event.previous is not None:
                pins |= set(event.previous.fields(self._fields_of).items())
            for pin in pins:
                found.extend(self._pinned.get(pin, ()))
        return found

    def listen(self, listener: Callable[[Event | None], None]) -> None:
        """Call back for each event, and with None after each list (everything may have changed)."""
        self._listeners.append(listener)

    # Watchers

    def subscribe(self, subscription: Subscription, after_revision: int) -> None:
        """Give it every event after `after_revision`, past ones at once; raises TooOld."""
        if after_revision < self._floor:
            raise TooOld(self._floor)
        subscription.after_revision = after_revision
        for event in self._ring:
            if event.revision > after_revision:
                subscription.offer(event)
        self._subscriptions.add(subscription)
        self._pinned.setdefault(subscription.pin, set()).add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        pinned = self._pinned.get(subscription.pin)
        if pinned is not None:
            pinned.discard(subscription)
            if not pinned:
                del self._pinned[subscription.pin]

    async def ask_progress(self) -> None:
        """Have the store tell how far this watch has come, when nothing told it since the last time."""
        if self._watching is not None and self._asked_progress_at == self.revision:
            await self._watching.request_progress()
        self._asked_progress_at = self.revision

    async def caught_up(self, revision: int) -> bool:
        """Whether everything up to `revision` has been seen, perhaps in a moment: the store is asked how far it is."""
        if self.revision >= revision:
            return True
        if self._watching is None or not await self._backend.tells_progress():
            return False
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((revision, reached))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_store(self._watching))
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await reached
        except TimeoutError:
            return self.revision >= revision
        finally:
            self._awaited = [one for one in self._awaited if one[1] is not reached]
        return True

    async def _ask_store(self, watching: Watching) -> None:
        try:
            await watching.request_progress()
        except ApiError as error:
            logger.debug("no progress of %s: %s", self._start.decode(), error)

    def _tell_awaited(self) -> None:
        for revision, reached in self._awaited:
            if revision <= self.revision and not reached.done():
                reached.set_result(None)

    # Reads

    def get(self, key: bytes) -> Entry | None:
        return self._entries.get(key)

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self, prefix: bytes = b"") -> list[Entry]:
        """Entries in key order; only keys that begin with `prefix`."""
        if self._sorted is None:
            self._sorted = sorted(self._entries)
        keys, entries = self._sorted, self._entries
        start = bisect_left(keys, prefix) if prefix else 0
        end = bisect_left(keys, prefix_end(prefix)) if prefix else len(keys)
        return [entries[key] for key in keys[start:end]]
