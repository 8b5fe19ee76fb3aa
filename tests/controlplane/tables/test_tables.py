"""Cells as kubectl prints them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.apiserver import tables
from controlplane.apiserver.tables.printer import human_duration
from controlplane.objects import kinds
from controlplane.objects.kinds import DEPLOYMENTS, EVENTS, JOBS, NODES, PODS, SERVICES, Resource
from controlplane.objects.meta import format_time, set_in

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)
TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}}


def ago(**parts: int) -> str:
    return format_time(NOW - timedelta(**parts))


def obj(**fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "creationTimestamp": ago(minutes=5)}, **fields}


def cells(resource: Resource, found: dict[str, Any]) -> list[Any]:
    result: list[Any] = tables.row(resource, found, NOW)["cells"]
    return result


@pytest.mark.parametrize("resource", kinds.BUILT_IN, ids=lambda resource: f"{resource.group}/{resource.plural}")
def test_every_row_has_a_cell_for_each_column_even_when_the_object_is_bare(resource: Resource) -> None:
    for found in ({}, obj(), obj(spec={}, status={})):
        document = tables.table(resource, [found], now=NOW, include="None", metadata={"resourceVersion": "5"})
        assert len(document["rows"][0]["cells"]) == len(document["columnDefinitions"])
        assert document["rows"][0]["object"] is None
    names = [column["name"] for column in tables.columns(resource)]
    assert "Name" in names
    assert len(set(names)) == len(names)


DURATIONS = [
    (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (3 * 3600 - 1, "179m"),
    (3 * 3600, "3h"), (3 * 3600 + 60, "3h1m"), (8 * 3600, "8h"), (47 * 3600, "47h"), (48 * 3600, "2d"), (49 * 3600, "2d1h"),
    (8 * 86400, "8d"), (729 * 86400, "729d"), (730 * 86400, "2y"), (731 * 86400, "2y1d"), (8 * 365 * 86400, "8y"),
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "expected"), DURATIONS)
def test_durations_are_written_as_kubectl_does(seconds: int, expected: str) -> None:
    assert human_duration(seconds) == expected


def pod(phase: str = "Running", *containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    statuses = [{"name": "c", "restartCount": 0, **container} for container in containers]
    return obj(spec=TEMPLATE["spec"], status={"phase": phase, "containerStatuses": statuses, **status})


RUNNING = {"ready": True, "state": {"running": {}}}
DONE = {"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}
CRASHING = {
    "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"finishedAt": ago(seconds=30)}},
}
PODS_SHOWN = [
    (pod("Pending"), ["0/2", "Pending", "0"]),
    (pod("Running", RUNNING, RUNNING), ["2/2", "Running", "0"]),
    (pod("Running", CRASHING, RUNNING), ["1/2", "CrashLoopBackOff", "3 (30s ago)"]),
    (pod("Succeeded", DONE, DONE), ["0/2", "Completed", "0"]),
    (pod("Running", DONE, RUNNING), ["1/2", "NotReady", "0"]),
    (pod("Running", DONE, RUNNING, conditions=[{"type": "Ready", "status": "True"}]), ["1/2", "Running", "0"]),
    (pod("Failed", {"state": {"terminated": {"exitCode": 3}}}), ["0/2", "ExitCode:3", "0"]),
    (pod("Failed", {"state": {"terminated": {"exitCode": 137, "signal": 9}}}), ["0/2", "Signal:9", "0"]),
    (pod("Failed", reason="Evicted"), ["0/2", "Evicted", "0"]),
    (set_in(pod("Running", RUNNING), ["metadata", "deletionTimestamp"], ago(seconds=1)), ["1/2", "Terminating", "0"]),
    (
        pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
        ["0/2", "SchedulingGated", "0"],
    ),
]


@pytest.mark.parametrize(("found", "expected"), PODS_SHOWN)
def test_a_pods_status_is_told_by_its_containers(found: dict[str, Any], expected: list[str]) -> None:
    assert cells(PODS, found)[1:4] == expected


def test_init_containers_speak_until_they_are_done() -> None:
    found = set_in(pod("Pending"), ["spec", "initContainers"], [{"name": "a"}, {"name": "b"}])
    statuses = [{"name": "a", "state": {"terminated": {"exitCode": 0}}}, {"name": "b", "state": {"running": {}}}]
    assert cells(PODS, set_in(found, ["status", "initContainerStatuses"], statuses))[2] == "Init:1/2"
    failed = [{"name": "a", "restartCount": 2, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]
    assert cells(PODS, set_in(found, ["status", "initContainerStatuses"], failed))[1:4] == ["0/2", "Init:Error", "2"]


def test_a_sidecar_counts_as_a_container() -> None:
    found = set_in(
        pod("Running", RUNNING, RUNNING), ["spec", "initContainers"], [{"name": "s", "restartPolicy": "Always"}]
    )
    sidecar = [{"name": "s", "ready": True, "started": True, "restartCount": 1, "state": {"running": {}}}]
    assert cells(PODS, set_in(found, ["status", "initContainerStatuses"], sidecar))[1:4] == ["3/3", "Running", "1"]


def test_wide_cells_of_a_pod_say_where_it_is() -> None:
    found = set_in(pod("Running", RUNNING, podIP="127.1.16.2"), ["spec", "nodeName"], "node-0")
    assert cells(PODS, found)[4:] == ["5m", "127.1.16.2", "node-0", "<none>", "<none>"]
    assert tables.row(PODS, pod("Succeeded"), NOW)["conditions"][0]["reason"] == "Succeeded"


def test_nodes_show_roles_readiness_and_addresses() -> None:
    found = obj(
        spec={"unschedulable": True},
        status={
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "127.1.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian"},
        },
    )
    found["metadata"]["labels"] = {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}
    assert cells(NODES, found) == [
        "x", "Ready,SchedulingDisabled", "control-plane,edge", "5m", "v1.37.0", "127.1.0.1", "<none>", "Debian", "<unknown>",
        "<unknown>",
    ]  # fmt: skip
    assert cells(NODES, obj())[1] == "Unknown"


def test_a_deployment_counts_its_replicas() -> None:
    spec = {"replicas": 3, "template": TEMPLATE, "selector": {"matchLabels": {"b": "2", "a": "1"}}}
    found = obj(spec=spec, status={"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2})
    assert cells(DEPLOYMENTS, found) == ["x", "2/3", 3, 2, "5m", "c,d", "i,j", "a=1,b=2"]


SERVICES_SHOWN = [
    ({"type": "ClusterIP", "clusterIP": "127.1.128.9", "ports": [{"port": 80, "protocol": "TCP"}]}, {},
     ["ClusterIP", "127.1.128.9", "<none>", "80/TCP"]),
    ({"type": "NodePort", "clusterIP": "a", "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}]}, {},
     ["NodePort", "a", "<none>", "80:30000/TCP"]),
    ({"type": "LoadBalancer", "clusterIP": "a"}, {}, ["LoadBalancer", "a", "<pending>", "<none>"]),
    ({"type": "LoadBalancer", "clusterIP": "a"}, {"loadBalancer": {"ingress": [{"ip": "127.1.200.1"}]}},
     ["LoadBalancer", "a", "127.1.200.1", "<none>"]),
    ({"type": "ExternalName", "externalName": "a.b"}, {}, ["ExternalName", "<none>", "a.b", "<none>"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "status", "expected"), SERVICES_SHOWN)
def test_services_show_their_addresses(spec: dict[str, Any], status: dict[str, Any], expected: list[str]) -> None:
    assert cells(SERVICES, obj(spec=spec, status=status))[1:5] == expected


def test_jobs_show_progress_and_duration() -> None:
    spec = {"completions": 3, "template": TEMPLATE}
    running = obj(spec=spec, status={"succeeded": 1, "startTime": ago(seconds=90)})
    assert cells(JOBS, running)[1:5] == ["Running", "1/3", "90s", "5m"]
    status = {"succeeded": 3, "startTime": ago(seconds=90), "completionTime": ago(seconds=60)}
    complete = obj(spec=spec, status={**status, "conditions": [{"type": "Complete", "status": "True"}]})
    assert cells(JOBS, complete)[1:4] == ["Complete", "3/3", "30s"]
    assert cells(JOBS, obj(spec={"parallelism": 2}))[2] == "0/1 of 2"


def test_events_of_both_groups_look_the_same() -> None:
    old = obj(
        involvedObject={"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"}, type="Normal", reason="Started",
        source={"component": "kubelet", "host": "node-0"}, message="Started\n", firstTimestamp=ago(minutes=3),
        lastTimestamp=ago(seconds=20), count=4,
    )  # fmt: skip
    expected = ["20s", "Normal", "Started", "pod/p", "spec.containers{c}", "kubelet, node-0", "Started", "3m", 4, "x"]
    assert cells(EVENTS, old) == expected
    new = obj(
        regarding=old["involvedObject"], type="Normal", reason="Started", reportingController="kubelet", note="Started",
        eventTime=ago(minutes=3), series={"count": 4, "lastObservedTime": ago(seconds=20)},
    )  # fmt: skip
    assert cells(kinds.EVENTS_V1, new) == [*expected[:5], "kubelet", *expected[6:]]


def test_autoscalers_compare_use_with_the_target() -> None:
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    spec = {
        "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 1, "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": resource}],
    }  # fmt: skip
    assert cells(kinds.HORIZONTAL_POD_AUTOSCALERS, obj(spec=spec))[1:4] == ["Deployment/d", "cpu: <unknown>/80%", "1"]
    current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5}}}]
    status = {"currentReplicas": 2, "currentMetrics": current}
    assert cells(kinds.HORIZONTAL_POD_AUTOSCALERS, obj(spec=spec, status=status))[2:6] == ["cpu: 5%/80%", "1", 5, 2]


OWNER = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "controller": True}
SMALL = [
    (kinds.CONFIG_MAPS, {"data": {"a": "b"}, "binaryData": {"c": ""}}, [2, "5m"]),
    (kinds.SECRETS, {"type": "Opaque", "data": {"a": ""}}, ["Opaque", 1, "5m"]),
    (kinds.NAMESPACES, {"status": {"phase": "Active"}}, ["Active", "5m"]),
    (
        kinds.ENDPOINTS,
        {"subsets": [{"addresses": [{"ip": f"127.0.0.{n}"} for n in range(1, 6)], "ports": [{"port": 80}]}]},
        ["127.0.0.1:80,127.0.0.2:80,127.0.0.3:80 + 2 more...", "5m"],
    ),
    (
        kinds.ENDPOINT_SLICES,
        {"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["127.0.0.1"]}]},
        ["IPv4", "80", "127.0.0.1", "5m"],
    ),
    (kinds.INGRESSES, {"spec": {"rules": [{"host": "a.b"}]}}, ["<none>", "a.b", "", "80", "5m"]),
    (kinds.NETWORK_POLICIES, {"spec": {"podSelector": {}}}, ["<none>", "5m"]),
    (
        kinds.ROLE_BINDINGS,
        {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}]},
        ["Role/r", "5m", "", "", "n/s"],
    ),
    (kinds.CLUSTER_ROLES, {}, [ago(minutes=5)]),
    (kinds.LEASES, {"spec": {"holderIdentity": "node-0"}}, ["node-0", "5m"]),
    (
        kinds.CRON_JOBS,
        {"spec": {"schedule": "* * * * *", "suspend": False}, "status": {"lastScheduleTime": ago(seconds=9)}},
        ["* * * * *", "<none>", "False", 0, "9s", "5m", "", "", "<none>"],
    ),
    (
        kinds.PERSISTENT_VOLUME_CLAIMS,
        {"spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}},
        ["Pending", "", "", "", "fast", "<unset>", "5m", "<unset>"],
    ),
    (
        kinds.CONTROLLER_REVISIONS,
        {"revision": 2, "metadata": {"ownerReferences": [OWNER]}},
        ["statefulset.apps/s", 2, "<unknown>"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "fields", "expected"), SMALL)
def test_small_kinds_have_their_cells(resource: Resource, fields: dict[str, Any], expected: list[Any]) -> None:
    assert cells(resource, obj() | fields)[1:] == expected


def test_a_default_class_says_so_in_its_name() -> None:
    found = set_in(obj(), ["metadata", "annotations"], {"storageclass.kubernetes.io/is-default-class": "true"})
    assert cells(kinds.STORAGE_CLASSES, found)[0] == "x (default)"


def test_a_row_carries_the_object_that_was_asked_for() -> None:
    found = obj(data={})
    partial = tables.row(kinds.CONFIG_MAPS, found, NOW, "Metadata", "v1beta1")["object"]
    assert partial == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1beta1", "metadata": found["metadata"],
    }  # fmt: skip
    assert tables.row(kinds.CONFIG_MAPS, found, NOW, "Object")["object"] is found
    document = tables.table(kinds.CONFIG_MAPS, [found], now=NOW, metadata={"continue": "x"})
    assert (document["kind"], document["apiVersion"], document["metadata"]) == (
        "Table",
        "meta.k8s.io/v1",
        {"continue": "x"},
    )
    assert document["columnDefinitions"][0]["format"] == "name"
