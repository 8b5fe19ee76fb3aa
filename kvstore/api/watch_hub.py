"""All watchers of a member: synced, behind, or waiting for a revision that is yet to come.

At the end of a turn its events are encoded once for each group of synced watchers with the same interest, and sent.
A watcher that starts in the past, or whose client takes its messages too slowly, is *behind*: it knows the first revision
it has not been sent, and is fed from the stored history in slices between other work of the loop, all that need the
same stretch together. So a slow client costs its own backlog (bounded by MAX_PENDING_BYTES and one slice) and nobody
else's time, and no watcher misses, repeats or reorders an event. One that needs what is compacted is cancelled.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from kvstore.api.interest import Index, Interest
from kvstore.mvcc import wire
from kvstore.mvcc.state import StateMachine
from kvstore.mvcc.working import Change, Turn

__all__ = ["Batch", "WatchHub", "Watcher", "WatcherOwner"]

MAX_PENDING_BYTES = 1 << 20  # a stream that holds more unsent bytes is slow
MAX_SLICE_REVISIONS = 1000
MAX_SLICE_BYTES = 1 << 20  # a slice ends with the revision that passes it
MAX_RESPONSE_BYTES = 512 << 10  # responses are cut between revisions above it

Batch = list[tuple[int, list[bytes]]]  # (revision, events as fields of a WatchResponse), in order


class WatcherOwner(Protocol):
    """The stream a watcher lives on."""

    def send_events(self, watcher: "Watcher", revision: int, events: list[bytes]) -> None:
        """Send one response. `events` are encoded fields; everything up to `revision`, its header's, has been sent."""

    def send_progress(self, watcher: "Watcher", revision: int) -> None:
        """Tell an idle watcher that nothing up to `revision` is missing."""

    def cancel_compacted(self, watcher: "Watcher", compacted: int) -> None:
        """Tell a watcher, already removed, that what it needs is gone."""

    def is_slow(self) -> bool:
        """Tell whether more than MAX_PENDING_BYTES wait for the client."""

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once nothing waits any more (maybe never: the stream may die)."""


class Watcher:
    """One watch of a stream. Mutable: the hub moves it between its sets."""

    __slots__ = ("fragment", "interest", "is_synced", "next_revision", "owner", "progress_notify", "was_sent", "watch_id")

    def __init__(
        self,
        owner: WatcherOwner,
        watch_id: int,
        interest: Interest,
        next_revision: int,
        *,
        progress_notify: bool = False,
        fragment: bool = False,
    ) -> None:
        self.owner = owner
        self.watch_id = watch_id
        self.interest = interest
        self.next_revision = next_revision  # first one not sent; of a synced watcher the hub's own
        self.progress_notify = progress_notify
        self.fragment = fragment
        self.is_synced = False
        self.was_sent = False  # something, since the last progress interval


class WatchHub:
    """`soon` runs a function in a later turn of the loop (loop.call_soon)."""

    def __init__(self, state: StateMachine, soon: Callable[[Callable[[], None]], object]) -> None:
        self._state = state
        self._soon = soon
        self._revision = state.revision  # what synced watchers have been sent
        self._synced: Index[Watcher] = Index()
        self._behind: dict[Watcher, None] = {}
        self._future: dict[Watcher, None] = {}
        self._blocked: dict[Watcher, None] = {}  # behind, and its stream is slow
        self._is_scheduled = False
        state.on_turn(self._on_turn)

    @property
    def revision(self) -> int:
        """Everything up to this revision has been handed to the synced watchers."""
        return self._revision

    def counts(self) -> tuple[int, int]:
        """Return how many watchers there are, and how many of them are behind."""
        synced = sum(len(group) for _, group in self._synced.groups())
        behind = len(self._behind) + len(self._blocked)
        return synced + behind + len(self._future), behind

    def add(self, watcher: Watcher) -> None:
        """Take in a new watcher; what it wants from the past comes in later turns of the loop."""
        if watcher.next_revision > self._revision + 1:
            self._future[watcher] = None
        elif watcher.next_revision == self._revision + 1:
            self._join(watcher)
        else:
            self._fall_behind(watcher, watcher.next_revision)

    def remove(self, watcher: Watcher) -> None:
        """Forget a watcher."""
        if watcher.is_synced:
            self._synced.remove(watcher.interest, watcher)
            watcher.is_synced = False
        self._behind.pop(watcher, None)
        self._future.pop(watcher, None)
        self._blocked.pop(watcher, None)

    def _join(self, watcher: Watcher) -> None:
        watcher.is_synced = True
        self._synced.add(watcher.interest, watcher)

    def _fall_behind(self, watcher: Watcher, next_revision: int) -> None:
        self.remove(watcher)
        watcher.next_revision = next_revision
        if watcher.owner.is_slow():
            self._blocked[watcher] = None
            watcher.owner.when_drained(lambda: self._unblock(watcher))
        else:
            self._behind[watcher] = None
            self._schedule()

    def _unblock(self, watcher: Watcher) -> None:
        if watcher in self._blocked:
            del self._blocked[watcher]
            self._behind[watcher] = None
            self._schedule()

    # ---- the present ----------------------------------------------------------------------------------------------

    def _on_turn(self, turn: Turn) -> None:
        if turn.restored:
            self._rewind(turn.revision)
            return
        if not turn.revisions:
            return
        first = self._revision + 1
        self._revision = turn.revision
        for batch, group in self._wanted(turn).values():
            for watcher in list(group):
                if watcher.owner.is_slow():
                    self._fall_behind(watcher, first)
                else:
                    _send(watcher, batch, turn.revision)
        for watcher in [one for one in self._future if one.next_revision <= turn.revision + 1]:
            del self._future[watcher]
            self.add(watcher)

    def _wanted(self, turn: Turn) -> dict[Interest, tuple[Batch, dict[Watcher, None]]]:
        """Return what each group is to be sent, encoded once."""
        wanted: dict[Interest, tuple[Batch, dict[Watcher, None]]] = {}
        for revision, changes in turn.revisions:
            for change in changes:
                plain = full = None
                for interest, group in self._synced.matching(change.key):
                    if not interest.wants(change.is_delete):
                        continue
                    if interest.previous:
                        encoded = full = full or _encode(change)
                    else:
                        encoded = plain = plain or _encode(change._replace(previous=None))
                    _append(wanted.setdefault(interest, ([], group))[0], revision, encoded)
        return wanted

    def _rewind(self, revision: int) -> None:
        """The whole state was replaced by a later one: what lies between is read from the history, if it is there."""
        first, self._revision = self._revision + 1, revision
        for watcher in [one for _, group in self._synced.groups() for one in group]:
            self._fall_behind(watcher, first)
        for watcher in list(self._future):
            del self._future[watcher]
            self.add(watcher)

    # ---- the past -------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._behind and not self._is_scheduled:
            self._is_scheduled = True
            self._soon(self._catch_up)

    def _catch_up(self) -> None:
        """Feed one slice of the history to those that are behind."""
        self._is_scheduled = False
        self._cancel_compacted()
        for watcher in [one for one in self._behind if one.owner.is_slow()]:
            self._fall_behind(watcher, watcher.next_revision)
        if not self._behind:
            return
        first = min(watcher.next_revision for watcher in self._behind)
        last = min(first + MAX_SLICE_REVISIONS - 1, self._revision)
        hungry = [watcher for watcher in self._behind if watcher.next_revision <= last]
        batches, last = self._read({watcher.interest for watcher in hungry}, first, last)
        for watcher in hungry:
            if watcher.next_revision <= last:
                due = [entry for entry in batches[watcher.interest] if entry[0] >= watcher.next_revision]
                watcher.next_revision = last + 1
                _send(watcher, due, last)
        for watcher in [one for one in self._behind if one.next_revision > self._revision]:
            del self._behind[watcher]
            self._join(watcher)
        self._schedule()

    def _cancel_compacted(self) -> None:
        compacted = self._state.compacted
        for watcher in [*self._behind, *self._blocked]:
            if watcher.next_revision < compacted:
                self.remove(watcher)
                watcher.owner.cancel_compacted(watcher, compacted)

    def _read(self, interests: set[Interest], first: int, last: int) -> tuple[dict[Interest, Batch], int]:
        """Return the events of the revisions `first` to the returned one, which is `last` unless the slice is full."""
        batches: dict[Interest, Batch] = {interest: [] for interest in interests}
        size = 0
        for revision, names in self._state.events(first, last):
            for is_delete, key in names:
                takers = [one for one in interests if one.covers(key) and one.wants(is_delete)]
                for with_previous in {interest.previous for interest in takers}:
                    change = self._state.change(revision, is_delete, key, with_previous=with_previous)
                    encoded = _encode(change)
                    size += len(encoded)
                    for interest in takers:
                        if interest.previous == with_previous:
                            _append(batches[interest], revision, encoded)
            if size > MAX_SLICE_BYTES:
                return batches, revision
        return batches, last

    # ---- progress -------------------------------------------------------------------------------------------------

    def notify_progress(self) -> None:
        """Once an interval: tell synced watchers that asked for it, and got nothing since the last time."""
        for _, group in self._synced.groups():
            for watcher in group:
                if watcher.progress_notify and not watcher.was_sent and not watcher.owner.is_slow():
                    watcher.owner.send_progress(watcher, self._revision)
                watcher.was_sent = False


def _encode(change: Change) -> bytes:
    """Return the event as field 11 of a WatchResponse."""
    return wire.message_field(b"\x5a", wire.event(change.is_delete, change.key_value, change.previous))


def _append(batch: Batch, revision: int, encoded: bytes) -> None:
    if batch and batch[-1][0] == revision:
        batch[-1][1].append(encoded)
    else:
        batch.append((revision, [encoded]))


def _send(watcher: Watcher, batch: Batch, revision: int) -> None:
    """Send a batch whose last response may say that everything up to `revision` has been sent."""
    if batch:
        watcher.was_sent = True
    for header_revision, events in _responses(batch, revision):
        watcher.owner.send_events(watcher, header_revision, events)


def _responses(batch: Batch, revision: int) -> Iterator[tuple[int, list[bytes]]]:
    """Join whole revisions into responses of bounded size."""
    joined: list[bytes] = []
    size = 0
    for place, (_, events) in enumerate(batch):
        joined += events
        size += sum(map(len, events))
        is_last = place == len(batch) - 1
        if is_last or size >= MAX_RESPONSE_BYTES:
            yield (revision if is_last else batch[place][0]), joined
            joined, size = [], 0


