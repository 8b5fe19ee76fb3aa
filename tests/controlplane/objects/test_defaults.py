"""What Kubernetes fills in, per kind."""

import copy
from typing import Any

import pytest

from controlplane.objects import kinds
from controlplane.objects.defaults import REGISTRY, apply_defaults
from controlplane.objects.defaults.pod import image_pull_policy
from controlplane.objects.kinds import DEPLOYMENTS, JOBS, PODS, SERVICES
from controlplane.objects.scheme import Scheme
from controlplane.objects.validation import decode

SCHEME = Scheme.load()
CONTAINER = {"name": "c", "image": "web:1"}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
FULL_CONTAINER = {
    "name": "c", "image": "web:1", "imagePullPolicy": "IfNotPresent", "resources": {},
    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
}  # fmt: skip
FULL_SPEC = {
    "containers": [FULL_CONTAINER], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "securityContext": {},
    "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler",
}  # fmt: skip


def test_a_pod_gets_its_policies_and_its_containers_theirs() -> None:
    pod = apply_defaults(PODS, {"spec": {"containers": [CONTAINER]}})
    assert pod["spec"] == {**FULL_SPEC, "enableServiceLinks": True}


def test_a_deployment_rolls_by_a_quarter() -> None:
    spec = apply_defaults(DEPLOYMENTS, {"spec": {"template": TEMPLATE}})["spec"]
    assert spec == {
        "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": FULL_SPEC},
    }  # fmt: skip
    recreated = apply_defaults(DEPLOYMENTS, {"spec": {"strategy": {"type": "Recreate"}}})["spec"]
    assert recreated["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        ("host:5000/a", "Always"),
        ("a@sha256:0", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert image_pull_policy(image) == policy


def test_requests_follow_limits_in_a_pod_but_not_in_a_template() -> None:
    container = {**CONTAINER, "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}
    pod = apply_defaults(PODS, {"spec": {"containers": [container]}})
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    template = {"spec": {"template": {"spec": {"containers": [container]}}}}
    spec = apply_defaults(DEPLOYMENTS, template)["spec"]["template"]["spec"]
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "500m"}


def test_probes_ports_volumes_and_sources_are_completed() -> None:
    container = {
        **CONTAINER,
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 80}},
        "livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 3},
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    }
    volumes = [
        {"name": "a"},
        {"name": "b", "secret": {"secretName": "s"}},
        {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        {"name": "d", "hostPath": {"path": "/x"}},
    ]
    spec = {"containers": [container], "volumes": volumes, "serviceAccountName": "sa", "hostNetwork": True}
    found = apply_defaults(PODS, {"spec": spec})["spec"]
    done = found["containers"][0]
    assert done["ports"] == [{"containerPort": 80, "protocol": "TCP", "hostPort": 80}]
    times = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    assert done["readinessProbe"] == {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, **times}
    assert done["livenessProbe"] == {**times, "tcpSocket": {"port": 80}, "periodSeconds": 3}
    assert done["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert found["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "secret": {"secretName": "s", "defaultMode": 420}},
        {
            "name": "c",
            "projected": {
                "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                "defaultMode": 420,
            },
        },
        {"name": "d", "hostPath": {"path": "/x", "type": ""}},
    ]
    assert found["serviceAccount"] == "sa"


def test_services_know_their_target_and_their_traffic() -> None:
    spec = apply_defaults(SERVICES, {"spec": {"ports": [{"port": 80}]}})["spec"]
    assert spec == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "type": "ClusterIP", "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }  # fmt: skip
    spec = apply_defaults(SERVICES, {"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}})["spec"]
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    assert spec["externalTrafficPolicy"] == "Cluster"
    assert spec["allocateLoadBalancerNodePorts"] is True


def test_jobs_run_once_unless_told() -> None:
    job = apply_defaults(JOBS, {"spec": {"template": TEMPLATE}})
    assert job["metadata"] == {"labels": {"a": "b"}}
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 6)
    assert (spec["completionMode"], spec["suspend"], spec["podReplacementPolicy"]) == (
        "NonIndexed",
        False,
        "TerminatingOrFailed",
    )
    work_queue = apply_defaults(JOBS, {"spec": {"parallelism": 3}})["spec"]
    assert "completions" not in work_queue


SMALL = [
    (kinds.SECRETS, {}, {"type": "Opaque"}),
    (
        kinds.NAMESPACES,
        {"metadata": {"name": "x"}},
        {"metadata": {"name": "x", "labels": {"kubernetes.io/metadata.name": "x"}}, "status": {"phase": "Active"}},
    ),
    (
        kinds.ROLE_BINDINGS,
        {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount"}]},
        {
            "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [
                {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"},
                {"kind": "ServiceAccount"},
            ],
        },
    ),
    (
        kinds.REPLICATION_CONTROLLERS,
        {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}},
        {
            "spec": {"template": {"metadata": {"labels": {"a": "b"}}}, "selector": {"a": "b"}, "replicas": 1},
            "metadata": {"labels": {"a": "b"}},
        },
    ),
    (
        kinds.NETWORK_POLICIES,
        {"spec": {"egress": [{"ports": [{"port": 1}]}]}},
        {
            "spec": {
                "egress": [{"ports": [{"port": 1, "protocol": "TCP"}]}],
                "policyTypes": ["Ingress", "Egress"],
                "podSelector": {},
            }
        },
    ),
    (kinds.STORAGE_CLASSES, {}, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
    (
        kinds.LIMIT_RANGES,
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}]}},
        {
            "spec": {
                "limits": [
                    {
                        "type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "default": {"cpu": "2"},
                        "defaultRequest": {"cpu": "2"},
                    }
                ]
            }
        },
    ),
    (kinds.CONFIG_MAPS, {"data": {"a": "b"}}, {"data": {"a": "b"}}),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "obj", "expected"), SMALL)
def test_small_kinds_get_their_defaults(
    resource: kinds.Resource, obj: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = copy.deepcopy(obj)
    assert apply_defaults(resource, obj) == expected
    assert obj == before


def test_an_autoscaler_watches_cpu_unless_told() -> None:
    spec = apply_defaults(
        kinds.HORIZONTAL_POD_AUTOSCALERS, {"spec": {"behavior": {"scaleUp": {"selectPolicy": "Min"}}}}
    )["spec"]
    assert spec["minReplicas"] == 1
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert spec["behavior"]["scaleUp"]["selectPolicy"] == "Min"
    assert spec["behavior"]["scaleDown"]["selectPolicy"] == "Max"
    old = apply_defaults(kinds.HORIZONTAL_POD_AUTOSCALERS_V1, {"apiVersion": "autoscaling/v1", "spec": {}})
    assert old["spec"] == {"minReplicas": 1}


def test_defaults_are_idempotent_and_fit_their_schema() -> None:
    by_key = {(info.resource.group, info.resource.plural): info for info in SCHEME.resources}
    for key, defaulter in REGISTRY.items():
        if key not in by_key:
            continue  # bodies of subresources
        info = by_key[key]
        obj: dict[str, Any] = {"metadata": {"name": "x"}, "spec": {"template": TEMPLATE}}
        obj["apiVersion"] = info.resource.group_version
        if "spec" not in SCHEME.definitions.get(info.definition).fields:
            del obj["spec"]
        once = defaulter(decode(SCHEME.definitions.get(info.definition), obj).object)
        assert defaulter(once) == once
        decoded = decode(SCHEME.definitions.get(info.definition), once)
        assert decoded.unknown == (), key
