"""What a definition must be, and what of it may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CUSTOM_RESOURCE_DEFINITIONS
from controlplane.objects.status import ApiError
from tests.controlplane.crd.conftest import CRON_TABS, cron_tab, defined, definition

Object = dict[str, Any]


def causes(error: ApiError) -> dict[str, str]:
    return {each["field"]: each["message"] for each in error.details["causes"]}


def _version(crd: Object) -> Object:
    return crd["spec"]["versions"][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("spoil", "field", "message"),
    [
        (
            lambda crd: crd["metadata"].update(name="x.example.com"),
            "metadata.name",
            'Invalid value: "x.example.com": must be spec.names.plural+"."+spec.group',
        ),
        (
            lambda crd: crd["spec"].update(scope="Here"),
            "spec.scope",
            'Unsupported value: "Here": supported values: "Cluster", "Namespaced"',
        ),
        (
            lambda crd: crd["spec"]["names"].update(kind="1x"),
            "spec.names.kind",
            'Invalid value: "1x": may have mixed case, but should',
        ),
        (
            lambda crd: _version(crd).pop("schema"),
            "spec.versions[0].schema.openAPIV3Schema",
            "Required value: schemas are required",
        ),
        (
            lambda crd: _version(crd)["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].update(x={}),
            "spec.validation.openAPIV3Schema.properties[spec].properties[x].type",
            "Required value: must not be empty for specified object fields",
        ),
        (
            lambda crd: _version(crd)["subresources"]["scale"].update(specReplicasPath=".replicas"),
            "spec.subresources.scale.specReplicasPath",
            'Invalid value: ".replicas": should be a json path under .spec',
        ),
        (
            lambda crd: _version(crd)["additionalPrinterColumns"][0].update(type="text"),
            "spec.additionalPrinterColumns[0].type",
            'Invalid value: "text": must be one of boolean,date,integer,number,string',
        ),
        (
            lambda crd: crd["spec"].update(conversion={"strategy": "Webhook"}),
            "spec.conversion.webhook.clientConfig",
            "Required value: required when strategy is set to Webhook",
        ),
    ],
)
async def test_a_wrong_definition_is_told_why(
    client: ApiClient, spoil: Callable[[Object], None], field: str, message: str
) -> None:
    crd = definition()
    spoil(crd)
    with pytest.raises(ApiError) as caught:
        await defined(client, crd)
    assert caught.value.code == 422
    assert causes(caught.value)[field].startswith(message)


async def test_two_storage_versions_are_refused(client: ApiClient) -> None:
    crd = definition()
    crd["spec"]["versions"].append({**_version(crd), "name": "v2"})
    with pytest.raises(ApiError, match="must have exactly one version marked as storage version"):
        await defined(client, crd)


async def test_a_version_in_which_objects_are_stored_must_stay(client: ApiClient) -> None:
    crd = await defined(client)
    crd["spec"]["versions"] = [{**_version(crd), "name": "v2"}]
    with pytest.raises(ApiError, match="storedVersions"):
        await client.update(CUSTOM_RESOURCE_DEFINITIONS, crd)


async def test_the_scope_of_an_established_definition_is_fixed(client: ApiClient) -> None:
    crd = await defined(client)
    crd["spec"]["scope"] = "Cluster"
    with pytest.raises(ApiError, match=r"spec\.scope: Invalid value: \"Cluster\": field is immutable"):
        await client.update(CUSTOM_RESOURCE_DEFINITIONS, crd)


async def test_a_version_that_is_no_longer_served_is_gone_from_discovery(client: ApiClient) -> None:
    crd = definition()
    crd["spec"]["versions"].append({**_version(crd), "name": "v2", "storage": False})
    crd = await defined(client, crd)
    assert (await client.raw("GET", "/openapi/v3/apis/stable.example.com/v2")).status == 200
    crd["spec"]["versions"][1]["served"] = False
    await client.update(CUSTOM_RESOURCE_DEFINITIONS, crd)
    assert (await client.raw("GET", "/apis/stable.example.com/v2")).status == 404
    assert (await client.raw("GET", "/openapi/v3/apis/stable.example.com/v2")).status == 404


async def test_an_update_that_changes_nothing_writes_nothing(client: ApiClient) -> None:
    crd = await defined(client)
    assert (await client.update(CUSTOM_RESOURCE_DEFINITIONS, crd))["metadata"] == crd["metadata"]


async def test_a_deprecated_version_warns_those_who_use_it(client: ApiClient) -> None:
    await defined(client, definition(deprecated=True, deprecationWarning="use v2"))
    answer = await client.raw("GET", CRON_TABS.path("default"))
    assert answer.headers["warning"] == '299 - "use v2"'


async def test_strategic_merge_is_not_for_custom_objects(client: ApiClient) -> None:
    await defined(client)
    await client.create(CRON_TABS, cron_tab(), "default")
    with pytest.raises(ApiError) as caught:
        await client.patch(CRON_TABS, "a", {"spec": {"replicas": 2}}, "default", type="strategic")
    assert caught.value.code == 415


async def test_an_update_must_say_which_version_it_was_made_from(client: ApiClient) -> None:
    await defined(client)
    await client.create(CRON_TABS, cron_tab(), "default")
    with pytest.raises(ApiError, match="must be specified for an update"):
        await client.update(CRON_TABS, {**cron_tab(), "metadata": {"name": "a", "namespace": "default"}})


async def test_a_table_has_the_columns_of_the_definition(client: ApiClient) -> None:
    await defined(client)
    await client.create(CRON_TABS, cron_tab(), "default")
    accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    answer = await client.raw("GET", CRON_TABS.path("default"), headers=accept)
    assert b'"cells":["a","* * * * */5",1,"' in answer.body
