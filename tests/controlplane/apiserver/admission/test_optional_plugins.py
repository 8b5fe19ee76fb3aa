"""Plugins that are off until they are named, and the labels that a pod gets from its node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.apiserver.admission import pod_toleration_restriction
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICE_ACCOUNTS,
)
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.examples import config_map, pod
from tests.controlplane.apiserver.memory import MemoryBackend

Object = dict[str, Any]
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"


def pod_with(name: str = "p", **spec: Any) -> Object:
    made: Object = pod(name)
    return {**made, "spec": {**made["spec"], **spec}}


async def started(start_api: StartApi, *names: str, **annotations: str) -> Api:
    """A server with these plugins, whose namespace `team` has these annotations."""
    api: Api = await start_api(MemoryBackend(), enable_admission_plugins=names)
    await annotated(api.client(), annotations)
    return api


async def annotated(client: ApiClient, annotations: Object) -> None:
    prefixed = {f"scheduler.alpha.kubernetes.io/{name}": text for name, text in annotations.items()}
    await client.create(NAMESPACES, {"metadata": {"name": "team", "annotations": prefixed}})
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "team")


async def test_a_bound_pod_has_the_zone_and_the_region_of_its_node(client: ApiClient) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    labels = {ZONE: "z1", REGION: "r1", "topology.kubernetes.io/rack": "7", "other": "x"}
    await client.create(NODES, {"metadata": {"name": "n", "labels": labels}})
    await client.create(PODS, pod("p", labels={"app": "a", ZONE: "elsewhere"}), "default")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}}
    await client.create(PODS, binding, "default", subresource="binding", name="p")
    found = await client.get(PODS, "p", "default")
    assert found["metadata"]["labels"] == {"app": "a", ZONE: "z1", REGION: "r1"}
    made = await client.create(PODS, pod_with("q", nodeName="n"), "default")
    assert made["metadata"]["labels"][ZONE] == "z1", "a pod that comes with its node, too"
    made = await client.create(PODS, pod_with("r", nodeName="unknown"), "default")
    assert ZONE not in (made["metadata"].get("labels") or {})


async def test_a_pod_keeps_others_off_its_node_only(start_api: StartApi) -> None:
    client = (await started(start_api, "LimitPodHardAntiAffinityTopology")).client()

    def keeping_off(key: str) -> Object:
        term = {"topologyKey": key, "labelSelector": {"matchLabels": {"a": "b"}}}
        return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}

    await client.create(PODS, pod_with(affinity=keeping_off("kubernetes.io/hostname")), "team")
    with pytest.raises(ApiError, match=f"has TopologyKey {ZONE} but only key kubernetes.io/hostname is allowed"):
        await client.create(PODS, pod_with("q", affinity=keeping_off(ZONE)), "team")


async def test_an_extended_resource_is_tolerated(start_api: StartApi) -> None:
    client = (await started(start_api, "ExtendedResourceToleration")).client()
    wanted = pod_with()
    amounts = {"example.com/gpu": "1", "cpu": "1", "memory": "1Mi"}
    wanted["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
    made = await client.create(PODS, wanted, "team")
    assert [each for each in made["spec"]["tolerations"] if each["effect"] == "NoSchedule"] == [
        {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]


async def test_a_namespace_selects_the_nodes_of_its_pods(start_api: StartApi, tmp_path: Path) -> None:
    settings = {"podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "env=lab", "team": "disk=ssd,env=team"}}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodNodeSelector", "configuration": settings}],
    }
    path = tmp_path / "admission.yaml"
    path.write_text(json.dumps(document))
    api: Api = await start_api(
        MemoryBackend(), enable_admission_plugins=("PodNodeSelector",), admission_control_config_file=path
    )
    client = api.client()
    await annotated(client, {"node-selector": "env=team"})
    made = await client.create(PODS, pod_with(nodeSelector={"a": "b"}), "team")
    assert made["spec"]["nodeSelector"] == {"a": "b", "env": "team"}
    with pytest.raises(ApiError, match="conflicts with its namespace node label selector"):
        await client.create(PODS, pod_with("q", nodeSelector={"env": "other"}), "team")
    with pytest.raises(ApiError, match="conflict with its namespace whitelist"):
        await client.create(PODS, pod_with("q", nodeSelector={"disk": "slow"}), "team")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    assert (await client.create(PODS, pod("p"), "default"))["spec"]["nodeSelector"] == {"env": "lab"}


async def test_a_namespace_says_what_its_pods_tolerate(start_api: StartApi) -> None:
    default = {"key": "team", "operator": "Equal", "value": "a", "effect": "NoSchedule"}
    standing = {"operator": "Exists", "effect": "NoExecute"}
    client = (
        await started(
            start_api,
            "PodTolerationRestriction",
            defaultTolerations=json.dumps([default]),
            tolerationsWhitelist=json.dumps([default, standing]),
        )
    ).client()
    made = await client.create(PODS, pod_with(), "team")
    assert default in made["spec"]["tolerations"]
    with pytest.raises(ApiError, match="namespace tolerations and pod tolerations conflict"):
        await client.create(PODS, pod_with("q", tolerations=[{**default, "value": "b"}]), "team")
    with pytest.raises(ApiError, match="conflict with its namespace whitelist"):
        await client.create(PODS, pod_with("q", tolerations=[{"key": "x", "operator": "Exists"}]), "team")


@pytest.mark.parametrize(
    ("wide", "narrow", "holds"),
    [
        ({"operator": "Exists"}, {"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "operator": "Exists"}, {"operator": "Exists"}, False),
        ({"key": "a", "value": "1"}, {"key": "a", "operator": "Exists"}, False),
        ({"key": "a", "operator": "Exists", "effect": "NoExecute"}, {"key": "a", "operator": "Exists"}, False),
        ({"operator": "Exists", "tolerationSeconds": 5}, {"key": "a", "tolerationSeconds": 4}, True),
        ({"operator": "Exists", "tolerationSeconds": 5}, {"key": "a"}, False),
    ],
)
def test_a_toleration_contains_another(wide: Object, narrow: Object, holds: bool) -> None:
    assert pod_toleration_restriction._contains(wide, narrow) is holds


async def test_who_sets_an_owner_may_delete_the_object_and_finalize_the_owner(start_api: StartApi) -> None:
    api = await started(start_api, "OwnerReferencesPermissionEnforcement")
    admin = api.client()
    owner = await admin.create(CONFIG_MAPS, config_map("owner"), "team")
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "update", "get"]}
    role: Object = {"metadata": {"name": "r"}, "rules": [rule]}
    await admin.create(CLUSTER_ROLES, role)
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await admin.create(CLUSTER_ROLE_BINDINGS, binding)
    jane = api.client("jane", ())
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    made = await jane.create(CONFIG_MAPS, config_map("a"), "team")
    made["metadata"]["ownerReferences"] = [reference]
    with pytest.raises(ApiError, match="cannot set an ownerRef on a resource you can't delete"):
        await jane.update(CONFIG_MAPS, made)
    blocking = config_map("b")
    blocking["metadata"]["ownerReferences"] = [{**reference, "blockOwnerDeletion": True}]
    with pytest.raises(ApiError, match="refers to a resource you can't set finalizers on"):
        await jane.create(CONFIG_MAPS, blocking, "team")
    role["rules"] = [
        {**rule, "verbs": [*rule["verbs"], "delete"]},
        {**rule, "resources": ["configmaps/finalizers"]},
    ]
    await admin.update(CLUSTER_ROLES, role)
    await jane.update(CONFIG_MAPS, made)
    await jane.create(CONFIG_MAPS, blocking, "team")
