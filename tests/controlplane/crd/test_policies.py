"""ValidatingAdmissionPolicy: rules of the cluster in CEL."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.apiserver.cel import program
from controlplane.apiserver.policies.binding import BINDINGS, POLICIES
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CONFIG_MAPS, DEPLOYMENTS
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.examples import config_map, deployment

Object = dict[str, Any]

pytestmark = pytest.mark.skipif(not program.is_available(), reason="the extra [cel] is not installed")
RULE: Object = {
    "apiGroups": ["apps"],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["deployments"],
}


async def bound(client: ApiClient, policy: Object, **binding: Any) -> None:
    """The policy and its binding, in the server's caches when this returns."""
    spec = {"matchConstraints": {"resourceRules": [RULE]}, **policy}
    await client.create(POLICIES, {"metadata": {"name": "few"}, "spec": spec})
    wanted = {"policyName": "few", "validationActions": ["Deny"], **binding}
    await client.create(BINDINGS, {"metadata": {"name": "here"}, "spec": wanted})


def sized(replicas: int) -> Object:
    made = deployment("web")
    return {**made, "spec": {**made["spec"], "replicas": replicas}}


async def test_a_policy_refuses_in_kubernetes_words(client: ApiClient) -> None:
    await bound(client, {"validations": [{"expression": "object.spec.replicas <= 5"}]})
    with pytest.raises(ApiError) as caught:
        await client.create(DEPLOYMENTS, sized(6), "default")
    words = "ValidatingAdmissionPolicy 'few' with binding 'here' denied request: failed expression: object.spec.replicas <= 5"
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message == f'deployments.apps "web" is forbidden: {words}'
    await client.create(DEPLOYMENTS, sized(5), "default")


async def test_variables_and_parameters_are_seen(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("limits", most="3"), "default")
    policy = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "variables": [{"name": "most", "expression": "int(params.data.most)"}],
        "validations": [
            {
                "expression": "object.spec.replicas <= variables.most",
                "messageExpression": "'at most ' + string(variables.most)",
                "reason": "Forbidden",
            }
        ],
    }
    await bound(client, policy, paramRef={"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"})
    with pytest.raises(ApiError, match="denied request: at most 3") as caught:
        await client.create(DEPLOYMENTS, sized(4), "default")
    assert caught.value.code == 403
    await client.create(DEPLOYMENTS, sized(3), "default")


async def test_a_binding_may_only_warn(client: ApiClient) -> None:
    policy = {"validations": [{"expression": "false", "message": "never"}]}
    await bound(client, policy, validationActions=["Warn"])
    headers = {"content-type": "application/json"}
    answer = await client.raw("POST", DEPLOYMENTS.path("default"), sized(1), headers)
    assert answer.status == 201
    assert (
        "Validation failed for ValidatingAdmissionPolicy 'few' with binding 'here': never" in answer.headers["warning"]
    )


async def test_an_expression_that_does_not_compile_is_refused(client: ApiClient) -> None:
    with pytest.raises(ApiError, match=r"spec\.validations\[0\]\.expression"):
        await bound(client, {"validations": [{"expression": "object.spec ="}]})
