"""The watch checker passes what a right store tells and catches each of the nine broken promises."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.checkers.watch import check
from chaos.watching import Event, Response, Stream


def history(random: Random, revisions: int) -> list[Event]:
    """What a store with three keys did; some revisions change several keys."""
    latest: dict[str, Event] = {}
    events = []
    for revision in range(2, revisions + 2):
        for key in sorted(random.sample("abc", random.choice((1, 1, 2)))):
            before = latest.get(key)
            lives = before is not None and not before.is_delete
            previous = before.revision if lives and before else None
            if lives and random.random() < 0.3:
                event = Event(revision, key, True, previous=previous)
            elif lives and before:
                event = Event(revision, key, False, f"v{revision}", before.create_revision, before.version + 1, previous)
            else:
                event = Event(revision, key, False, f"v{revision}", revision, 1)
            latest[key] = event
            events.append(event)
    return events


def told(random: Random, events: list[Event], stream: Stream) -> Stream:
    """What a right store tells this watcher, in messages of random size, with progress notices between them."""
    newest = events[-1].revision
    begin = stream.start_revision or random.randrange(1, newest + 1)
    stream.responses.append(Response(begin - 1 if not stream.start_revision else newest, is_created=True))
    batch: list[Event] = []
    for revision in range(begin, newest + 1):
        batch += [event for event in events if event.revision == revision and stream.wants(event)]
        if random.random() < 0.4:
            flush(stream, batch, revision)
            if random.random() < 0.5:
                stream.responses.append(Response(revision))
    flush(stream, batch, newest)
    return stream


def flush(stream: Stream, batch: list[Event], revision: int) -> None:
    if batch:
        shown = batch if stream.with_previous else [replace(event, previous=None) for event in batch]
        stream.responses.append(Response(revision, tuple(shown)))
        batch.clear()


@given(st.integers(0, 100_000))
def test_a_right_stream_passes(seed: int) -> None:
    random = Random(seed)
    events = history(random, 30)
    stream = Stream("w", "m", random.choice("ab"), random.choice(("", "c", "\0")), random.choice((0, 1, 9)),
                    with_previous=random.random() < 0.5, no_put=random.random() < 0.2, no_delete=random.random() < 0.2)
    assert check([told(random, events, stream)], events) == []


def spoiled(change: Callable[[list[Response]], None]) -> list[str]:
    random = Random(7)
    events = history(random, 30)
    stream = Stream("w", "m", "a", "\0", 3, with_previous=True)
    stream.responses.append(Response(events[-1].revision, is_created=True))
    for revision in range(3, events[-1].revision + 1):
        flush(stream, [event for event in events if event.revision == revision], revision)
    change(stream.responses)
    return check([stream], events)


def edit(place: int, **changes: object) -> Callable[[list[Response]], None]:
    def change(responses: list[Response]) -> None:
        events = responses[place].events
        responses[place] = replace(responses[place], events=(replace(events[0], **changes), *events[1:]))  # type: ignore[arg-type]

    return change


def swap(responses: list[Response]) -> None:
    responses[4], responses[5] = responses[5], responses[4]


def shorten(responses: list[Response]) -> None:
    place = next(i for i, response in enumerate(responses) if len(response.events) > 1)
    responses[place] = replace(responses[place], events=responses[place].events[:1])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda responses: responses.pop(6), "reliable"),
        (lambda responses: responses.insert(6, responses[5]), "resumable or unique"),
        (swap, "resumable or unique"),
        (shorten, "reliable or atomic"),
        (lambda responses: responses.insert(5, Response(responses[-1].revision)), "bookmarkable"),
        (lambda responses: responses.insert(1, Response(9, (Event(2, "a", False, "x"),))), "resumable"),
        (edit(8, version=77), "is-create"),
        (edit(8, create_revision=1), "is-create"),
        (edit(12, previous=1), "previous"),
        (edit(5, value="another"), "is-create"),
        (edit(5, key="zz"), "happened"),
        (lambda responses: responses.append(Response(0, compact_revision=5)), "cancelled"),
    ],
)  # fmt: skip
def test_a_lie_is_caught(change: Callable[[list[Response]], object], word: str) -> None:
    found = spoiled(change)  # type: ignore[arg-type]
    assert found
    assert word in " ".join(found)


def test_an_event_that_was_not_asked_for_is_caught() -> None:
    events = [Event(2, "a", False, "x", 2, 1), Event(3, "b", False, "y", 3, 1)]
    stream = Stream("w", "m", "a", "", 2)
    stream.responses = [Response(3, is_created=True), Response(3, tuple(events))]
    assert any("filter" in text for text in check([stream], events))


def test_a_previous_value_may_be_missing_only_where_compaction_took_it() -> None:
    events = [Event(2, "a", False, "x", 2, 1), Event(3, "a", False, "y", 2, 2, previous=2)]
    stream = Stream("w", "m", "a", "", 3, with_previous=True)
    stream.responses = [Response(3, is_created=True), Response(3, (replace(events[1], previous=None),))]
    assert check([stream], events, compacted=1)
    assert check([stream], events, compacted=2) == []
