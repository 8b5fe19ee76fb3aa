"""Random watchers, slow streams, compactions and snapshots: every watcher sees each of its events once and in order."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kvstore.api import watch_hub
from kvstore.api.interest import Index, Interest, prefix_end
from kvstore.api.watch_hub import Watcher, WatchHub
from kvstore.mvcc import commands, layout
from kvstore.mvcc.state import StateMachine
from kvstore.pb import rpc_pb2 as rpc
from kvstore.storage.memory import MemoryStore

KEYS = (b"a", b"a/1", b"a/2", b"b", b"b/1", b"\xff")
RANGES = ((b"a", b"a\0"), (b"a", b"b"), (b"a/", b"a0"), (b"\0", None), (b"a/1", b"b/1"), (b"\xff", None))


class Stream:
    """A stream whose client can stop taking."""

    def __init__(self) -> None:
        self.slow = False
        self.drained: list[Callable[[], None]] = []
        self.seen: dict[Watcher, list[tuple[bool, bytes, int]]] = {}
        self.header: dict[Watcher, int] = {}
        self.compacted: dict[Watcher, int] = {}

    def send_events(self, watcher: Watcher, revision: int, events: list[bytes]) -> None:
        response = rpc.WatchResponse.FromString(b"".join(events))
        for event in response.events:
            assert self.header.get(watcher, 0) < event.kv.mod_revision <= revision, "an event that was said to be sent"
            self.seen.setdefault(watcher, []).append((bool(event.type), event.kv.key, event.kv.mod_revision))
        self.header[watcher] = revision

    def send_progress(self, watcher: Watcher, revision: int) -> None:
        assert revision >= self.header.get(watcher, 0)
        self.header[watcher] = revision

    def cancel_compacted(self, watcher: Watcher, compacted: int) -> None:
        self.compacted[watcher] = compacted

    def is_slow(self) -> bool:
        return self.slow

    def when_drained(self, callback: Callable[[], None]) -> None:
        self.drained.append(callback)

    def drain(self) -> None:
        self.slow = False
        drained, self.drained = self.drained, []
        for callback in drained:
            callback()


class Hub(RuleBasedStateMachine):
    """Events come by turns; the history of what happened is kept beside."""

    @initialize()
    def begin(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.state = StateMachine(MemoryStore(layout.TABLES))
        self.hub = WatchHub(self.state, self.soon.append)
        self.happened: list[tuple[bool, bytes, int]] = []
        self.state.on_turn(
            lambda turn: self.happened.extend(
                (change.is_delete, change.key, revision) for revision, changes in turn.revisions for change in changes
            )
        )
        self.streams = [Stream(), Stream()]
        self.watchers: list[tuple[Watcher, int]] = []

    def apply(self, command: bytes, request: object) -> None:
        payload = request.SerializeToString()  # type: ignore[attr-defined]
        self.state.apply(self.state.applied_index + 1, 1, command + payload)

    @rule(key=st.sampled_from(KEYS), ends_turn=st.booleans())
    def put(self, key: bytes, ends_turn: bool) -> None:
        self.apply(commands.PUT, rpc.PutRequest(key=key))
        if ends_turn:
            self.state.end_of_turn()

    @rule(bounds=st.sampled_from(RANGES))
    def delete(self, bounds: tuple[bytes, bytes | None]) -> None:
        self.apply(commands.DELETE_RANGE, rpc.DeleteRangeRequest(key=bounds[0], range_end=bounds[1] or b"\0"))
        self.state.end_of_turn()

    @rule(
        bounds=st.sampled_from(RANGES),
        stream=st.integers(0, 1),
        start=st.sampled_from([0, 0, 0, -1, -3, -8, 1, 3]),
        previous=st.booleans(),
        no_put=st.booleans(),
    )
    def watch(
        self, bounds: tuple[bytes, bytes | None], stream: int, start: int, previous: bool, no_put: bool
    ) -> None:
        self.state.end_of_turn()
        interest = Interest(*bounds, previous=previous, no_put=no_put)
        first = max(self.hub.revision + 1 + start, 1)
        watcher = Watcher(self.streams[stream], len(self.watchers), interest, first)
        self.watchers.append((watcher, first))
        self.hub.add(watcher)

    @rule(stream=st.integers(0, 1))
    def stall(self, stream: int) -> None:
        self.streams[stream].slow = True

    @rule(stream=st.integers(0, 1))
    def drain(self, stream: int) -> None:
        self.streams[stream].drain()

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        self.apply(commands.COMPACT, rpc.CompactionRequest(revision=max(self.state.revision - back, 1)))
        self.state.end_of_turn()
        while self.state.scrub(3):
            pass

    @rule()
    def replace_by_a_snapshot_of_the_future(self) -> None:
        self.state.end_of_turn()
        self.state.commit()
        other = StateMachine(MemoryStore(layout.TABLES))
        other.restore(self.state.snapshot())
        for key in (b"a/1", b"b"):
            request = commands.PUT + rpc.PutRequest(key=key).SerializeToString()
            other.apply(other.applied_index + 1, 1, request)
            self.happened.append((False, key, other.revision))
        other.commit()
        self.state.restore(other.snapshot())

    @rule()
    def notify_progress(self) -> None:
        self.state.end_of_turn()
        self.hub.notify_progress()

    @rule()
    def run_the_loop(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        self.state.end_of_turn()
        for stream in self.streams:
            stream.drain()
        self.run_the_loop()
        for watcher, first in self.watchers:
            self.check(watcher, first)
        assert self.hub.counts()[1] == 0

    def check(self, watcher: Watcher, first: int) -> None:
        stream = watcher.owner
        assert isinstance(stream, Stream)
        wanted = [
            entry
            for entry in self.happened
            if entry[2] >= first and watcher.interest.covers(entry[1]) and watcher.interest.wants(entry[0])
        ]
        seen = stream.seen.get(watcher, [])
        if watcher in stream.compacted:
            assert seen == wanted[: len(seen)]
        else:
            assert seen == wanted


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_hub, "MAX_SLICE_REVISIONS", 3)
    monkeypatch.setattr(watch_hub, "MAX_SLICE_BYTES", 40)
    monkeypatch.setattr(watch_hub, "MAX_RESPONSE_BYTES", 40)


Hub.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class TestEveryWatcherSeesItsEventsOnceAndInOrder(Hub.TestCase):  # type: ignore[misc]
    @pytest.fixture(autouse=True)
    def _small(self, small_slices: None) -> None:
        """Slices of a few revisions, so that they meet."""


BYTES = st.binary(max_size=3)


@given(interests=st.lists(st.tuples(BYTES, st.one_of(st.none(), BYTES, st.just("point"), st.just("prefix")))), key=BYTES)
def test_the_index_finds_exactly_the_ranges_that_cover_a_key(
    interests: list[tuple[bytes, bytes | str | None]], key: bytes
) -> None:
    index: Index[int] = Index()
    added: list[Interest] = []
    for number, (start, kind) in enumerate(interests):
        end = start + b"\0" if kind == "point" else prefix_end(start) if kind == "prefix" else kind
        assert not isinstance(end, str)
        added.append(Interest(start, end))
        index.add(added[-1], number)
    found = sorted(number for _, group in index.matching(key) for number in group)
    assert found == [number for number, interest in enumerate(added) if interest.covers(key)]
    for number, interest in enumerate(added):
        index.remove(interest, number)
    assert list(index.groups()) == []
    assert list(index.matching(key)) == []
