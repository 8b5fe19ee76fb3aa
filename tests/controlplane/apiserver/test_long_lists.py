"""Long lists leave in pieces: the same bytes, their length told before, from the watch cache, not older than the store."""

from __future__ import annotations

import asyncio

from controlplane.apiserver import present
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS
from tests.controlplane.apiserver.conftest import Api


async def filled(client: ApiClient, count: int) -> None:
    for at in range(count):
        await client.create(CONFIG_MAPS, {"metadata": {"name": f"long-{at:04d}"}, "data": {"x": "y" * at}}, "default")


async def test_a_long_list_is_whole_whatever_its_length(api: Api) -> None:
    client = api.client()
    await filled(client, present.JOINED_ITEMS - 1)
    for more in range(4):  # around the edge between a joined list and pieces, and a second piece
        await client.create(CONFIG_MAPS, {"metadata": {"name": f"more-{more}"}}, "default")
        answer = await client.raw("GET", CONFIG_MAPS.path("default"))
        listed = await client.list(CONFIG_MAPS, "default")
        names = [item["metadata"]["name"] for item in listed["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]
        assert len(names) == present.JOINED_ITEMS + more and names == sorted(names)
        assert dict(answer.headers)["content-length"] == str(len(answer.body))


async def test_a_list_shows_every_write_that_was_answered_before_it(api: Api) -> None:
    writer, reader = api.client(), api.client()
    await reader.list(CONFIG_MAPS, "default")
    for at in range(20):
        created = await writer.create(CONFIG_MAPS, {"metadata": {"name": f"new-{at}"}}, "default")
        listed = await asyncio.wait_for(reader.list(CONFIG_MAPS, "default"), 10)
        assert f"new-{at}" in {item["metadata"]["name"] for item in listed["items"]}
        assert int(listed["metadata"]["resourceVersion"]) >= int(created["metadata"]["resourceVersion"])


async def test_a_get_shows_every_write_that_was_answered_before_it(api: Api) -> None:
    writer, reader = api.client(), api.client()
    await reader.list(CONFIG_MAPS, "default")  # the cache is open: gets ask the store only for revisions
    written = await writer.create(CONFIG_MAPS, {"metadata": {"name": "x"}, "data": {"at": ""}}, "default")
    for at in range(50):
        written = await writer.update(CONFIG_MAPS, {**written, "data": {"at": str(at)}})
        assert await reader.get(CONFIG_MAPS, "x", "default") == written
    gets = [reader.get(CONFIG_MAPS, "x", "default") for _ in range(100)]
    assert all(found == written for found in await asyncio.gather(*gets)), "many gets of one turn are one read"
