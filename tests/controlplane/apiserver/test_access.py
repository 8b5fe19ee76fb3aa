"""Who may do what: certificates, tokens, RBAC, reviews, impersonation."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    LEASES,
    NODES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.apiserver.examples import config_map, pod

RBAC = "rbac.authorization.k8s.io"


def _role(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": list(rules)}


def _binding(name: str, role_kind: str, role: str, *subjects: dict[str, Any]) -> dict[str, Any]:
    reference = {"apiGroup": RBAC, "kind": role_kind, "name": role}
    return {"metadata": {"name": name}, "roleRef": reference, "subjects": list(subjects)}


USER_JANE = {"apiGroup": RBAC, "kind": "User", "name": "jane"}
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


async def _token(client: ApiClient, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await client.raw("POST", SERVICE_ACCOUNTS.path("default", "robot", "token"), body={"spec": spec or {}})
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def test_a_stranger_is_refused_in_kubernetes_words(api: Api) -> None:
    jane = api.client("jane", ("dev",))
    with pytest.raises(ApiError) as caught:
        await jane.list(PODS, "default")
    assert (caught.value.code, caught.value.reason) == (403, "Forbidden")
    why = 'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"'
    assert caught.value.message == why
    with pytest.raises(ApiError) as caught:
        await jane.get(NODES, "n")
    why = 'nodes "n" is forbidden: User "jane" cannot get resource "nodes" in API group "" at the cluster scope'
    assert caught.value.message == why


async def test_a_role_and_its_binding_allow_at_once(api: Api, client: ApiClient) -> None:
    jane = api.client("jane", ())
    with pytest.raises(ApiError):
        await jane.list(PODS, "default")
    await client.create(ROLES, _role("reader", READ_PODS), "default")
    await client.create(ROLE_BINDINGS, _binding("b", "Role", "reader", USER_JANE), "default")
    assert (await jane.list(PODS, "default"))["items"] == []
    with pytest.raises(ApiError):
        await jane.list(PODS, "kube-system")
    await client.delete(ROLE_BINDINGS, "b", "default")
    with pytest.raises(ApiError):
        await jane.list(PODS, "default")


async def test_aggregated_roles_gain_rules_as_roles_appear(api: Api, client: ApiClient) -> None:
    jane = api.client("jane", ())
    selector = {"clusterRoleSelectors": [{"matchLabels": {"for": "monitors"}}]}
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "monitor"}, "aggregationRule": selector})
    await client.create(CLUSTER_ROLE_BINDINGS, _binding("m", "ClusterRole", "monitor", USER_JANE))
    with pytest.raises(ApiError):
        await jane.list(PODS)
    part = _role("part", READ_PODS)
    part["metadata"]["labels"] = {"for": "monitors"}
    await client.create(CLUSTER_ROLES, part)
    assert (await jane.list(PODS))["items"] == []


async def test_nobody_reads_health_and_version_only(api: Api) -> None:
    nobody = api.token_client("")
    assert (await nobody.raw("GET", "/healthz")).body == b"ok"
    assert (await nobody.raw("GET", "/readyz")).status == 200
    assert b"gitVersion" in (await nobody.raw("GET", "/version")).body
    assert (await nobody.raw("GET", "/api/v1/pods")).status == 401
    assert (await nobody.raw("GET", "/apis")).status == 401


async def test_components_may_do_their_work(api: Api) -> None:
    scheduler = api.client("system:kube-scheduler", ())
    manager = api.client("system:kube-controller-manager", ())
    node = api.client("system:node:n", ("system:nodes",))
    cloud = api.client("system:cloud-controller-manager", ())
    for client in (scheduler, manager, cloud):
        await client.list(PODS)
        await client.list(LEASES, "kube-system")
    await node.list(PODS, field_selector="spec.nodeName=n")
    await node.create(NODES, {"metadata": {"name": "n"}})
    await node.create(LEASES, {"metadata": {"name": "n"}, "spec": {}}, "kube-node-lease")
    await manager.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await cloud.patch(NODES, "n", {"spec": {"providerID": "local://n"}}, type="merge")
    with pytest.raises(ApiError):
        await scheduler.list(SECRETS)


async def test_a_token_is_good_while_its_account_lives(api: Api, client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    answer = await _token(client)
    token = answer["status"]["token"]
    robot = api.token_client(token)
    review = await robot.raw(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body={"kind": "SelfSubjectReview"}
    )
    user = json.loads(review.body)["status"]["userInfo"]
    assert user["username"] == "system:serviceaccount:default:robot"
    assert user["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    await client.delete(SERVICE_ACCOUNTS, "robot", "default")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    assert (await robot.raw("GET", "/api")).status == 401


async def test_a_token_bound_to_a_pod_dies_with_it(api: Api, client: ApiClient) -> None:
    for name in ("default", "robot"):
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": name}}, "default")
    made = await client.create(PODS, pod("p"), "default")
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["metadata"]["uid"]}
    token = (await _token(client, {"boundObjectRef": reference}))["status"]["token"]
    robot = api.token_client(token)
    assert (await robot.raw("GET", "/api")).status == 200
    await client.delete(PODS, "p", "default")
    assert (await robot.raw("GET", "/api")).status == 401


async def test_a_token_for_others_is_not_for_the_api(api: Api, client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    token = (await _token(client, {"audiences": ["vault"]}))["status"]["token"]
    assert (await api.token_client(token).raw("GET", "/api")).status == 401
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    review = await client.raw("POST", path, body={"spec": {"token": token, "audiences": ["vault"]}})
    found = json.loads(review.body)["status"]
    assert found["authenticated"] and found["audiences"] == ["vault"]
    review = await client.raw("POST", path, body={"spec": {"token": token}})
    assert not json.loads(review.body)["status"]["authenticated"]


async def test_a_token_that_was_changed_is_refused(api: Api, client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    head, body, signature = (await _token(client))["status"]["token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["sub"] = "system:serviceaccount:kube-system:robot"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert (await api.token_client(f"{head}.{forged}.{signature}").raw("GET", "/api")).status == 401
    assert (await api.token_client("a.b.c").raw("GET", "/api")).status == 401
    assert (await api.token_client("nonsense").raw("GET", "/api")).status == 401


async def test_a_short_life_of_a_token_is_invalid(client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    found = await _token(client, {"expirationSeconds": 10})
    assert found["code"] == 422 and "may not specify a duration less than 10 minutes" in found["message"]


async def test_access_reviews_answer_for_oneself_and_for_others(api: Api, client: ApiClient) -> None:
    jane = api.client("jane", ())
    asked = {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    mine = await jane.raw("POST", path, body={"spec": asked})
    assert mine.status == 201 and json.loads(mine.body)["status"] == {"allowed": False}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    other = await client.raw("POST", path, body={"spec": {**asked, "user": "x", "groups": ["system:masters"]}})
    assert json.loads(other.body)["status"] == {"allowed": True}
    assert (await jane.raw("POST", path, body={"spec": {**asked, "user": "x"}})).status == 403


async def test_a_rules_review_lists_what_one_may(api: Api, client: ApiClient) -> None:
    await client.create(ROLES, _role("reader", READ_PODS), "default")
    await client.create(ROLE_BINDINGS, _binding("b", "Role", "reader", USER_JANE), "default")
    jane = api.client("jane", ())
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    found = json.loads((await jane.raw("POST", path, body={"spec": {"namespace": "default"}})).body)["status"]
    assert {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]} in found["resourceRules"]
    assert not found["incomplete"]


async def test_the_administrator_may_act_as_another(api: Api, client: ApiClient) -> None:
    headers = {"impersonate-user": "jane", "impersonate-group": "dev"}
    refused = await client.raw("GET", "/api/v1/pods", headers=headers)
    assert refused.status == 403 and b'User \\"jane\\" cannot list' in refused.body
    jane = api.client("jane", ())
    refused = await jane.raw("GET", "/api/v1/pods", headers={"impersonate-user": "admin"})
    assert b'users \\"admin\\" is forbidden: User \\"jane\\" cannot impersonate resource \\"users\\"' in refused.body


async def test_nobody_grants_what_he_has_not(api: Api, client: ApiClient) -> None:
    admin_of_roles = {"apiGroups": [RBAC], "resources": ["roles", "rolebindings"], "verbs": ["get", "create"]}
    await client.create(ROLES, _role("grantor", admin_of_roles), "default")
    await client.create(ROLE_BINDINGS, _binding("g", "Role", "grantor", USER_JANE), "default")
    jane = api.client("jane", ())
    with pytest.raises(ApiError) as caught:
        await jane.create(ROLES, _role("more", READ_PODS), "default")
    assert caught.value.code == 403
    assert "attempting to grant RBAC permissions not currently held" in caught.value.message
    with pytest.raises(ApiError):
        await jane.create(ROLE_BINDINGS, _binding("x", "ClusterRole", "cluster-admin", USER_JANE), "default")
    await jane.create(ROLES, _role("same", admin_of_roles), "default")


async def test_pods_get_their_account_token_and_tolerations(client: ApiClient) -> None:
    with pytest.raises(ApiError) as caught:
        await client.create(PODS, pod("p"), "default")
    assert caught.value.message.endswith(
        'error looking up service account default/default: serviceaccount "default" not found'
    )
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    spec = (await client.create(PODS, pod("p"), "default"))["spec"]
    assert spec["serviceAccountName"] == "default"
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert spec["containers"][0]["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert {each["key"] for each in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
    assert spec["priority"] == 0 and spec["preemptionPolicy"] == "PreemptLowerPriority"


async def test_a_certificate_without_groups_is_an_authenticated_user(api: Api) -> None:
    jane = api.client("jane", ())
    assert (await jane.raw("GET", "/apis")).status == 200
    with pytest.raises(ApiError):
        await jane.create(CONFIG_MAPS, config_map("a"), "default")
