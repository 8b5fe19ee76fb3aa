"""The object store and the watch cache on the store in memory: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.apiserver.registry.fields import fields_of
from controlplane.apiserver.storage import codec, layout, pages
from controlplane.apiserver.storage.backend import Expect, Outcome, OutcomeUnknown, Put
from controlplane.apiserver.storage.cache import TooOld, WatchCache
from controlplane.apiserver.storage.store import Also, CompanionTaken, ObjectStore, Write
from controlplane.apiserver.storage.subscription import MAX_PENDING_EVENTS, Subscription
from controlplane.objects import status
from controlplane.objects.kinds import CONFIG_MAPS
from tests.controlplane.apiserver.examples import config_map
from tests.controlplane.apiserver.memory import MemoryBackend

KEY = "/registry/configmaps/default/a"
PREFIX = "/registry/configmaps/"


def _missing() -> status.ApiError:
    return status.not_found(CONFIG_MAPS, "a")


class Unsure(MemoryBackend):
    """Every other write answers that its outcome is unknown; whether it was applied alternates, too."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    async def commit(
        self, expected: Sequence[Expect], puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> Outcome:
        self.writes += 1
        if self.writes % 4 == 1:
            await super().commit(expected, puts, deletes)
            raise OutcomeUnknown("applied")
        if self.writes % 4 == 3:
            raise OutcomeUnknown("not applied")
        return await super().commit(expected, puts, deletes)


async def test_a_write_of_unknown_outcome_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.apiserver.storage.store.UNKNOWN_PAUSE_SECONDS", 0)
    backend = Unsure()
    store = ObjectStore(backend)
    for at in range(4):
        entry = await store.create(f"{KEY}{at}", config_map(f"a{at}"))
        assert entry is not None and backend.rows[entry.key].revision == entry.revision

    async def count(current: codec.Object) -> Write:
        seen = int(current["data"].get("n", "0"))
        return Write({**current, "data": {"n": str(seen + 1)}})

    for _ in range(10):
        changed = await store.change(f"{KEY}0", count, _missing)
    assert changed.object["data"] == {"n": "10"}
    assert (await store.get(f"{KEY}0")) is not None

    async def remove(current: codec.Object) -> Write:
        return Write(None)

    for at in range(4):
        assert (await store.change(f"{KEY}{at}", remove, _missing)).removed
    assert not backend.rows


async def test_changes_that_race_are_all_applied() -> None:
    store = ObjectStore(MemoryBackend())
    await store.create(KEY, config_map("a"))

    async def count(current: codec.Object) -> Write:
        await asyncio.sleep(0)
        return Write({**current, "data": {"n": str(int(current["data"].get("n", "0")) + 1)}})

    await asyncio.gather(*(store.change(KEY, count, _missing) for _ in range(8)))
    entry = await store.get(KEY)
    assert entry is not None and entry.object()["data"] == {"n": "8"}


async def test_a_stale_suggestion_is_read_again() -> None:
    store = ObjectStore(MemoryBackend())
    stale = await store.create(KEY, config_map("a", n="1"))

    async def once(current: codec.Object) -> Write:
        return Write({**current, "data": {"n": current["data"]["n"] + "x"}})

    await store.change(KEY, once, _missing)
    changed = await store.change(KEY, once, _missing, suggestion=stale)
    assert changed.object["data"] == {"n": "1xx"}


async def test_a_taken_companion_is_named_and_nothing_is_written() -> None:
    backend = MemoryBackend()
    store = ObjectStore(backend)
    await backend.commit((), [Put(b"/ip/1", b"taken")])
    also = Also((Expect(b"/ip/1", 0),), (Put(b"/ip/1", b"mine"),))
    with pytest.raises(CompanionTaken) as caught:
        await store.create(KEY, config_map("a"), also=also)
    assert caught.value.key == b"/ip/1" and await store.get(KEY) is None


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, values, max_size=4), st.dictionaries(names, values, max_size=4), st.integers(1, 2**60))
def test_splicing_a_revision_is_decoding_and_setting_it(
    metadata: dict[str, Any], body: dict[str, Any], revision: int
) -> None:
    metadata = {name: value for name, value in metadata.items() if name not in ("resourceVersion", "selfLink")}
    obj = {**body, "apiVersion": "v1", "kind": "K", "metadata": metadata}
    stored = codec.encode(obj)
    spliced = codec.splice(stored, revision)
    assert codec.decode(spliced) == codec.with_revision(obj, revision)
    assert codec.unsplice(spliced) == stored


@given(st.binary(min_size=1).filter(lambda key: key.strip(b"\xff")), st.binary())
def test_the_end_of_a_prefix_is_after_all_its_keys(prefix: bytes, rest: bytes) -> None:
    end = layout.prefix_end(prefix)
    assert prefix <= prefix + rest < end


@given(st.integers(1, 2**60), st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1))
def test_a_continue_token_is_read_back(revision: int, start: str) -> None:
    position = pages.Position(revision, start)
    if ".." not in start.split("/"):
        assert pages.decode(pages.encode(position)) == position


class Model:
    """What a watcher knows: names to data, by applying events; it complains of events that cannot be."""

    def __init__(self) -> None:
        self.state: dict[str, str] = {}
        self.revision = 0

    def apply(self, kind: str, obj: codec.Object) -> None:
        name, revision = obj["metadata"]["name"], int(obj["metadata"]["resourceVersion"])
        assert revision >= self.revision, "events out of order"
        self.revision = revision
        if kind == "ADDED":
            assert name not in self.state
        else:
            assert name in self.state
        if kind == "DELETED":
            del self.state[name]
        else:
            self.state[name] = obj["data"]["n"]


steps = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=25)


@given(steps, st.integers(0, 25))
def test_a_watcher_with_a_selector_knows_what_a_list_would_show(changes: list[tuple[str, int]], begin: int) -> None:
    """0 deletes, 1-3 write; the selector takes 2 and 3."""
    asyncio.run(_play(changes, begin))


async def _play(changes: list[tuple[str, int]], begin: int) -> None:
    backend = MemoryBackend()
    cache = WatchCache(backend, PREFIX, fields_of("", "configmaps"))
    cache.open()
    await cache.ready()
    model = Model()
    subscription: Subscription | None = None

    def chosen(entry: Any) -> bool:
        return entry.object()["data"]["n"] in ("2", "3")

    for at, (name, number) in enumerate(changes):
        if at == begin:
            subscription = Subscription(PREFIX.encode(), chosen)
            for row in backend.rows.values():
                obj = codec.decode(codec.splice(row.value, row.revision))
                if obj["data"]["n"] in ("2", "3"):
                    model.state[name_of(obj)] = obj["data"]["n"]
            cache.subscribe(subscription, backend.revision)
        key = f"{PREFIX}default/{name}".encode()
        if number:
            await backend.commit((), [Put(key, codec.encode(config_map(name, n=str(number))))])
        else:
            await backend.commit((), (), [key])
        if at % 3 == 0:
            await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    if subscription is not None:
        for kind, entry in subscription.take():
            model.apply(kind, entry.object())
        rows = [codec.decode(row.value) for row in backend.rows.values()]
        assert model.state == {name_of(obj): obj["data"]["n"] for obj in rows if obj["data"]["n"] in ("2", "3")}
    await cache.close()


def name_of(obj: codec.Object) -> str:
    found: str = obj["metadata"]["name"]
    return found


async def test_a_watcher_that_does_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.apiserver.storage.subscription.MAX_PENDING_EVENTS", 5)
    assert MAX_PENDING_EVENTS > 5
    backend = MemoryBackend()
    cache = WatchCache(backend, PREFIX, fields_of("", "configmaps"))
    cache.open()
    await cache.ready()
    subscription = Subscription(PREFIX.encode())
    told: list[str] = []
    subscription.on_overflow = lambda: told.append("too slow")
    cache.subscribe(subscription, backend.revision)
    for at in range(7):
        await backend.commit((), [Put(f"{PREFIX}default/{at}".encode(), codec.encode(config_map(str(at))))])
    for _ in range(5):
        await asyncio.sleep(0)
    assert subscription.ended and told == ["too slow"]
    assert not subscription.pending, "what nobody reads is not kept"
    await cache.close()


async def test_a_cache_that_lost_history_lists_again_and_ends_its_watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.apiserver.storage.cache.RETRY_SECONDS", 0)
    backend = MemoryBackend()
    cache = WatchCache(backend, PREFIX, fields_of("", "configmaps"))
    cache.open()
    await cache.ready()
    subscription = Subscription(PREFIX.encode())
    cache.subscribe(subscription, backend.revision)
    await backend.commit((), [Put(f"{PREFIX}default/a".encode(), codec.encode(config_map("a")))])
    await backend.compact(backend.revision + 5)
    backend.revision += 6
    backend.wake()
    for _ in range(20):
        await asyncio.sleep(0)
    assert subscription.ended and len(cache) == 1
    with pytest.raises(TooOld):
        cache.subscribe(Subscription(PREFIX.encode()), 1)
    await cache.close()


async def test_a_cache_that_is_asked_for_a_lost_past_begins_at_the_present() -> None:
    backend = MemoryBackend()
    for at in range(3):
        await backend.commit((), [Put(f"{PREFIX}default/{at}".encode(), codec.encode(config_map(str(at))))])
    await backend.compact(backend.revision)
    cache = WatchCache(backend, PREFIX, fields_of("", "configmaps"))
    cache.open(from_revision=2)
    async with asyncio.timeout(0.3):  # less than the pause after a failure
        await cache.ready()
    assert len(cache) == 3
    await cache.close()


async def test_bookmarks_follow_the_store_when_the_resource_is_quiet() -> None:
    backend = MemoryBackend()
    cache = WatchCache(backend, PREFIX, fields_of("", "configmaps"))
    cache.open()
    await cache.ready()
    before = cache.revision
    await backend.commit((), [Put(b"/registry/secrets/default/a", b"{}")])
    await cache.ask_progress()
    for _ in range(5):
        await asyncio.sleep(0)
    await cache.ask_progress()
    for _ in range(5):
        await asyncio.sleep(0)
    assert cache.revision == backend.revision > before
    await cache.close()
