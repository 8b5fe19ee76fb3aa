"""A definition from its creation to its end, and the objects that live in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CUSTOM_RESOURCE_DEFINITIONS, Resource
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.crd.conftest import CRON_TABS, cron_tab, defined, definition

Object = dict[str, Any]


def conditions(crd: Object) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in crd["status"]["conditions"]}


async def test_a_definition_is_established_when_its_creation_is_answered(client: ApiClient) -> None:
    crd = await defined(client)
    assert conditions(crd) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["status"]["acceptedNames"]["listKind"] == "CronTabList"


async def test_objects_are_defaulted_pruned_and_counted(client: ApiClient) -> None:
    await defined(client)
    made = await client.create(CRON_TABS, cron_tab(unknown=1, free={"x": [1]}, note=None, image=None), "default")
    assert made["spec"] == {
        "cronSpec": "* * * * */5",
        "free": {"x": [1]},
        "note": None,
        "image": "busybox",
        "replicas": 1,
    }
    assert made["metadata"]["generation"] == 1
    changed = await client.update(CRON_TABS, {**made, "spec": {**made["spec"], "replicas": 2}})
    assert changed["metadata"]["generation"] == 2


async def test_invalid_objects_are_refused_in_kubernetes_words(client: ApiClient) -> None:
    await defined(client)
    with pytest.raises(ApiError) as caught:
        wrong = cron_tab(replicas=11, color="blue", port=True, hosts=["a", "a"], cronSpec="x")
        await client.create(CRON_TABS, wrong, "default")
    causes = {each["field"]: each["message"] for each in caught.value.details["causes"]}
    assert caught.value.code == 422
    assert causes["spec.replicas"] == ("Invalid value: 11: spec.replicas in body should be less than or equal to 10")
    assert causes["spec.color"] == 'Unsupported value: "blue": supported values: "red", "green"'
    assert (
        causes["spec.port"] == 'Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"'
    )
    assert causes["spec.hosts[1]"] == 'Duplicate value: "a"'
    assert causes["spec.cronSpec"].startswith('Invalid value: "x": spec.cronSpec in body should match \'^(')


async def test_a_status_is_written_through_its_subresource_alone(client: ApiClient) -> None:
    await defined(client)
    made = await client.create(CRON_TABS, {**cron_tab(), "status": {"replicas": 3}}, "default")
    assert "status" not in made
    wanted = {**made, "spec": {"cronSpec": "0 0 0 0 0"}, "status": {"replicas": 3}}
    after = await client.update(CRON_TABS, wanted, subresource="status")
    assert (after["status"], after["spec"]["cronSpec"]) == ({"replicas": 3}, "* * * * */5")
    assert after["metadata"]["generation"] == 1


async def test_a_custom_object_scales(client: ApiClient) -> None:
    await defined(client)
    await client.create(CRON_TABS, cron_tab(), "default")
    scale = await client.patch(CRON_TABS, "a", {"spec": {"replicas": 4}}, "default", subresource="scale")
    assert (scale["kind"], scale["spec"], scale["status"]) == ("Scale", {"replicas": 4}, {"replicas": 0})
    assert (await client.get(CRON_TABS, "a", "default"))["spec"]["replicas"] == 4


async def test_a_definition_goes_after_its_objects(client: ApiClient) -> None:
    await defined(client)
    held = cron_tab()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(CRON_TABS, held, "default")
    await client.create(CRON_TABS, cron_tab("b"), "default")
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, "crontabs.stable.example.com")
    async with asyncio.timeout(5):
        while True:
            left = await client.list(CRON_TABS)
            if [each["metadata"]["name"] for each in left["items"]] == ["a"]:
                break
    crd = await client.get(CUSTOM_RESOURCE_DEFINITIONS, "crontabs.stable.example.com")
    assert conditions(crd)["Terminating"][0] == "True"
    with pytest.raises(ApiError, match="create not allowed while custom resource definition is terminating"):
        await client.create(CRON_TABS, cron_tab("c"), "default")
    await client.patch(CRON_TABS, "a", {"metadata": {"finalizers": None}}, "default")
    async with asyncio.timeout(5):
        while (await client.raw("GET", "/apis/stable.example.com/v1")).status == 200:
            pass
    assert (await client.raw("GET", CRON_TABS.path())).status == 404


async def test_a_second_definition_with_the_same_kind_waits(client: ApiClient) -> None:
    await defined(client)
    other = definition()
    other["metadata"]["name"] = "tabs.stable.example.com"
    other["spec"]["names"] = {"plural": "tabs", "kind": "CronTab"}
    crd = await defined(client, other)
    assert conditions(crd) == {
        "NamesAccepted": ("False", "ListKindConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert (await client.raw("GET", "/apis/stable.example.com/v1/tabs")).status == 404
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, "crontabs.stable.example.com")
    async with asyncio.timeout(5):
        while (await client.raw("GET", "/apis/stable.example.com/v1/tabs")).status != 200:
            pass


async def test_what_one_server_answered_all_servers_serve(start_api: StartApi) -> None:
    backend = MemoryBackend()
    first: Api = await start_api(backend)
    second: Api = await start_api(backend)
    await defined(first.client())
    made = await second.client().create(CRON_TABS, cron_tab(), "default")
    assert made["spec"]["image"] == "busybox"


async def test_an_object_is_shown_in_every_served_version(client: ApiClient) -> None:
    crd = definition()
    newer = {**crd["spec"]["versions"][0], "name": "v2", "storage": False}
    crd["spec"]["versions"].append(newer)
    await defined(client, crd)
    v2 = Resource("stable.example.com", "v2", "crontabs", "CronTab", namespaced=True)
    await client.create(v2, cron_tab(), "default")
    assert (await client.get(CRON_TABS, "a", "default"))["apiVersion"] == "stable.example.com/v1"
    assert [each["apiVersion"] for each in (await client.list(v2, "default"))["items"]] == ["stable.example.com/v2"]


async def test_a_new_default_shows_in_objects_that_were_stored_before(client: ApiClient) -> None:
    crd = await defined(client)
    await client.create(CRON_TABS, cron_tab(), "default")
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["late"] = {"type": "string", "default": "yes"}
    await client.update(CUSTOM_RESOURCE_DEFINITIONS, crd)
    await client.raw("GET", "/apis/stable.example.com/v1")
    assert (await client.get(CRON_TABS, "a", "default"))["spec"]["late"] == "yes"


async def test_selectable_fields_select(client: ApiClient) -> None:
    await defined(client)
    await client.create(CRON_TABS, cron_tab("a", color="red"), "default")
    await client.create(CRON_TABS, cron_tab("b", color="green"), "default")
    answer = await client.raw("GET", CRON_TABS.path("default") + "?fieldSelector=spec.color%3Dred")
    assert answer.body.count(b'"name":"') == 1
    answer = await client.raw("GET", CRON_TABS.path("default") + "?fieldSelector=spec.image%3Dx")
    assert answer.status == 400
