"""Discovery documents: the shapes that kubectl and client-go read."""

import pytest

from controlplane.apiserver import discovery
from controlplane.objects.scheme import Scheme

SCHEME = Scheme.load()


def test_the_core_group_stands_alone_and_first() -> None:
    assert discovery.api_versions("127.0.0.1:6443")["versions"] == ["v1"]
    core = discovery.group_discovery_list(SCHEME, core=True)
    assert [item["metadata"].get("name") for item in core["items"]] == [None]
    assert core["items"][0]["versions"][0]["version"] == "v1"
    groups = discovery.api_group_list(SCHEME.groups())["groups"]
    assert groups[0]["name"] == "apiregistration.k8s.io"
    assert all(group["name"] for group in groups)


def test_preferred_versions_come_first() -> None:
    group = discovery.api_group(SCHEME.groups(), "autoscaling")
    assert group is not None
    assert group["preferredVersion"] == {"groupVersion": "autoscaling/v2", "version": "v2"}
    assert discovery.api_group(SCHEME.groups(), "nothing") is None
    assert discovery.api_group(SCHEME.groups(), "") is None


def test_a_resource_list_has_resources_and_subresources() -> None:
    document = discovery.api_resource_list(SCHEME, "", "v1")
    assert document is not None
    assert (document["kind"], document["groupVersion"]) == ("APIResourceList", "v1")
    entries = {entry["name"]: entry for entry in document["resources"]}
    assert entries["pods"] == {
        "name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["po"], "categories": ["all"], "storageVersionHash": "xPOwRZ+Yhw8=",
    }  # fmt: skip
    assert entries["pods/eviction"] == {
        "name": "pods/eviction", "singularName": "", "namespaced": True, "group": "policy", "version": "v1",
        "kind": "Eviction", "verbs": ["create"],
    }  # fmt: skip
    assert entries["pods/exec"]["kind"] == "PodExecOptions"
    apps = discovery.api_resource_list(SCHEME, "apps", "v1")
    assert apps is not None
    assert apps["apiVersion"] == "v1"
    assert discovery.api_resource_list(SCHEME, "apps", "v1beta1") is None


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_the_aggregated_form_says_the_same_as_the_legacy_one(version: str) -> None:
    assert version in ("v2", "v2beta1")
    for core in (True, False):
        document = discovery.group_discovery_list(SCHEME, core=core, version=version)  # type: ignore[arg-type]
        assert document["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        for item in document["items"]:
            group = item["metadata"].get("name", "")
            for entry in item["versions"]:
                assert entry["freshness"] == "Current"
                legacy = discovery.api_resource_list(SCHEME, group, entry["version"])
                assert legacy is not None
                names = []
                for resource in entry["resources"]:
                    names.append(resource["resource"])
                    names += [
                        f"{resource['resource']}/{sub['subresource']}" for sub in resource.get("subresources", ())
                    ]
                assert names == [found["name"] for found in legacy["resources"]]


def test_the_content_type_repeats_the_parameters_in_their_order() -> None:
    assert discovery.media_type("v2") == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def test_an_entity_tag_is_quoted_and_follows_the_bytes() -> None:
    one, other = discovery.entity_tag(b"a"), discovery.entity_tag(b"b")
    assert one != other
    assert len(one) == 130


def test_the_version_is_made_of_numbers() -> None:
    info = discovery.version_info("v1.37.0+pilothouse")
    assert (info["major"], info["minor"], info["gitVersion"]) == ("1", "37", "v1.37.0+pilothouse")
    with pytest.raises(ValueError, match="not a version"):
        discovery.version_info("1.37")
