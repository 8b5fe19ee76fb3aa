"""How webhooks are reached, what they are told of connections and bindings, and what their failure means."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from controlplane.apiserver.webhooks.mutating import CONFIGURATIONS as MUTATING
from controlplane.apiserver.webhooks.validating import CONFIGURATIONS as VALIDATING
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS, ENDPOINTS, NODES, PODS, SERVICE_ACCOUNTS, SERVICES, Resource
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.examples import config_map, pod
from tests.controlplane.apiserver.pki import Authority
from tests.controlplane.crd.conftest import CRON_TABS, cron_tab, defined, definition
from tests.controlplane.crd.program import WebhookProgram
from tests.controlplane.crd.test_webhooks import ALLOWED, configuration

Object = dict[str, Any]


def by_service(authority: Authority, port: int = 443, **reference: Any) -> Object:
    bundle = base64.b64encode(authority.path.read_bytes()).decode()
    return {"service": {"namespace": "default", "name": "hook", "port": port, **reference}, "caBundle": bundle}


@pytest.mark.parametrize("headless", [False, True])
async def test_a_service_leads_to_a_webhook(client: ApiClient, authority: Authority, headless: bool) -> None:
    """By its cluster IP; by an endpoint when it has none, or nobody listens there."""
    spec: Object = {"ports": [{"port": 443, "name": "https"}]}
    if headless:
        spec["clusterIP"] = "None"
    await client.create(SERVICES, {"metadata": {"name": "hook"}, "spec": spec}, "default")
    async with WebhookProgram(authority, lambda request: ALLOWED) as program:
        await client.create(VALIDATING, configuration(program, clientConfig=by_service(authority, path="judge")))
        with pytest.raises(ApiError, match=r'Post "https://hook\.default\.svc:443/judge\?timeout=10s"|no endpoints'):
            await client.create(CONFIG_MAPS, config_map("a"), "default")
        subset = {
            "addresses": [{"ip": "127.0.0.1"}],
            "ports": [{"name": "other", "port": 1}, {"name": "https", "port": program.port}],
        }
        await client.create(ENDPOINTS, {"metadata": {"name": "hook"}, "subsets": [subset]}, "default")
        await client.create(CONFIG_MAPS, config_map("a"), "default")
        assert [each["name"] for each in program.asked] == ["a"]


async def test_a_cluster_ip_is_asked_under_the_services_name(client: ApiClient, authority: Authority) -> None:
    async with WebhookProgram(authority, lambda request: ALLOWED, host="127.0.129.7") as program:
        spec = {"clusterIP": program.host, "ports": [{"port": program.port}]}
        await client.create(SERVICES, {"metadata": {"name": "hook"}, "spec": spec}, "default")
        await client.create(VALIDATING, configuration(program, clientConfig=by_service(authority, program.port)))
        await client.create(CONFIG_MAPS, config_map("a"), "default")
        wrong = by_service(authority, 1)
        await client.patch(
            VALIDATING, "judge", [{"op": "replace", "path": "/webhooks/0/clientConfig", "value": wrong}], type="json"
        )
        with pytest.raises(ApiError, match='no service port 1 found for service "hook"'):
            await client.create(CONFIG_MAPS, config_map("b"), "default")
    assert len(program.asked) == 1


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_webhook_has_its_time_and_no_more(client: ApiClient, authority: Authority, policy: str) -> None:
    async with WebhookProgram(authority, lambda request: ALLOWED) as program:
        program.speaks.clear()
        await client.create(VALIDATING, configuration(program, timeoutSeconds=1, failurePolicy=policy))
        if policy == "Fail":
            with pytest.raises(ApiError, match=r"/\?timeout=1s\": context deadline exceeded") as caught:
                await client.create(CONFIG_MAPS, config_map("a"), "default")
            assert caught.value.code == 500
        else:
            await client.create(CONFIG_MAPS, config_map("a"), "default")
        program.speaks.set()
        await client.create(CONFIG_MAPS, config_map("b"), "default")


@pytest.mark.parametrize(
    ("effects", "refused"), [("None", False), ("NoneOnDryRun", False), ("Some", True), ("Unknown", True)]
)
async def test_a_dry_run_needs_a_webhook_without_side_effects(
    client: ApiClient, authority: Authority, effects: str, refused: bool
) -> None:
    async with WebhookProgram(authority, lambda request: ALLOWED) as program:
        made = configuration(program)
        if effects in ("Some", "Unknown"):  # v1 takes them from nobody; old objects may still say so
            with pytest.raises(ApiError, match="sideEffects"):
                await client.create(VALIDATING, configuration(program, sideEffects=effects))
            return
        made["webhooks"][0]["sideEffects"] = effects
        await client.create(VALIDATING, made)
        answer = await client.raw(
            "POST",
            CONFIG_MAPS.path("default"),
            config_map("a"),
            {"content-type": "application/json"},
            {"dryRun": "All"},
        )
        assert (answer.status == 201, [each["dryRun"] for each in program.asked]) == (not refused, [True])
        assert (await client.list(CONFIG_MAPS, "default"))["items"] == []


CONNECTIONS = [
    (
        "pods/p/exec?command=sh&command=-c&stdin=true&container=c",
        "PodExecOptions",
        {"command": ["sh", "-c"], "stdin": True, "container": "c"},
    ),
    ("pods/p/attach?stdout=1&tty=true", "PodAttachOptions", {"stdout": True, "tty": True}),
    ("pods/p/portforward?ports=80", "PodPortForwardOptions", {"ports": [80]}),
    ("pods/p/proxy/a/b", "PodProxyOptions", {"path": "/a/b"}),
    ("services/p/proxy/", "ServiceProxyOptions", {"path": "/"}),
]


@pytest.mark.parametrize(("target", "kind", "options"), CONNECTIONS)
async def test_a_connection_is_shown_with_its_options(
    client: ApiClient, authority: Authority, target: str, kind: str, options: Object
) -> None:
    def refuse(request: Object) -> Object:
        return {"allowed": False, "status": {"message": "not here"}}

    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["*/*"]}
    async with WebhookProgram(authority, refuse) as program:
        await client.create(VALIDATING, configuration(program, rules=[rule]))
        answer = await client.raw("GET", f"/api/v1/namespaces/default/{target}")
    assert (
        answer.status == 403
        and b'admission webhook \\"judge.example.com\\" denied the request: not here' in answer.body
    )
    (asked,) = program.asked
    assert asked["kind"] == {"group": "", "version": "v1", "kind": kind} == asked["requestKind"]
    assert asked["object"] == {"kind": kind, "apiVersion": "v1", **options}
    plural, name, subresource = target.partition("?")[0].split("/")[:3]
    assert (asked["resource"]["resource"], asked["name"], asked["subResource"]) == (plural, name, subresource)
    assert (asked["operation"], asked["oldObject"], asked["options"]) == ("CONNECT", None, None)


async def test_a_node_is_shown_as_well(client: ApiClient, authority: Authority) -> None:
    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes/proxy"]}
    async with WebhookProgram(authority, lambda request: {"allowed": False}) as program:
        await client.create(VALIDATING, configuration(program, rules=[rule]))
        answer = await client.raw("GET", "/api/v1/nodes/n/proxy/metrics")
    assert answer.status == 403 and b"without explanation" in answer.body
    assert program.asked[0]["object"] == {"kind": "NodeProxyOptions", "apiVersion": "v1", "path": "/metrics"}


async def test_bindings_and_evictions_are_shown_as_such(client: ApiClient, authority: Authority) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(PODS, pod("p"), "default")
    await client.create(NODES, {"metadata": {"name": "n"}})

    def refuse_evictions(request: Object) -> Object:
        return {"allowed": request["kind"]["kind"] != "Eviction"}

    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*"]}
    async with WebhookProgram(authority, refuse_evictions) as program:
        await client.create(VALIDATING, configuration(program, rules=[rule]))
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}}
        await client.create(PODS, binding, "default", subresource="binding", name="p")
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        with pytest.raises(ApiError, match="denied the request"):
            await client.create(PODS, eviction, "default", subresource="eviction", name="p")
    bound, evicted = program.asked
    assert bound["kind"] == {"group": "", "version": "v1", "kind": "Binding"}
    assert (bound["operation"], bound["subResource"], bound["object"]["target"]["name"]) == ("CREATE", "binding", "n")
    assert evicted["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    assert (evicted["operation"], evicted["oldObject"]) == ("CREATE", None)


async def test_a_mutating_webhook_may_change_a_command(client: ApiClient, authority: Authority) -> None:
    """The refusal comes from what follows: the pod that is not there is not asked for before admission."""
    change = {"allowed": True, "patch": [{"op": "remove", "path": "/command"}]}
    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(PODS, {**pod("p"), "spec": {**pod("p")["spec"], "nodeName": "n"}}, "default")
    async with WebhookProgram(authority, lambda request: change) as program:
        await client.create(MUTATING, configuration(program, rules=[rule]))
        headers = {"connection": "upgrade", "upgrade": "SPDY/3.1"}
        answer = await client.raw("POST", PODS.path("default", "p", "exec"), None, headers, {"command": "sh"})
    assert answer.status == 400 and b"at least one command" in answer.body


FAILURES: list[tuple[Object, str]] = [
    ({"result": {"status": "Failed", "message": "no way"}}, "no way"),
    ({"result": {"status": "Success"}, "convertedObjects": []}, "expected 1 converted objects, got 0"),
    ({"result": {"status": "Success"}, "convertedObjects": [{"kind": "CronTab"}]}, "is not of stable.example.com/v2"),
]


@pytest.mark.parametrize(("answer", "words"), FAILURES)
async def test_a_conversion_that_fails_is_said_and_loses_nothing(
    client: ApiClient, authority: Authority, answer: Object, words: str
) -> None:
    v2 = Resource("stable.example.com", "v2", "crontabs", "CronTab", namespaced=True)
    async with WebhookProgram(authority, lambda request: answer) as program:
        crd = definition()
        crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v2", "storage": False})
        webhook = {"clientConfig": program.client_config(), "conversionReviewVersions": ["v1"]}
        crd["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
        await defined(client, crd)
        await client.create(CRON_TABS, cron_tab("a"), "default")
        for verb, target in (("GET", "a"), ("GET", ""), ("DELETE", "a")):
            told = await client.raw(verb, v2.path("default", target))
            message = json.loads(told.body)["message"]
            assert told.status == 500 and words in message
            assert "conversion webhook for stable.example.com/v1, Kind=CronTab failed" in message
        with pytest.raises(ApiError, match=r"conversion webhook for stable\.example\.com/v2, Kind=CronTab failed"):
            await client.create(v2, cron_tab("b"), "default")
    assert [each["metadata"]["name"] for each in (await client.list(CRON_TABS, "default"))["items"]] == ["a"]
