"""MutatingAdmissionPolicy: what an object should have, said in CEL."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.apiserver.cel import program
from controlplane.apiserver.cel.messages import as_maps
from controlplane.apiserver.policies.binding import MUTATING
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICE_ACCOUNTS
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.apiserver.examples import config_map, deployment, pod
from tests.controlplane.crd.conftest import CRON_TABS, cron_tab, defined

Object = dict[str, Any]

pytestmark = pytest.mark.skipif(not program.is_available(), reason="the extra [cel] is not installed")
POLICIES, BINDINGS = MUTATING


def applying(expression: str) -> Object:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patching(expression: str) -> Object:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def bound(
    client: ApiClient, *mutations: Object, name: str = "p", binding: Object | None = None, **spec: Any
) -> None:
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"]}
    constraints = {"resourceRules": [{**rule, "resources": ["pods", "deployments", "crontabs"]}]}
    whole = {"matchConstraints": constraints, "mutations": list(mutations), "failurePolicy": "Fail", **spec}
    whole.setdefault("reinvocationPolicy", "Never")
    await client.create(POLICIES, {"metadata": {"name": name}, "spec": whole})
    await client.create(BINDINGS, {"metadata": {"name": name}, "spec": {"policyName": name, **(binding or {})}})


async def test_an_apply_configuration_is_merged_by_keys(client: ApiClient) -> None:
    sidecar = 'Object{spec: Object.spec{containers: [Object.spec.containers{name: "proxy", image: "mesh/proxy:1"}]}}'
    labels = 'Object{metadata: Object.metadata{labels: {"mesh": "on"}}}'
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await bound(client, applying(sidecar), applying(labels))
    made = await client.create(PODS, pod("a"), "default")
    assert [each["name"] for each in made["spec"]["containers"]][-1] == "proxy" and len(made["spec"]["containers"]) == 2
    assert made["spec"]["containers"][-1]["imagePullPolicy"] == "IfNotPresent", "defaults follow"
    assert made["metadata"]["labels"]["mesh"] == "on"


async def test_a_json_patch_is_computed(client: ApiClient) -> None:
    text = '[JSONPatch{op: "test", path: "/spec/replicas", value: 2}, JSONPatch{op: "replace", path: "/spec/replicas", value: 4}]'
    label = '[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("example.com/a"), value: "x"}]'
    await bound(
        client,
        patching(text),
        patching(label),
        matchConditions=[{"name": "two", "expression": "object.spec.replicas == 2"}],
    )
    web = deployment("web")
    labelled = {**web["metadata"], "labels": {"app": "web"}}
    made = await client.create(
        DEPLOYMENTS, {**web, "metadata": labelled, "spec": {**web["spec"], "replicas": 2}}, "default"
    )
    assert made["spec"]["replicas"] == 4 and made["metadata"]["labels"]["example.com/a"] == "x"
    other = await client.create(
        DEPLOYMENTS, {**web, "metadata": {"name": "other"}, "spec": {**web["spec"], "replicas": 3}}, "default"
    )
    assert other["spec"]["replicas"] == 3


async def test_variables_parameters_and_optional_fields_are_seen(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("most", replicas="7"), "default")
    await bound(
        client,
        applying("Object{spec: Object.spec{replicas: variables.wanted, ?paused: optional.none()}}"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "wanted", "expression": "int(params.data.replicas)"}],
        binding={"paramRef": {"name": "most", "parameterNotFoundAction": "Deny"}},
    )
    made = await client.create(DEPLOYMENTS, deployment("web"), "default")
    assert made["spec"]["replicas"] == 7 and "paused" not in made["spec"]


async def test_custom_resources_are_mutated_too(client: ApiClient) -> None:
    await defined(client)
    await bound(client, applying("Object{spec: Object.spec{replicas: 3}}"))
    assert (await client.create(CRON_TABS, cron_tab(), "default"))["spec"]["replicas"] == 3


async def test_one_is_asked_again_when_a_later_one_changed_the_object(client: ApiClient) -> None:
    copied = 'Object{metadata: Object.metadata{annotations: {"seen": string(object.spec.replicas)}}}'
    await bound(client, applying(copied), name="a", reinvocationPolicy="IfNeeded")
    await bound(client, applying("Object{spec: Object.spec{replicas: 5}}"), name="b")
    made = await client.create(DEPLOYMENTS, deployment("web"), "default")
    assert made["metadata"]["annotations"]["seen"] == "5"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("Object{spec: Object.spec{replicas: object.spec.none}}", "no such key: none"),
        ("Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'a': 'b'}}}}", "may not mutate atomic"),
        ("Object{metadata: Object.metadata{name: 'other'}}", "metadata.name may not be set"),
        ("Object{spec: Object.spec{replicas: 'many'}}", ".spec.replicas"),
    ],
)
async def test_a_policy_that_fails_refuses_unless_it_says_otherwise(
    client: ApiClient, expression: str, why: str
) -> None:
    await bound(client, applying(expression))
    with pytest.raises(ApiError) as caught:
        await client.create(DEPLOYMENTS, deployment("web"), "default")
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert "policy 'p' with binding 'p' denied request: " in caught.value.message and why in caught.value.message
    await client.patch(POLICIES, "p", {"spec": {"failurePolicy": "Ignore"}})
    async for event in client.watch(POLICIES):
        if event.object["spec"]["failurePolicy"] == "Ignore":
            break
    await client.create(DEPLOYMENTS, deployment("web"), "default")


async def test_an_expression_asks_the_authorizer(api: Api, client: ApiClient) -> None:
    allowed = "authorizer.group('apps').resource('deployments').namespace('default').check('delete').allowed()"
    own = "authorizer.requestResource.check('create').allowed()"
    other = "authorizer.serviceAccount('default', 'nobody').group('').resource('pods').check('get').allowed()"
    labels = ", ".join(f"'{name}': string({text})" for name, text in (("own", own), ("other", other), ("may", allowed)))
    await bound(client, applying(f"Object{{metadata: Object.metadata{{annotations: {{{labels}}}}}}}"))
    made = await client.create(DEPLOYMENTS, deployment("web"), "default")
    found = {name: made["metadata"]["annotations"][name] for name in ("own", "other", "may")}
    assert found == {"own": "true", "other": "false", "may": "true"}


async def test_an_expression_that_does_not_compile_is_refused_when_written(client: ApiClient) -> None:
    with pytest.raises(ApiError) as caught:
        await bound(client, applying("Object{spec: "))
    assert caught.value.code == 422 and "spec.mutations[0].applyConfiguration.expression" in caught.value.message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("object.spec", "object.spec"),
        ("Object{a: 1, ?b: c}", '{"a": 1, ?"b": c}'),
        ("Object.spec{x: [Object.y{z: {k: 1}}], w: f(a, b)}", '{"x": [{"z": {k: 1}}], "w": f(a, b)}'),
        ("'Object{a: 1}' + \"Object{\"", "'Object{a: 1}' + \"Object{\""),
        ("x.Object{a: 1}", "x.Object{a: 1}"),
        ("JSONPatch{op: 'add', path: a ? b : c}", '{"op": \'add\', "path": a ? b : c}'),
        ("Object{`a-b`: 1} // Object{c: 2}", '{"a-b": 1} // Object{c: 2}'),
        ("object.kind == Object.a", "object.kind == Object.a"),
    ],
)
def test_literals_of_types_are_written_as_maps(text: str, wanted: str) -> None:
    assert as_maps(text) == wanted
