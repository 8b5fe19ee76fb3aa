"""What etcd promises of watches, as nine properties of each stream, checked against what truly happened.

    filter       only events that were asked for             ordered     revisions never go back
    unique       no event twice                               atomic      the events of a revision come together
    resumable    nothing before the start                     reliable    nothing between two events is missing
    bookmarkable after a progress notice at r nothing at or before r comes, and nothing up to r is missing
    is-create    version and create revision are true         previous    the key-value before the change is the true one

The properties are those that etcd's own robustness tests name. A cancellation for compaction must be true, too: the
watcher's next event was at or before the compacted revision.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from chaos.watching import Event, Stream

__all__ = ["check"]


def check(streams: Iterable[Stream], events: Sequence[Event], compacted: int = 0) -> list[str]:
    """Return a line per broken promise. `events`: all that ever happened, by revision, each with its `previous`.

    `compacted`: up to where the history was dropped, at any time: a previous value from there may be missing.
    """
    truth = _Truth(events, compacted)
    return [f"{stream.watcher} on {stream.member}: {text}" for stream in streams for text in _of_stream(stream, truth)]


class _Truth:
    """The events by revision."""

    def __init__(self, events: Sequence[Event], compacted: int) -> None:
        self.compacted = compacted
        self._events = events
        self._revisions = [event.revision for event in events]

    def between(self, first: int, last: int) -> Sequence[Event]:
        """Those of revisions `first` to `last`, both included."""
        return self._events[bisect_left(self._revisions, first) : bisect_right(self._revisions, last)]


def _of_stream(stream: Stream, truth: _Truth) -> Iterator[str]:
    next_revision = stream.start_revision  # what has not been told yet begins here
    fragments: list[Event] = []
    for response in stream.responses:
        if response.is_created:
            next_revision = next_revision or response.revision + 1
        elif response.compact_revision:
            if response.compact_revision < next_revision:
                yield f"cancelled for compaction at {response.compact_revision}, but its next revision was {next_revision}"
            return
        elif response.is_progress:
            yield from _missing(stream, truth, next_revision, response.revision, "bookmarkable: progress says so")
            next_revision = max(next_revision, response.revision + 1)
        else:
            fragments += response.events
            if response.is_fragment:
                continue
            yield from _of_events(stream, truth, next_revision, tuple(fragments))
            next_revision = max(next_revision, fragments[-1].revision + 1)
            fragments = []


def _of_events(stream: Stream, truth: _Truth, first: int, events: tuple[Event, ...]) -> Iterator[str]:
    for event in events:
        if not stream.wants(event):
            yield f"filter: {event} was not asked for"
    revisions = [event.revision for event in events]
    if revisions != sorted(revisions):
        yield f"ordered: {revisions}"
    if revisions[0] < first:
        yield f"resumable or unique: an event at {revisions[0]}, all before {first} had been told or not been asked for"
        return
    expected = [event for event in truth.between(first, revisions[-1]) if stream.wants(event)]
    if [(event.revision, event.key) for event in events] != [(event.revision, event.key) for event in expected]:
        yield from _difference(events, expected)
        return
    for told, true in zip(events, expected, strict=True):
        may_lack = not stream.with_previous or (told.previous is None and true.revision <= truth.compacted + 1)
        wanted = replace(true, previous=None) if may_lack else true
        if told != wanted:
            yield f"is-create or previous: {told} is not {wanted}"


def _difference(events: Sequence[Event], expected: Sequence[Event]) -> Iterator[str]:
    told = {(event.revision, event.key) for event in events}
    true = {(event.revision, event.key) for event in expected}
    if len(told) < len(events):
        yield f"unique: the same event twice among revisions {events[0].revision} to {events[-1].revision}"
    if true - told:
        yield f"reliable or atomic: never told of {sorted(true - told)[:3]}"
    if told - true:
        yield f"never happened: {sorted(told - true)[:3]}"
    if told == true and len(told) == len(events):
        yield f"ordered: the events of revisions {events[0].revision} to {events[-1].revision} are in another order"


def _missing(stream: Stream, truth: _Truth, first: int, last: int, why: str) -> Iterator[str]:
    missed = [event for event in truth.between(first, last) if stream.wants(event)]
    if missed:
        yield f"{why}, but {missed[0]} was never told"
