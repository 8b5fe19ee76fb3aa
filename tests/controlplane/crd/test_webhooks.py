"""Admission and conversion by programs outside."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.apiserver.cel import program as cel
from controlplane.apiserver.webhooks.mutating import CONFIGURATIONS as MUTATING
from controlplane.apiserver.webhooks.validating import CONFIGURATIONS as VALIDATING
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS, Resource
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.examples import config_map
from tests.controlplane.apiserver.pki import Authority
from tests.controlplane.crd.conftest import CRON_TABS, cron_tab, defined, definition
from tests.controlplane.crd.program import WebhookProgram

Object = dict[str, Any]
ALLOWED: Object = {"allowed": True}


def configuration(program: WebhookProgram, **more: Any) -> Object:
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    webhook = {
        "name": "judge.example.com",
        "clientConfig": program.client_config(),
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }
    return {"metadata": {"name": "judge"}, "webhooks": [webhook]}


async def test_a_validating_webhook_refuses_and_warns(client: ApiClient, authority: Authority) -> None:
    def decide(request: Object) -> Object:
        if request["operation"] == "DELETE":
            return {"allowed": True, "warnings": ["gone"]}
        return {"allowed": "no" not in request["object"]["data"], "status": {"message": "no is no"}}

    async with WebhookProgram(authority, decide) as program:
        await client.create(VALIDATING, configuration(program))
        await client.create(CONFIG_MAPS, config_map("a", yes="1"), "default")
        with pytest.raises(ApiError) as caught:
            await client.create(CONFIG_MAPS, config_map("b", no="1"), "default")
        assert (caught.value.code, caught.value.message) == (
            403,
            'admission webhook "judge.example.com" denied the request: no is no',
        )
        answer = await client.raw("DELETE", CONFIG_MAPS.path("default", "a"))
    assert answer.headers["warning"] == '299 - "gone"'
    deletion = program.asked[-1]
    assert (deletion["object"], deletion["oldObject"]["data"]) == (None, {"yes": "1"})
    assert deletion["userInfo"]["username"] == "admin"


async def test_a_mutating_webhook_changes_what_is_stored(client: ApiClient, authority: Authority) -> None:
    change = {"allowed": True, "patch": [{"op": "add", "path": "/data/added", "value": "1"}]}
    async with WebhookProgram(authority, lambda request: change) as program:
        await client.create(MUTATING, configuration(program))
        made = await client.create(CONFIG_MAPS, config_map("a", k="v"), "default")
    assert made["data"] == {"k": "v", "added": "1"}


@pytest.mark.parametrize(("policy", "refused"), [("Fail", True), ("Ignore", False)])
async def test_the_failure_policy_decides_when_nobody_answers(
    client: ApiClient, authority: Authority, policy: str, refused: bool
) -> None:
    async with WebhookProgram(authority, lambda request: ALLOWED) as program:
        wanted = configuration(program, failurePolicy=policy)
    await client.create(VALIDATING, wanted)
    if refused:
        with pytest.raises(ApiError, match=r'failed calling webhook "judge\.example\.com"') as caught:
            await client.create(CONFIG_MAPS, config_map("a"), "default")
        assert caught.value.code == 500
    else:
        await client.create(CONFIG_MAPS, config_map("a"), "default")
    await client.delete(VALIDATING, "judge")  # configurations are never shown to webhooks
    await client.create(CONFIG_MAPS, config_map("b"), "default")


async def test_selectors_and_dry_runs_are_obeyed(client: ApiClient, authority: Authority) -> None:
    async with WebhookProgram(authority, lambda request: ALLOWED) as program:
        selector = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
        await client.create(VALIDATING, configuration(program, namespaceSelector=selector))
        await client.create(CONFIG_MAPS, config_map("a"), "default")
        assert program.asked == []
        await client.create(CONFIG_MAPS, config_map("a"), "kube-system")
        path = CONFIG_MAPS.path("kube-system")
        await client.raw("POST", path, config_map("b"), {"content-type": "application/json"}, {"dryRun": "All"})
    assert [each["dryRun"] for each in program.asked] == [False, True]


@pytest.mark.skipif(not cel.is_available(), reason="the extra [cel] is not installed")
async def test_match_conditions_say_who_is_asked(client: ApiClient, authority: Authority) -> None:
    async with WebhookProgram(authority, lambda request: ALLOWED) as program:
        condition = {"name": "long", "expression": "object.metadata.name.startsWith('long')"}
        await client.create(VALIDATING, configuration(program, matchConditions=[condition]))
        await client.create(CONFIG_MAPS, config_map("short"), "default")
        await client.create(CONFIG_MAPS, config_map("longer"), "default")
    assert [each["name"] for each in program.asked] == ["longer"]


async def test_a_webhook_of_one_version_sees_the_objects_of_others(client: ApiClient, authority: Authority) -> None:
    crd = definition()
    crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v2", "storage": False})
    await defined(client, crd)
    rule = {
        "operations": ["CREATE"],
        "apiGroups": ["stable.example.com"],
        "apiVersions": ["v2"],
        "resources": ["crontabs"],
    }
    change = {"allowed": True, "patch": [{"op": "replace", "path": "/spec/replicas", "value": 5}]}
    async with WebhookProgram(authority, lambda request: change) as program:
        await client.create(MUTATING, configuration(program, rules=[rule]))
        made = await client.create(CRON_TABS, cron_tab(), "default")
    assert (made["apiVersion"], made["spec"]["replicas"]) == ("stable.example.com/v1", 5)
    (asked,) = program.asked
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v2", "v1")
    assert asked["object"]["apiVersion"] == "stable.example.com/v2"


async def test_a_conversion_webhook_serves_another_version(client: ApiClient, authority: Authority) -> None:
    def convert(request: Object) -> Object:
        converted = []
        for obj in request["objects"]:
            spec = dict(obj["spec"])
            if request["desiredAPIVersion"].endswith("v2"):
                spec["image"] = spec["image"].upper()
            else:
                spec["image"] = spec["image"].lower()
            converted.append({**obj, "apiVersion": request["desiredAPIVersion"], "spec": spec})
        return {"convertedObjects": converted, "result": {"status": "Success"}}

    v2 = Resource("stable.example.com", "v2", "crontabs", "CronTab", namespaced=True)
    async with WebhookProgram(authority, convert) as program:
        crd = definition()
        crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v2", "storage": False})
        webhook = {"clientConfig": program.client_config(), "conversionReviewVersions": ["v1"]}
        crd["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
        await defined(client, crd)
        await client.create(CRON_TABS, cron_tab("a", image="one"), "default")
        made = await client.create(v2, cron_tab("b", image="TWO"), "default")
        assert made["spec"]["image"] == "TWO"
        shown = await client.list(v2, "default")
        assert [each["spec"]["image"] for each in shown["items"]] == ["ONE", "TWO"]
        assert (await client.get(CRON_TABS, "b", "default"))["spec"]["image"] == "two"
        async with await client.stream("GET", v2.path("default") + "?watch=1&timeoutSeconds=1") as stream:
            body = await stream.read()
    assert body.count(b'"type":"ADDED","object":{"apiVersion":"stable.example.com/v2"') == 2


async def test_a_configuration_is_checked(client: ApiClient, authority: Authority) -> None:
    async with WebhookProgram(authority, lambda request: ALLOWED) as program:
        wrong = configuration(program, name="judge", timeoutSeconds=31, sideEffects="Some")
    with pytest.raises(ApiError) as caught:
        await client.create(VALIDATING, wrong)
    assert [each["field"] for each in caught.value.details["causes"]] == [
        "webhooks[0].name",
        "webhooks[0].sideEffects",
        "webhooks[0].timeoutSeconds",
    ]
