"""The informer against a fake API: the cache always comes to equal the server."""

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.machinery.cache import Cache, Change
from controlplane.machinery.client import ApiError
from controlplane.machinery.informer import Informer, InformerFactory
from controlplane.objects.kinds import CONFIG_MAPS, PODS
from controlplane.objects.meta import key_of
from controlplane.objects.selectors import parse_labels
from tests.controlplane.fakes import FakeApi, run_virtual, settle


def config_map(name: str, value: str = "", namespace: str = "default") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "data": {"value": value}}


def following(api: FakeApi, test: Any, **selection: Any) -> None:
    """Run `test(informer)` beside a running informer."""

    async def main() -> None:
        informer = Informer(api.client(), CONFIG_MAPS, random=Random(1), **selection)
        task = asyncio.ensure_future(informer.run())
        await informer.wait_synced()
        await test(informer)
        task.cancel()

    run_virtual(main())


def names(informer: Informer) -> list[str]:
    return sorted(key_of(obj) for obj in informer.cache)


def test_it_lists_in_pages_and_then_follows() -> None:
    api = FakeApi()
    for number in range(1203):
        api.put(CONFIG_MAPS, config_map(f"m{number}"))

    async def test(informer: Informer) -> None:
        assert len(informer.cache) == 1203
        assert [verb for verb, *_ in api.log].count("list") == 3
        api.remove(CONFIG_MAPS, "m7", "default")
        api.put(CONFIG_MAPS, config_map("new"))
        await settle()
        assert "default/new" in informer.cache and "default/m7" not in informer.cache
        assert informer.revision == api.revision

    following(api, test)


def test_a_broken_watch_goes_on_from_where_it_was_without_listing_again() -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, config_map("a"))

    async def test(informer: Informer) -> None:
        await settle()
        api.disconnect_watches()
        await settle()
        api.put(CONFIG_MAPS, config_map("b"))
        assert await informer.wait_for(lambda: "default/b" in informer.cache, 60)
        assert [verb for verb, *_ in api.log].count("list") == 1

    following(api, test)


def test_after_expiry_it_lists_again_and_reports_the_difference_to_handlers() -> None:
    api = FakeApi()
    for name in ("stays", "goes", "changes"):
        api.put(CONFIG_MAPS, config_map(name))
    changes: list[tuple[str, str]] = []

    async def test(informer: Informer) -> None:
        await settle()
        informer.add_handler(lambda change: changes.append((change.type, change.new["metadata"]["name"])))
        assert [kind for kind, _ in changes] == ["ADDED"] * 3
        changes.clear()
        api.down = True
        api.disconnect_watches()
        api.remove(CONFIG_MAPS, "goes", "default")
        api.put(CONFIG_MAPS, config_map("comes"))
        api.put(CONFIG_MAPS, config_map("changes", "2"))
        api.compact()
        await asyncio.sleep(30)
        api.down = False
        assert await informer.wait_for(lambda: informer.revision == api.revision, 60)
        assert sorted(changes) == [("ADDED", "comes"), ("DELETED", "goes"), ("MODIFIED", "changes")]

    following(api, test)


def test_a_handler_that_fails_stops_neither_the_cache_nor_the_other_handlers() -> None:
    api = FakeApi()

    async def test(informer: Informer) -> None:
        seen: list[Change] = []

        def broken(_: Change) -> None:
            raise RuntimeError("a bug")

        informer.add_handler(broken)
        informer.add_handler(seen.append)
        api.put(CONFIG_MAPS, config_map("a"))
        await settle()
        assert len(seen) == 1 and len(informer.cache) == 1

    following(api, test)


def test_waiting_for_something_that_does_not_come_ends_in_false() -> None:
    async def test(informer: Informer) -> None:
        assert not await informer.wait_for(lambda: False, 5)

    following(FakeApi(), test)


def test_metadata_only_keeps_nothing_but_metadata() -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, config_map("a", "large"))

    async def test(informer: Informer) -> None:
        (found,) = informer.cache
        assert set(found) == {"apiVersion", "kind", "metadata"}

    following(api, test, metadata_only=True)


def test_a_refused_list_is_tried_again() -> None:
    api = FakeApi()
    api.fail_next("list", ApiError(403, "Forbidden", "no"))
    api.put(CONFIG_MAPS, config_map("a"))

    async def test(informer: Informer) -> None:
        assert names(informer) == ["default/a"]

    following(api, test)


def test_nonsense_from_the_server_is_logged_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    api.fail_next("watch", KeyError("resourceVersion"))

    async def test(informer: Informer) -> None:
        api.put(CONFIG_MAPS, config_map("a"))
        assert await informer.wait_for(lambda: "default/a" in informer.cache, 60)
        assert "the watch failed" in caplog.text

    following(api, test)


def test_a_factory_shares_informers_and_stops_them_all() -> None:
    api = FakeApi()

    async def main() -> None:
        factory = InformerFactory(api.client(), random=Random(1))
        assert factory.informer(PODS) is factory.informer(PODS, metadata_only=True)
        assert factory.informer(PODS) is not factory.informer(CONFIG_MAPS)
        assert factory.find(PODS) is factory.informer(PODS)
        factory.start()
        await factory.wait_synced()
        before = len(asyncio.all_tasks())
        await factory.close()
        assert len(asyncio.all_tasks()) == before - 2

    run_virtual(main())


STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 5), st.integers(0, 3)),
    st.tuples(st.just("remove"), st.integers(0, 5), st.just(0)),
    st.tuples(st.sampled_from(["disconnect", "compact", "pause", "down", "up"]), st.just(0), st.just(0)),
)


@settings(max_examples=60)
@given(st.lists(STEP, max_size=40))
def test_whatever_happens_the_cache_comes_to_equal_the_server_and_handlers_agree(steps: list[Any]) -> None:
    api = FakeApi()
    mirror: dict[str, Any] = {}

    def mirror_change(change: Change) -> None:
        key = key_of(change.new)
        assert (change.type == "ADDED") == (key not in mirror)
        if change.type == "DELETED":
            del mirror[key]
        else:
            mirror[key] = change.new

    async def main() -> None:
        informer = Informer(api.client(), CONFIG_MAPS, random=Random(1))
        informer.add_handler(mirror_change)
        task = asyncio.ensure_future(informer.run())
        for step, number, value in steps:
            await act(api, step, f"m{number}", str(value))
        api.down = False
        assert await informer.wait_for(lambda: informer.revision >= api.revision or not api.objects, 100)
        expected = {key_of(obj): obj for obj in api.all(CONFIG_MAPS)}
        assert {key_of(obj): obj for obj in informer.cache} == expected == mirror
        task.cancel()

    run_virtual(main())


async def act(api: FakeApi, step: str, name: str, value: str) -> None:
    if step == "put":
        api.put(CONFIG_MAPS, config_map(name, value))
    elif step == "remove" and ("default", name) in api.objects.get(CONFIG_MAPS, {}):
        api.remove(CONFIG_MAPS, name, "default")
    elif step == "disconnect":
        api.disconnect_watches()
    elif step == "compact":
        api.compact()
    elif step == "pause":
        await settle(5)
    elif step in ("down", "up"):
        api.down = step == "down"


LABELS = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"]), max_size=2)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.none() | LABELS, st.sampled_from(["", "n1", "n2"])), max_size=30),
    st.sampled_from(["a=1", "a in (1,2)", "a", "!a", "a=1,b=2", "b!=1", ""]),
)
def test_indexes_give_what_a_scan_would_give(steps: list[Any], selector: str) -> None:
    cache = Cache(PODS)
    for revision, (number, labels, node) in enumerate(steps):
        key = f"ns/p{number}"
        if labels is None:
            cache.remove(key)
            continue
        owner = [{"uid": f"owner-{node}"}] if node else []
        metadata = {"name": f"p{number}", "namespace": "ns", "labels": labels, "ownerReferences": owner}
        cache.put({"metadata": {**metadata, "resourceVersion": str(revision + 1)}, "spec": {"nodeName": node}})
        cache.by_node("n1"), cache.by_owner("owner-n1"), cache.by_label("a", "1")  # the indexes live from here on
    parsed = parse_labels(selector)

    def scan(matches: Any) -> list[str]:
        return sorted(key_of(obj) for obj in cache if matches(obj))

    def found(objects: list[Any]) -> list[str]:
        return sorted(key_of(obj) for obj in objects)

    assert found(cache.by_node("n1")) == scan(lambda obj: obj["spec"]["nodeName"] == "n1")
    assert found(cache.by_owner("owner-n2")) == scan(lambda obj: obj["spec"]["nodeName"] == "n2")
    assert found(cache.in_namespace("ns")) == scan(lambda obj: True)
    assert found(cache.select("ns", parsed)) == scan(lambda obj: parsed.matches(obj["metadata"]["labels"]))
    assert cache.select("other", parsed) == []
