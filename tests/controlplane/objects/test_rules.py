"""What Kubernetes refuses, and the words it has for it."""

import copy
from typing import Any

import pytest

from controlplane.objects import kinds, rules
from controlplane.objects.defaults import apply_defaults
from controlplane.objects.kinds import Resource
from controlplane.objects.meta import set_in
from controlplane.objects.rules import names, structure
from controlplane.objects.scheme import Scheme

SCHEME = Scheme.load()
META = {"name": "x", "namespace": "n"}
POD_SPEC: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD_SPEC}
GOOD: dict[Resource, dict[str, Any]] = {
    kinds.PODS: {"metadata": META, "spec": POD_SPEC},
    kinds.DEPLOYMENTS: {"metadata": META, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}},
    kinds.REPLICA_SETS: {"metadata": META, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}},
    kinds.DAEMON_SETS: {"metadata": META, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}},
    kinds.STATEFUL_SETS: {
        "metadata": META,
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE, "serviceName": "s"},
    },
    kinds.REPLICATION_CONTROLLERS: {"metadata": META, "spec": {"template": TEMPLATE}},
    kinds.JOBS: {"metadata": META, "spec": {"template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}}}},
    kinds.CRON_JOBS: {
        "metadata": META,
        "spec": {
            "schedule": "*/5 0-6 1,2 jan sun",
            "jobTemplate": {"spec": {"template": {"spec": {**POD_SPEC, "restartPolicy": "OnFailure"}}}},
        },
    },
    kinds.SERVICES: {"metadata": META, "spec": {"ports": [{"port": 80}]}},
    kinds.CONFIG_MAPS: {"metadata": META, "data": {"a.b": "c"}},
    kinds.SECRETS: {"metadata": META, "data": {"a": "aGk="}},
    kinds.NAMESPACES: {"metadata": {"name": "x"}},
    kinds.HORIZONTAL_POD_AUTOSCALERS: {
        "metadata": META,
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    },
    kinds.ROLE_BINDINGS: {"metadata": META, "roleRef": {"kind": "Role", "name": "r"}},
    kinds.CLUSTER_ROLES: {
        "metadata": {"name": "a:b"},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
    },
    kinds.PERSISTENT_VOLUME_CLAIMS: {
        "metadata": META,
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    },
    kinds.INGRESSES: {
        "metadata": META,
        "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}},
    },
    kinds.NETWORK_POLICIES: {"metadata": META, "spec": {"podSelector": {}}},
    kinds.LEASES: {"metadata": META, "spec": {"leaseDurationSeconds": 1}},
    kinds.NODES: {"metadata": {"name": "node-0"}},
    kinds.EVENTS: {"metadata": META, "involvedObject": {}},
    kinds.ENDPOINT_SLICES: {"metadata": META, "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]},
    kinds.ENDPOINTS: {"metadata": META, "subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 80}]}]},
}
POD, CONTAINER = ("spec",), ("spec", "containers")


def created(resource: Resource, obj: dict[str, Any]) -> list[str]:
    schema = SCHEME.schema_of(resource)
    return [str(error) for error in rules.validate_create(resource, schema, apply_defaults(resource, obj))]


def updated(resource: Resource, new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    schema = SCHEME.schema_of(resource)
    new, old = apply_defaults(resource, new), apply_defaults(resource, old)
    return [str(error) for error in rules.validate_update(resource, schema, new, old)]


def container(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "c", "image": "i", **fields}]


@pytest.mark.parametrize("resource", GOOD, ids=lambda resource: resource.plural)
def test_good_objects_are_accepted_and_may_stay_as_they_are(resource: Resource) -> None:
    assert created(resource, GOOD[resource]) == []
    assert updated(resource, GOOD[resource], copy.deepcopy(GOOD[resource])) == []


REFUSED: list[tuple[Resource, tuple[str, ...], Any, str]] = [
    (kinds.PODS, POD, {}, "spec.containers: Required value"),
    (kinds.PODS, CONTAINER, container(image=""), "spec.containers[0].image: Required value"),
    (kinds.PODS, CONTAINER, container(name="A"), 'spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label'),
    (kinds.PODS, CONTAINER, container() * 2, 'spec.containers[1].name: Duplicate value: "c"'),
    (kinds.PODS, CONTAINER, container(ports=[{"containerPort": 0}]), "ports[0].containerPort: Required value"),
    (kinds.PODS, CONTAINER, container(ports=[{"containerPort": 70000}]), "70000: must be between 1 and 65535, inclusive"),
    (kinds.PODS, CONTAINER, container(imagePullPolicy="No"), 'supported values: "Always", "IfNotPresent", "Never"'),
    (kinds.PODS, CONTAINER, container(volumeMounts=[{"name": "v", "mountPath": "/"}]), 'volumeMounts[0].name: Not found: "v"'),
    (kinds.PODS, CONTAINER, container(env=[{"name": "a=b"}]), "a valid environment variable name"),
    (kinds.PODS, CONTAINER, container(livenessProbe={}), "livenessProbe: Required value: must specify a handler type"),
    (
        kinds.PODS, CONTAINER, container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
        'resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    (
        kinds.PODS, CONTAINER, container(resources={"limits": {"cpu": "-1"}}),
        'resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
    ),
    (kinds.PODS, (*POD, "restartPolicy"), "X", 'spec.restartPolicy: Unsupported value: "X": supported values: "Always"'),
    (kinds.PODS, (*POD, "volumes"), [{"name": "a", "hostPath": {}, "emptyDir": {}}], "may not specify more than 1 volume type"),
    (kinds.PODS, (*POD, "tolerations"), [{"operator": "Equal"}], "operator must be Exists when `key` is empty"),
    (kinds.PODS, (*POD, "nodeSelector"), {"a b": "c"}, 'spec.nodeSelector: Invalid value: "a b": name part must consist'),
    (kinds.PODS, ("metadata", "labels"), {"a": "b c"}, "metadata.labels: Invalid value: \"b c\": a valid label must be"),
    (kinds.PODS, ("metadata", "name"), "A_b", 'metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must'),
    (kinds.PODS, ("metadata", "name"), "", "metadata.name: Required value: name or generateName is required"),
    (kinds.PODS, ("metadata", "ownerReferences"), [{"kind": "A"}], "ownerReferences[0].uid: Invalid value"),
    (
        kinds.DEPLOYMENTS, ("spec", "selector"), {"matchLabels": {"a": "c"}},
        'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
    ),
    (kinds.DEPLOYMENTS, ("spec", "selector"), None, "spec.selector: Required value"),
    (kinds.DEPLOYMENTS, ("spec", "selector"), {}, "empty selector is invalid for deployment"),
    (kinds.DEPLOYMENTS, ("spec", "replicas"), -1, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    (
        kinds.DEPLOYMENTS, ("spec", "strategy"), {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    (
        kinds.DEPLOYMENTS, ("spec", "template", "spec", "restartPolicy"), "Never",
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    (
        kinds.JOBS, ("spec", "template", "spec", "restartPolicy"), "Always",
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ),
    (kinds.CRON_JOBS, ("spec", "schedule"), "* * * *", "expected exactly 5 fields, found 4"),
    (kinds.CRON_JOBS, ("spec", "schedule"), "61 * * * *", "failed to parse field 1: 61"),
    (kinds.SERVICES, ("spec",), {}, "spec.ports: Required value"),
    (kinds.SERVICES, ("spec", "ports"), [{"port": 0}], "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535"),
    (kinds.SERVICES, ("spec", "ports"), [{"port": 1}, {"port": 2}], "spec.ports[0].name: Required value"),
    (kinds.SERVICES, ("spec", "type"), "X", 'spec.type: Unsupported value: "X": supported values: "ClusterIP", "ExternalName"'),
    (kinds.CONFIG_MAPS, ("data",), {"a/b": ""}, 'data[a/b]: Invalid value: "a/b": a valid config key must consist'),
    (kinds.SECRETS, ("type",), "kubernetes.io/tls", "data[tls.crt]: Required value"),
    (kinds.NAMESPACES, ("metadata", "name"), "a.b", "a lowercase RFC 1123 label must consist of lower case"),
    (kinds.HORIZONTAL_POD_AUTOSCALERS, ("spec", "minReplicas"), 5, "must be greater than or equal to `minReplicas`"),
    (kinds.ROLE_BINDINGS, ("roleRef", "kind"), "X", 'roleRef.kind: Unsupported value: "X": supported values: "ClusterRole"'),
    (kinds.CLUSTER_ROLES, ("rules",), [{}], "rules[0].verbs: Required value: verbs must contain at least one value"),
    (kinds.PERSISTENT_VOLUME_CLAIMS, ("spec", "accessModes"), [], "at least 1 access mode is required"),
    (kinds.INGRESSES, ("spec",), {}, "either `defaultBackend` or `rules` must be specified"),
    (kinds.ENDPOINT_SLICES, ("endpoints",), [{"addresses": ["x"]}], "must be a valid IP address"),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "path", "value", "words"), REFUSED)
def test_a_bad_value_is_named_with_its_path(resource: Resource, path: tuple[str, ...], value: Any, words: str) -> None:
    found = created(resource, set_in(GOOD[resource], path, value))
    assert any(words in error for error in found), found


FIXED: list[tuple[Resource, tuple[str, ...], Any, str]] = [
    (kinds.PODS, CONTAINER, container(command=["x"]), "spec: Forbidden: pod updates may not change fields other than"),
    (kinds.PODS, ("metadata", "uid"), "2", 'metadata.uid: Invalid value: "2": field is immutable'),
    (kinds.DEPLOYMENTS, ("spec", "selector", "matchLabels"), {"z": "b"}, "field is immutable"),
    (kinds.STATEFUL_SETS, ("spec", "serviceName"), "z", "updates to statefulset spec for fields other than"),
    (kinds.ROLE_BINDINGS, ("roleRef", "name"), "z", "cannot change roleRef"),
    (kinds.SECRETS, ("type",), "other", 'type: Invalid value: "other": field is immutable'),
    (
        kinds.PERSISTENT_VOLUME_CLAIMS,
        ("spec", "accessModes"),
        ["ReadWriteMany"],
        "spec is immutable after creation except",
    ),
]


@pytest.mark.parametrize(("resource", "path", "value", "words"), FIXED)
def test_what_may_not_change_does_not(resource: Resource, path: tuple[str, ...], value: Any, words: str) -> None:
    found = updated(resource, set_in(GOOD[resource], path, value), GOOD[resource])
    assert any(words in error for error in found), found


def test_a_pods_image_tolerations_and_labels_may_change() -> None:
    pod = GOOD[kinds.PODS]
    assert updated(kinds.PODS, set_in(pod, CONTAINER, container(image="j", imagePullPolicy="Always")), pod) == []
    assert updated(kinds.PODS, set_in(pod, (*POD, "tolerations"), [{"operator": "Exists"}]), pod) == []
    assert updated(kinds.PODS, set_in(pod, ("metadata", "labels"), {"a": "b"}), pod) == []


def test_required_fields_and_enumerations_of_any_kind_are_found_by_path() -> None:
    schema = SCHEME.schema_of(kinds.DEPLOYMENTS)
    container_without = {"env": [{}], "imagePullPolicy": "No"}
    volumes = [{"name": "a", "emptyDir": {"medium": "HugePages-2Mi"}}, {"name": "b", "emptyDir": {"medium": "Tape"}}]
    body = {"spec": {"template": {"spec": {"containers": [container_without], "volumes": volumes}}}}
    assert [str(error) for error in structure.check(schema, body)] == [
        "spec.selector: Required value",
        "spec.template.spec.containers[0].name: Required value",
        'spec.template.spec.containers[0].imagePullPolicy: Unsupported value: "No": '
        'supported values: "Always", "IfNotPresent", "Never"',
        "spec.template.spec.containers[0].env[0].name: Required value",
        'spec.template.spec.volumes[1].emptyDir.medium: Unsupported value: "Tape": supported values: "Memory", "HugePages"',
    ]
    claim = {"spec": {"accessModes": ["Sometimes"]}}
    found = structure.check(SCHEME.schema_of(kinds.PERSISTENT_VOLUME_CLAIMS), claim)
    assert [error.field for error in found] == ["spec.accessModes[0]"]


def through(subresource: str, new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    schema = SCHEME.schema_of(kinds.PODS)
    new, old = apply_defaults(kinds.PODS, new), apply_defaults(kinds.PODS, old)
    return [str(error) for error in rules.validate_update(kinds.PODS, schema, new, old, subresource)]


def test_subresources_of_a_pod_may_change_their_part_of_it() -> None:
    pod = set_in(GOOD[kinds.PODS], CONTAINER, container(resources={"limits": {"cpu": "1"}}))
    larger = set_in(pod, CONTAINER, container(resources={"limits": {"cpu": "2"}}))
    assert through("resize", larger, pod) == []
    assert updated(kinds.PODS, larger, pod)
    assert through("resize", set_in(larger, (*POD, "nodeName"), "n"), pod) == [
        "spec: Forbidden: only cpu and memory resources are mutable"
    ]
    debugged = set_in(pod, (*POD, "ephemeralContainers"), [{"name": "debug", "image": "i"}])
    assert through("ephemeralcontainers", debugged, pod) == []
    assert through("ephemeralcontainers", pod, debugged) == [
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be removed'
    ]
    assert created(kinds.PODS, debugged) == ["spec.ephemeralContainers: Forbidden: cannot be set on create"]


def test_what_is_marked_immutable_stays() -> None:
    old = {**GOOD[kinds.CONFIG_MAPS], "immutable": True}
    assert updated(kinds.CONFIG_MAPS, {**old, "data": {}}, old) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]
    assert updated(kinds.CONFIG_MAPS, {**old, "immutable": False}, old)


def test_a_clusters_address_is_kept_unless_the_service_gives_it_up() -> None:
    old = set_in(GOOD[kinds.SERVICES], ("spec", "clusterIP"), "127.0.0.9")
    new = set_in(old, ("spec", "clusterIP"), "127.0.0.8")
    assert updated(kinds.SERVICES, new, old) == [
        'spec.clusterIPs[0]: Invalid value: ["127.0.0.8"]: may not change once set'
    ]
    given_up = {"metadata": META, "spec": {"type": "ExternalName", "externalName": "a.b"}}
    assert updated(kinds.SERVICES, given_up, old) == []


def test_an_object_that_is_going_takes_no_new_finalizers() -> None:
    old = {"metadata": {**META, "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}}
    new = {"metadata": {**old["metadata"], "finalizers": ["a/b", "c/d"]}}
    assert "no new finalizers can be added" in updated(kinds.CONFIG_MAPS, new, old)[0]


def test_cluster_objects_have_no_namespace_and_others_need_one() -> None:
    assert created(kinds.NODES, {"metadata": META}) == ["metadata.namespace: Forbidden: not allowed on this type"]
    assert created(kinds.CONFIG_MAPS, {"metadata": {"name": "x"}}) == ["metadata.namespace: Required value"]
    assert created(kinds.CONFIG_MAPS, {"metadata": {"generateName": "x-", "name": "x-12345", "namespace": "n"}}) == []


@pytest.mark.parametrize(
    ("checker", "good", "bad"),
    [
        (names.qualified, ["a", "a/b", "a.b/C_d.e"], ["", "/a", "a/", "a/b/c", "A/b", "-a", "a" * 64]),
        (names.label, ["a", "a-1"], ["", "A", "a.b", "-a", "a" * 64]),
        (names.subdomain, ["a", "a.b"], ["", "a..b", "a_b", "A"]),
        (names.label_1035, ["a1"], ["1a"]),
        (names.label_value, ["", "A.b_c"], ["-", "a b", "a" * 64]),
        (names.config_key, ["a", ".a", "A_b-c.d"], ["", ".", "..", "..a", "a/b"]),
        (names.port_name, ["http", "a-1"], ["", "1", "a--b", "-a", "A", "a" * 16]),
        (names.path_segment, ["a:b", "A b"], [".", "..", "a/b", "a%"]),
        (names.ip_address, ["127.0.0.1", "::1"], ["", "a", "127.0.0.256"]),
    ],
)
def test_names_are_checked(checker: names.Checker, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if checker(text)] == []
    assert [text for text in bad if not checker(text)] == []
