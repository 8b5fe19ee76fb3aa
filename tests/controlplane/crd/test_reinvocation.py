"""Webhooks and policies that are asked again, because somebody changed the object after they saw it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.apiserver.cel import program as cel
from controlplane.apiserver.policies.binding import MUTATING as POLICY_KINDS
from controlplane.apiserver.webhooks.mutating import CONFIGURATIONS as MUTATING
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import PODS, SERVICE_ACCOUNTS
from tests.controlplane.apiserver.examples import pod
from tests.controlplane.apiserver.pki import Authority
from tests.controlplane.crd.program import WebhookProgram

Object = dict[str, Any]


def labelling(name: str) -> Callable[[Object], Object]:
    """A webhook that counts the labels it sees into one of its own."""

    def decide(request: Object) -> Object:
        labels = request["object"]["metadata"].get("labels") or {}
        others = sorted(set(labels) - {name})
        value = "-".join(others) or "none"
        if labels.get(name) == value:
            return {"allowed": True}
        patch = (
            []
            if "labels" in request["object"]["metadata"]
            else [{"op": "add", "path": "/metadata/labels", "value": {}}]
        )
        return {"allowed": True, "patch": [*patch, {"op": "add", "path": f"/metadata/labels/{name}", "value": value}]}

    return decide


async def configured(client: ApiClient, name: str, program: WebhookProgram, policy: str) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    webhook = {
        "name": f"{name}.example.com",
        "clientConfig": program.client_config(),
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "reinvocationPolicy": policy,
    }
    await client.create(MUTATING, {"metadata": {"name": name}, "webhooks": [webhook]})


@pytest.mark.parametrize(
    ("policies", "times", "labels"),
    [
        (("Never", "Never"), (1, 1), {"a": "none", "b": "a"}),
        (("IfNeeded", "Never"), (2, 1), {"a": "b", "b": "a"}),
        (("Never", "IfNeeded"), (1, 1), {"a": "none", "b": "a"}),
        (("IfNeeded", "IfNeeded"), (2, 2), {"a": "b", "b": "a"}),
    ],
)
async def test_who_wants_it_sees_what_later_ones_changed(
    client: ApiClient, authority: Authority, policies: tuple[str, str], times: tuple[int, int], labels: Object
) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    async with (
        WebhookProgram(authority, labelling("a")) as first,
        WebhookProgram(authority, labelling("b")) as second,
    ):
        await configured(client, "a", first, policies[0])
        await configured(client, "b", second, policies[1])
        made = await client.create(PODS, pod("p"), "default")
    assert (len(first.asked), len(second.asked)) == times
    assert {name: made["metadata"]["labels"].get(name) for name in ("a", "b")} == labels
    assert len(made["spec"]["volumes"]) == 1, "the server's own plugins change nothing twice"


async def test_containers_that_a_webhook_adds_get_the_token_and_the_limits(
    client: ApiClient, authority: Authority
) -> None:
    sidecar = {"name": "sidecar", "image": "mesh"}
    change = {"allowed": True, "patch": [{"op": "add", "path": "/spec/containers/-", "value": sidecar}]}
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    async with WebhookProgram(authority, lambda request: change) as program:
        await configured(client, "a", program, "Never")
        made = await client.create(PODS, pod("p"), "default")
    mounts = [container["volumeMounts"] for container in made["spec"]["containers"]]
    assert len(mounts) == 2 and mounts[0] == mounts[1], "the server's plugins have a second turn"


@pytest.mark.skipif(not cel.is_available(), reason="the extra [cel] is not installed")
@pytest.mark.parametrize(("policy", "seen"), [("IfNeeded", "2"), ("Never", "1")])
async def test_a_policy_runs_again_after_a_webhook_changed_the_object(
    client: ApiClient, authority: Authority, policy: str, seen: str
) -> None:
    sidecar = {"name": "sidecar", "image": "mesh"}
    change = {"allowed": True, "patch": [{"op": "add", "path": "/spec/containers/-", "value": sidecar}]}
    text = 'Object{metadata: Object.metadata{labels: {"count": string(size(object.spec.containers))}}}'
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": policy,
    }
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(POLICY_KINDS[0], {"metadata": {"name": "count"}, "spec": spec})
    await client.create(POLICY_KINDS[1], {"metadata": {"name": "count"}, "spec": {"policyName": "count"}})
    async with WebhookProgram(authority, lambda request: change) as program:
        await configured(client, "a", program, "Never")
        made = await client.create(PODS, pod("p"), "default")
    assert made["metadata"]["labels"]["count"] == seen
