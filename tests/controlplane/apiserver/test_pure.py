"""The parts that are functions of their arguments: paths, media types, deletion, quality of service, rules, quotas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.apiserver import negotiate, request
from controlplane.apiserver.admission.escalation import covers
from controlplane.apiserver.admission.limit_ranger import violations, with_defaults
from controlplane.apiserver.admission.resource_quota import exceeded
from controlplane.apiserver.authz import bootstrap
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.authz.rules import Rule
from controlplane.apiserver.command import Duration
from controlplane.apiserver.registry import deletion
from controlplane.apiserver.registry.pods import quality_of_service
from controlplane.apiserver.subresources.proxy import split_name
from controlplane.objects.kinds import PODS, SERVICES
from controlplane.objects.quotas import usage_of
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.examples import config_map, pod, service

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "path", "query", "verb", "resource", "namespace", "name", "subresource"),
    [
        ("GET", "/api/v1/pods", {}, "list", "pods", "", "", ""),
        ("GET", "/api/v1/namespaces/n/pods/p", {}, "get", "pods", "n", "p", ""),
        ("GET", "/api/v1/namespaces/n/pods", {"watch": "1"}, "watch", "pods", "n", "", ""),
        ("GET", "/api/v1/namespaces/n/pods", {"watch": "false"}, "list", "pods", "n", "", ""),
        ("GET", "/api/v1/watch/namespaces/n/pods", {}, "watch", "pods", "n", "", ""),
        ("GET", "/api/v1/watch/namespaces/n/pods/p", {}, "watch", "pods", "n", "p", ""),
        ("GET", "/api/v1/namespaces", {}, "list", "namespaces", "", "", ""),
        ("GET", "/api/v1/namespaces/n", {}, "get", "namespaces", "n", "n", ""),
        ("PUT", "/api/v1/namespaces/n/finalize", {}, "update", "namespaces", "n", "n", "finalize"),
        ("DELETE", "/apis/apps/v1/namespaces/n/deployments", {}, "deletecollection", "deployments", "n", "", ""),
        ("PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale", {}, "patch", "deployments", "n", "d", "scale"),
        ("POST", "/api/v1/namespaces/n/pods/p/eviction", {}, "create", "pods", "n", "p", "eviction"),
        ("GET", "/api/v1/nodes/x/proxy/metrics/cadvisor", {}, "get", "nodes", "", "x", "proxy"),
    ],
)
def test_paths_are_taken_apart(
    method: str, path: str, query: dict[str, str], verb: str, resource: str, namespace: str, name: str, subresource: str
) -> None:
    info = request.parse(method, path, query)
    found = info.path
    assert (info.verb, found.resource, found.namespace, found.name, found.subresource) == (
        verb,
        resource,
        namespace,
        name,
        subresource,
    )


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/apis/apps/v1", "/healthz", "/openapi/v3/api/v1", "/version"]
)
def test_other_paths_name_no_resource(path: str) -> None:
    info = request.parse("GET", path, {})
    assert not info.is_resource and info.verb == "get"


def test_the_first_acceptable_form_is_taken() -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
    assert negotiate.accept(table) == negotiate.Accepted(negotiate.JSON, "Table", "v1")
    assert negotiate.accept(table, tables=False) == negotiate.Accepted(negotiate.JSON)
    assert negotiate.accept("application/vnd.kubernetes.protobuf,application/json").media_type == negotiate.JSON
    assert negotiate.accept("application/json;q=0.1,application/yaml").media_type == negotiate.YAML
    assert negotiate.accept("") == negotiate.accept("*/*") == negotiate.Accepted(negotiate.JSON)
    with pytest.raises(ApiError):
        negotiate.accept("text/html")


def test_yaml_is_read_as_kubectl_reads_it() -> None:
    found = negotiate.parse_yaml(b"a: yes\nb: 2020-01-01\nc: 012\nd: '1'\n")
    assert found == {"a": True, "b": "2020-01-01", "c": 10, "d": "1"}


def _verdict(obj: dict[str, Any], grace: int = 0, **options: Any) -> dict[str, Any] | None:
    return deletion.decide(obj, deletion.Options(**options), NOW, lambda *_: grace).keep


def test_an_object_that_nothing_holds_goes_at_once() -> None:
    assert _verdict(config_map("a")) is None


def test_a_finalizer_or_a_grace_period_holds_an_object() -> None:
    held = config_map("a")
    held["metadata"]["finalizers"] = ["x"]
    kept = _verdict(held)
    assert kept is not None and kept["metadata"]["deletionTimestamp"] == "2026-11-22T08:00:00Z"
    kept = _verdict(config_map("a"), 30)
    assert kept is not None and kept["metadata"]["deletionTimestamp"] == "2026-11-22T08:00:30Z"
    assert kept["metadata"]["deletionGracePeriodSeconds"] == 30


def test_waiting_is_only_ever_made_shorter() -> None:
    waiting = _verdict(config_map("a"), 30)
    assert waiting is not None
    assert _verdict(waiting, 60, grace_period_seconds=60) == waiting
    sooner = _verdict(waiting, 5, grace_period_seconds=5)
    assert sooner is not None and sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    assert _verdict(waiting, 0, grace_period_seconds=0) is None
    assert _verdict(waiting, 30) == waiting


def test_the_propagation_policy_chooses_the_finalizer() -> None:
    for policy, wanted in (("Orphan", ["orphan"]), ("Foreground", ["foregroundDeletion"])):
        kept = _verdict(config_map("a"), propagation_policy=policy)
        assert kept is not None and kept["metadata"]["finalizers"] == wanted
    orphan = _verdict(config_map("a"), propagation_policy="Orphan")
    assert orphan is not None and _verdict(orphan, propagation_policy="Background") is None


def test_deletion_options_come_from_body_and_query() -> None:
    found = deletion.options_from(
        {"preconditions": {"uid": "u"}}, {"gracePeriodSeconds": "5", "orphanDependents": "true"}
    )
    assert found == deletion.Options(5, "Orphan", "u", None, False)
    with pytest.raises(ApiError):
        deletion.options_from({"propagationPolicy": "Sideways"}, {})


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_follows_requests_and_limits(resources: dict[str, Any], expected: str) -> None:
    assert quality_of_service({"containers": [{"name": "c", "resources": resources}]}) == expected


def test_a_rule_allows_what_it_names() -> None:
    rule = Rule.of({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/scale"], "resourceNames": []})
    assert rule.allows(Attributes("get", "", "v1", "pods"))
    assert not rule.allows(Attributes("get", "", "v1", "pods", "log"))
    assert rule.allows(Attributes("get", "", "v1", "replicationcontrollers", "scale"))
    assert not rule.allows(Attributes("list", "", "v1", "pods"))
    paths = Rule.of({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]})
    assert paths.allows(Attributes("get", path="/apis/x")) and not paths.allows(Attributes("get", path="/api"))


def test_rules_cover_what_they_hold_together() -> None:
    held = [Rule.of({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]})]
    held.append(Rule.of({"verbs": ["list"], "apiGroups": [""], "resources": ["*"]}))
    assert covers(held, Rule.of({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}))
    assert not covers(held, Rule.of({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}))
    assert not covers(held, Rule.of({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}))


def test_the_bootstrap_policy_is_whole() -> None:
    objects = list(bootstrap.policy())
    names = {(resource.kind, obj["metadata"]["name"]) for resource, obj in objects}
    for resource, obj in objects:
        if "roleRef" in obj:
            assert (obj["roleRef"]["kind"], obj["roleRef"]["name"]) in names, resource
    assert ("ClusterRole", "cluster-admin") in names and len(objects) > 100


def test_proxied_names_have_a_scheme_and_a_port() -> None:
    assert split_name("web") == ("http", "web", "")
    assert split_name("web:8080") == ("http", "web", "8080")
    assert split_name("https:web:") == ("https", "web", "")
    with pytest.raises(ApiError):
        split_name("a:b:c:d")


def test_limits_speak_kubernetes_words() -> None:
    item = {"max": {"cpu": "1"}, "min": {"memory": "1Mi"}, "maxLimitRequestRatio": {"cpu": "2"}}
    found = list(violations("Container", item, {"cpu": "100m"}, {"cpu": "2"}))
    assert found[0] == "minimum memory usage per Container is 1Mi.  No request is specified"
    assert found[1] == "maximum cpu usage per Container is 1, but limit is 2"
    assert found[2].startswith("cpu max limit to request ratio per Container is 2, but provided ratio is 20.0")
    container, said = with_defaults({"name": "c"}, [{"default": {"cpu": "1"}}])
    assert container["resources"] == {"limits": {"cpu": "1"}} and said == ["cpu limit for container c"]


def test_quotas_count_what_objects_use() -> None:
    wanted = pod("p")
    wanted["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    usage = {name: str(amount) for name, amount in usage_of(PODS, wanted).items()}
    assert usage == {
        "pods": "1",
        "count/pods": "1",
        "cpu": "500m",
        "requests.cpu": "500m",
        "limits.memory": "1Gi",
    }
    assert set(usage_of(SERVICES, service("s", "LoadBalancer"))) == {
        "services",
        "count/services",
        "services.nodeports",
        "services.loadbalancers",
    }
    quota = {
        "metadata": {"name": "q"},
        "spec": {"hard": {"cpu": "1", "memory": "1Gi"}},
        "status": {"used": {"cpu": "800m"}},
    }
    assert exceeded(quota, usage_of(PODS, wanted)) == "failed quota: q: must specify memory"
    quota["spec"] = {"hard": {"cpu": "1"}}
    assert (
        exceeded(quota, usage_of(PODS, wanted))
        == "exceeded quota: q, requested: cpu=500m, used: cpu=800m, limited: cpu=1"
    )


@pytest.mark.parametrize(("text", "seconds"), [("5m0s", 300), ("500ms", 0.5), ("1h", 3600), ("0", 0)])
def test_durations_are_read_as_kubernetes_writes_them(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds
