"""Lists page at one revision; watches tell every change once, in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS, LEASES, PODS
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.examples import config_map
from tests.controlplane.apiserver.memory import MemoryBackend

PATH = "/api/v1/namespaces/default/configmaps"


async def _make(client: ApiClient, *names: str) -> list[dict[str, Any]]:
    return [await client.create(CONFIG_MAPS, config_map(name), "default") for name in names]


async def _get(client: ApiClient, **query: str) -> dict[str, Any]:
    answer = await client.raw("GET", PATH, query=query)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def _names(found: dict[str, Any]) -> list[str]:
    return [each["metadata"]["name"] for each in found["items"]]


class Watching:
    """The lines of one watch."""

    def __init__(self, client: ApiClient, path: str = PATH, **query: str) -> None:
        self._client, self._path, self._query = client, path, {"watch": "true", **query}
        self._buffer = b""
        self._chunks: AsyncIterator[bytes] | None = None

    async def __aenter__(self) -> Watching:
        self._stream = await self._client.stream("GET", self._path, query=self._query)
        self._chunks = aiter(self._stream)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stream.close()

    async def next(self) -> tuple[str, dict[str, Any]]:
        assert self._chunks is not None
        async with asyncio.timeout(5):
            while b"\n" not in self._buffer:
                self._buffer += await anext(self._chunks)
        line, _, self._buffer = self._buffer.partition(b"\n")
        event = json.loads(line)
        return event["type"], event["object"]

    async def ended(self) -> bool:
        assert self._chunks is not None
        async with asyncio.timeout(5):
            async for _ in self._chunks:
                pass
        return True


async def test_pages_show_the_first_pages_revision(client: ApiClient) -> None:
    await _make(client, "a", "b", "c", "d", "e")
    first = await _get(client, limit="2")
    assert _names(first) == ["a", "b"] and first["metadata"]["remainingItemCount"] == 3
    await _make(client, "bb")
    second = await _get(client, limit="2", **{"continue": first["metadata"]["continue"]})
    assert _names(second) == ["c", "d"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    last = await _get(client, limit="2", **{"continue": second["metadata"]["continue"]})
    assert _names(last) == ["e"] and "continue" not in last["metadata"]


async def test_a_page_with_a_selector_is_full(client: ApiClient) -> None:
    for at in range(9):
        wanted = config_map(f"a{at}")
        wanted["metadata"]["labels"] = {"odd": str(at % 2)}
        await client.create(CONFIG_MAPS, wanted, "default")
    first = await _get(client, limit="3", labelSelector="odd=0")
    assert _names(first) == ["a0", "a2", "a4"] and "remainingItemCount" not in first["metadata"]
    rest = await _get(client, limit="3", labelSelector="odd=0", **{"continue": first["metadata"]["continue"]})
    assert _names(rest) == ["a6", "a8"]


async def test_a_page_of_a_forgotten_revision_is_expired_with_a_token_that_goes_on(start_api: StartApi) -> None:
    backend = MemoryBackend()
    client = (await start_api(backend)).client()
    await _make(client, "a", "b", "c")
    first = await _get(client, limit="1")
    await _make(client, "d")
    await backend.compact(backend.revision)
    expired = await _get(client, limit="1", **{"continue": first["metadata"]["continue"]})
    assert (expired["code"], expired["reason"]) == (410, "Expired")
    rest = await _get(client, **{"continue": expired["metadata"]["continue"]})
    assert _names(rest) == ["b", "c", "d"]


async def test_a_token_that_is_none_is_refused(client: ApiClient) -> None:
    found = await _get(client, limit="1", **{"continue": "garbage"})
    assert found["code"] == 400 and "invalid continue token" in found["message"]


async def test_an_empty_list_has_items(client: ApiClient) -> None:
    assert (await _get(client))["items"] == []


async def test_a_list_from_the_cache_is_a_list(client: ApiClient) -> None:
    await _make(client, "b", "a")
    found = await _get(client, resourceVersion="0")
    assert _names(found) == ["a", "b"]


async def test_a_list_no_older_than_a_write_has_it(client: ApiClient) -> None:
    await _get(client, resourceVersion="0")
    (made,) = await _make(client, "a")
    revision = made["metadata"]["resourceVersion"]
    found = await _get(client, resourceVersion=revision, resourceVersionMatch="NotOlderThan")
    assert _names(found) == ["a"]


async def test_a_list_at_an_exact_revision_is_that_past(client: ApiClient) -> None:
    (made,) = await _make(client, "a")
    await _make(client, "b")
    revision = made["metadata"]["resourceVersion"]
    assert _names(await _get(client, resourceVersion=revision, resourceVersionMatch="Exact")) == ["a"]


async def test_fields_that_a_kind_does_not_offer_are_refused(client: ApiClient) -> None:
    found = await _get(client, fieldSelector="foo.bar=1")
    assert (found["code"], found["message"]) == (400, "field label not supported: foo.bar")


async def test_a_list_of_one_name_is_found_by_its_field(client: ApiClient) -> None:
    await _make(client, "a", "b")
    assert _names(await _get(client, fieldSelector="metadata.name=b")) == ["b"]


async def test_a_watch_tells_the_state_then_every_change(client: ApiClient) -> None:
    (first,) = await _make(client, "a")
    async with Watching(client) as watch:
        assert await watch.next() == ("ADDED", first)
        changed = await client.patch(CONFIG_MAPS, "a", {"data": {"k": "v"}}, "default", type="merge")
        assert await watch.next() == ("MODIFIED", changed)
        await client.delete(CONFIG_MAPS, "a", "default")
        kind, gone = await watch.next()
        assert kind == "DELETED" and gone["data"] == {"k": "v"}
        assert int(gone["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])


async def test_a_watch_goes_on_from_a_lists_revision(client: ApiClient) -> None:
    await _make(client, "a")
    listed = await _get(client)
    (second,) = await _make(client, "b")
    async with Watching(client, resourceVersion=listed["metadata"]["resourceVersion"]) as watch:
        assert await watch.next() == ("ADDED", second)


async def test_a_selector_that_starts_and_stops_to_match_adds_and_deletes(client: ApiClient) -> None:
    await _make(client, "a")
    async with Watching(client, labelSelector="on=1") as watch:
        await client.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"on": "1"}}}, "default", type="merge")
        assert (await watch.next())[0] == "ADDED"
        await client.patch(CONFIG_MAPS, "a", {"data": {"k": "v"}}, "default", type="merge")
        assert (await watch.next())[0] == "MODIFIED"
        await client.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"on": "0"}}}, "default", type="merge")
        assert (await watch.next())[0] == "DELETED"


async def test_a_watch_of_one_name_sees_no_other(client: ApiClient) -> None:
    async with Watching(client, fieldSelector="metadata.name=b") as watch:
        await _make(client, "a", "b")
        kind, obj = await watch.next()
        assert (kind, obj["metadata"]["name"]) == ("ADDED", "b")


async def test_a_watch_of_one_namespace_sees_no_other(client: ApiClient) -> None:
    async with Watching(client) as watch:
        await client.create(CONFIG_MAPS, config_map("x"), "kube-system")
        await _make(client, "a")
        assert (await watch.next())[1]["metadata"]["name"] == "a"


async def test_a_watch_list_ends_its_first_part_with_an_annotated_bookmark(client: ApiClient) -> None:
    await _make(client, "a")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with Watching(client, **query) as watch:
        assert (await watch.next())[0] == "ADDED"
        kind, obj = await watch.next()
        assert kind == "BOOKMARK" and obj["kind"] == "ConfigMap"
        assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await _make(client, "b")
        assert (await watch.next())[1]["metadata"]["name"] == "b"


async def test_bookmarks_come_when_they_are_wanted(start_api: StartApi) -> None:
    client = (await start_api(MemoryBackend(), watch_bookmark_seconds=0.05)).client()
    listed = await _get(client)
    revision = listed["metadata"]["resourceVersion"]
    async with Watching(client, resourceVersion=revision, allowWatchBookmarks="true") as watch:
        kind, obj = await watch.next()
        assert kind == "BOOKMARK" and int(obj["metadata"]["resourceVersion"]) >= int(revision)


async def test_a_watch_ends_at_its_time(client: ApiClient) -> None:
    async with Watching(client, timeoutSeconds="1") as watch:
        assert await watch.ended()


async def test_a_watch_from_a_forgotten_revision_is_expired_in_the_stream(client: ApiClient) -> None:
    await _make(client, "a")
    await _get(client, resourceVersion="0")  # the cache begins here
    async with Watching(client, resourceVersion="1") as watch:
        kind, obj = await watch.next()
        assert kind == "ERROR" and (obj["code"], obj["reason"]) == (410, "Expired")
        assert obj["message"].startswith("too old resource version: 1 (")


async def test_a_cold_cache_begins_at_the_revision_of_its_first_watcher(client: ApiClient) -> None:
    made = await _make(client, "a", "b", "c")
    async with Watching(client, resourceVersion=made[0]["metadata"]["resourceVersion"]) as watch:
        assert [(await watch.next())[1]["metadata"]["name"] for _ in range(2)] == ["b", "c"]


async def test_a_revision_of_the_future_is_too_large(client: ApiClient) -> None:
    answer = await client.raw("GET", PATH, query={"resourceVersion": "99999999"})
    found = json.loads(answer.body)
    assert answer.status == 504 and found["message"].startswith("Timeout: Too large resource version: 99999999")
    assert found["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_watches_end_when_the_server_stops(api: Api) -> None:
    client = api.client()
    async with Watching(client) as watch:
        await _make(client, "a")
        await watch.next()
        api.stop()
        assert await watch.ended()


async def test_metadata_alone_can_be_listed_and_watched(client: ApiClient) -> None:
    await _make(client, "a")
    accept = {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"}
    found = json.loads((await client.raw("GET", PATH, headers=accept)).body)
    assert found["kind"] == "PartialObjectMetadataList"
    assert found["items"][0]["kind"] == "PartialObjectMetadata" and "data" not in found["items"][0]


async def test_leases_and_pods_of_a_node_are_found(client: ApiClient) -> None:
    with pytest.raises(ApiError):
        await client.get(LEASES, "a", "kube-system")
    assert (await client.list(PODS, field_selector="spec.nodeName=n"))["items"] == []
