"""What a node's credentials are good for: its own pods' secrets, its own Node and lease. Each other try is an attack."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import (
    CONFIG_MAPS,
    CSI_NODES,
    LEASES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.apiserver.examples import pod

EVICTION = "/api/v1/namespaces/default/pods/{}/eviction"


@pytest.fixture
async def nodes(api: Api, client: ApiClient) -> tuple[ApiClient, ApiClient]:
    """Clients of node-1, which runs pod `mine`, and of node-2, which runs `other`."""
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    for name in ("secret-1", "secret-2", "unused"):
        await client.create(SECRETS, {"metadata": {"name": name}, "data": {}}, "default")
    first, second = (api.client(f"system:node:node-{number}", ("system:nodes",)) for number in (1, 2))
    await first.create(NODES, {"metadata": {"name": "node-1"}})
    await second.create(NODES, {"metadata": {"name": "node-2"}})
    for name, number in (("mine", 1), ("other", 2)):
        spec = {"nodeName": f"node-{number}", "volumes": [{"name": "v", "secret": {"secretName": f"secret-{number}"}}]}
        made = pod(name)
        await client.create(PODS, {**made, "spec": {**made["spec"], **spec}}, "default")
    return first, second


async def _refused(call: Any, *words: str) -> None:
    with pytest.raises(ApiError) as caught:
        await call
    assert caught.value.code == 403, caught.value
    for word in words:
        assert word in caught.value.message


async def test_a_node_reads_the_secrets_of_its_own_pods_alone(
    client: ApiClient, nodes: tuple[ApiClient, ApiClient]
) -> None:
    first, second = nodes
    assert (await first.get(SECRETS, "secret-1", "default"))["metadata"]["name"] == "secret-1"
    await second.get(SECRETS, "secret-2", "default")
    why = "no relationship found between node 'node-1' and this object"
    await _refused(first.get(SECRETS, "secret-2", "default"), why, 'cannot get resource "secrets"')
    await _refused(first.get(SECRETS, "unused", "default"), why)
    await _refused(first.list(SECRETS, "default"), "No Object name found")
    await _refused(first.list(SECRETS), "can only read namespaced object of this type")
    listed = await first.list(SECRETS, "default", field_selector="metadata.name=secret-1")
    assert [each["metadata"]["name"] for each in listed["items"]] == ["secret-1"]
    await _refused(first.list(SECRETS, "default", field_selector="metadata.name=secret-2"), why)
    await _refused(first.list(SECRETS, "default", field_selector="metadata.name!=x"), "No Object name found")
    await _refused(first.delete(SECRETS, "secret-1", "default"), "can only read resources of this type")
    await _refused(first.get(CONFIG_MAPS, "any", "default"), why)
    await _refused(first.get(PERSISTENT_VOLUME_CLAIMS, "any", "default"), why)
    await client.delete(PODS, "mine", "default", grace_period_seconds=0)
    await _refused(first.get(SECRETS, "secret-1", "default"), why)


async def test_a_node_sees_itself_and_its_own_pods(nodes: tuple[ApiClient, ApiClient]) -> None:
    first, _ = nodes
    await first.get(NODES, "node-1")
    await _refused(first.get(NODES, "node-2"), "node 'node-1' cannot read 'node-2', only its own Node object")
    await _refused(first.list(NODES), "node 'node-1' cannot read all nodes, only its own Node object")
    await first.list(NODES, field_selector="metadata.name=node-1")
    await first.get(PODS, "mine", "default")
    await _refused(first.get(PODS, "other", "default"), "no relationship found")
    await _refused(first.list(PODS), "can only list/watch pods with spec.nodeName field selector")
    await _refused(first.list(PODS, field_selector="spec.nodeName=node-2"), "spec.nodeName field selector")
    found = await first.list(PODS, field_selector="spec.nodeName=node-1")
    assert [each["metadata"]["name"] for each in found["items"]] == ["mine"]


async def test_a_node_writes_its_own_node_only(client: ApiClient, nodes: tuple[ApiClient, ApiClient]) -> None:
    first, _ = nodes
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await first.patch(NODES, "node-1", ready, type="merge", subresource="status")
    why = 'node "node-1" is not allowed to modify node "node-2"'
    await _refused(first.patch(NODES, "node-2", ready, type="merge", subresource="status"), why)
    await _refused(first.patch(NODES, "node-2", {"metadata": {"labels": {"a": "b"}}}, type="merge"), why)
    await _refused(first.create(NODES, {"metadata": {"name": "node-3"}}), "is not allowed to modify node")
    await _refused(first.delete(NODES, "node-1"))
    await _refused(first.delete(NODES, "node-2"))
    owned = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}]
    await _refused(
        first.patch(NODES, "node-1", {"metadata": {"ownerReferences": owned}}, type="merge"), "ownerReferences"
    )


@pytest.mark.parametrize(
    ("label", "allowed"),
    [
        ("team", True),
        ("example.com/rack", True),
        ("kubernetes.io/hostname", True),
        ("topology.kubernetes.io/zone", True),
        ("kubelet.kubernetes.io/x", True),
        ("node.kubernetes.io/x", True),
        ("node-restriction.kubernetes.io/secure", False),
        ("sub.node-restriction.kubernetes.io/secure", False),
        ("node-role.kubernetes.io/control-plane", False),
        ("kubernetes.io/unknown", False),
        ("k8s.io/unknown", False),
    ],
)
async def test_a_node_sets_no_label_that_keeps_others_safe(
    nodes: tuple[ApiClient, ApiClient], label: str, allowed: bool
) -> None:
    first, _ = nodes
    call = first.patch(NODES, "node-1", {"metadata": {"labels": {label: "x"}}}, type="merge")
    if allowed:
        await call
    else:
        await _refused(call, f"is not allowed to modify labels: {label}")


async def test_a_node_cannot_take_its_taints_off(client: ApiClient, nodes: tuple[ApiClient, ApiClient]) -> None:
    first, _ = nodes
    taint = [{"key": "dedicated", "value": "safe", "effect": "NoSchedule"}]
    await client.patch(NODES, "node-1", {"spec": {"taints": taint}}, type="merge")
    await _refused(
        first.patch(NODES, "node-1", {"spec": {"taints": None}}, type="merge"), "is not allowed to modify taints"
    )


async def test_a_node_tells_the_status_of_its_own_pods_only(nodes: tuple[ApiClient, ApiClient]) -> None:
    first, _ = nodes
    running = {"status": {"phase": "Running"}}
    await first.patch(PODS, "mine", running, "default", type="merge", subresource="status")
    why = "can only update pod status for pods with spec.nodeName set to itself"
    await _refused(first.patch(PODS, "other", running, "default", type="merge", subresource="status"), why)
    await _refused(first.delete(PODS, "other", "default"), "can only delete pods with spec.nodeName set to itself")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "other", "namespace": "default"}}
    assert (await first.raw("POST", EVICTION.format("other"), body)).status == 403
    body["metadata"]["name"] = "mine"
    assert (await first.raw("POST", EVICTION.format("mine"), body)).status == 201


async def test_a_node_makes_mirror_pods_only(client: ApiClient, nodes: tuple[ApiClient, ApiClient]) -> None:
    first, _ = nodes
    uid = (await client.get(NODES, "node-1"))["metadata"]["uid"]
    plain = pod("static")
    spec = {**plain["spec"], "nodeName": "node-1"}
    await _refused(first.create(PODS, {**plain, "spec": spec}, "default"), "can only create mirror pods")
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": uid, "controller": True}
    metadata = {
        **plain["metadata"],
        "annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": [owner],
    }
    stealing = {**spec, "volumes": [{"name": "v", "secret": {"secretName": "unused"}}]}
    await _refused(
        first.create(PODS, {**plain, "metadata": metadata, "spec": stealing}, "default"), "reference secrets"
    )
    as_account = {**spec, "serviceAccountName": "default"}
    await _refused(
        first.create(PODS, {**plain, "metadata": metadata, "spec": as_account}, "default"), "service account"
    )
    elsewhere = {**spec, "nodeName": "node-2"}
    await _refused(first.create(PODS, {**plain, "metadata": metadata, "spec": elsewhere}, "default"), "set to itself")
    unowned = {**metadata, "ownerReferences": []}
    await _refused(first.create(PODS, {**plain, "metadata": unowned, "spec": spec}, "default"), "owner reference")
    wrong = {**metadata, "ownerReferences": [{**owner, "uid": "another"}]}
    await _refused(first.create(PODS, {**plain, "metadata": wrong, "spec": spec}, "default"), "UID mismatch")
    made = await first.create(PODS, {**plain, "metadata": metadata, "spec": spec}, "default")
    assert made["spec"]["nodeName"] == "node-1"


def _token_path(account: str = "default") -> str:
    return SERVICE_ACCOUNTS.path("default", account, "token")


async def test_a_node_gets_tokens_for_its_own_pods_only(client: ApiClient, nodes: tuple[ApiClient, ApiClient]) -> None:
    first, _ = nodes
    bound = {}
    made, source = pod("for-vault"), {"serviceAccountToken": {"path": "token", "audience": "vault"}}
    volumes = [{"name": "t", "projected": {"sources": [source]}}]
    await client.create(PODS, {**made, "spec": {**made["spec"], "nodeName": "node-1", "volumes": volumes}}, "default")
    for name in ("mine", "other", "for-vault"):
        found = await client.get(PODS, name, "default")
        bound[name] = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": found["metadata"]["uid"]}

    async def asked(reference: dict[str, Any] | None, account: str = "default", **spec: Any) -> int:
        body = {"spec": spec | ({"boundObjectRef": reference} if reference else {})}
        return (await first.raw("POST", _token_path(account), body)).status

    assert await asked(bound["mine"]) == 201
    assert await asked(bound["mine"], audiences=["vault"]) == 403
    assert await asked(bound["mine"], audiences=["vault", "other"]) == 403
    assert await asked(bound["for-vault"], audiences=["vault"]) == 201
    assert await asked(bound["other"]) == 403
    assert await asked(None) == 403
    assert await asked({**bound["mine"], "uid": ""}) == 403
    assert await asked({**bound["mine"], "uid": "another"}) == 409
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "powerful"}}, "default")
    assert await asked(bound["mine"], "powerful") == 403


@pytest.mark.parametrize(("resource", "namespace"), [(LEASES, "kube-node-lease"), (CSI_NODES, None)])
async def test_a_node_has_one_lease_and_one_csi_node(
    nodes: tuple[ApiClient, ApiClient], resource: Resource, namespace: str | None
) -> None:
    first, second = nodes
    spec: dict[str, Any] = {"drivers": []} if resource == CSI_NODES else {}
    await second.create(resource, {"metadata": {"name": "node-2"}, "spec": spec}, namespace)
    await first.create(resource, {"metadata": {"name": "node-1"}, "spec": spec}, namespace)
    same = "with the same name as the requesting node"
    await _refused(first.create(resource, {"metadata": {"name": "node-3"}, "spec": spec}, namespace), same)
    await _refused(first.get(resource, "node-2", namespace), same)
    await _refused(first.delete(resource, "node-2", namespace), same)
    await _refused(first.list(resource, namespace), "can only get, create, update, patch, or delete")
    if namespace:
        await _refused(first.get(LEASES, "kube-scheduler", "kube-system"), '"kube-node-lease" system namespace')


async def test_what_is_no_node_gets_nothing_by_the_groups_name(api: Api, nodes: tuple[ApiClient, ApiClient]) -> None:
    impostor = api.client("somebody", ("system:nodes",))
    await _refused(impostor.get(SECRETS, "secret-1", "default"))
    await _refused(impostor.list(PODS, field_selector="spec.nodeName=node-1"))
    ungrouped = api.client("system:node:node-1", ())
    await _refused(ungrouped.get(SECRETS, "secret-1", "default"))
