"""metrics.k8s.io from a real kubelet through a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.apiserver.nodemetrics import source
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import NODES, PODS
from controlplane.objects.quantity import parse
from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.streaming.conftest import Node

ROOT = "/apis/metrics.k8s.io/v1beta1"


async def document(client: ApiClient, path: str, accept: str = "application/json") -> Any:
    return json.loads((await client.raw("GET", path, headers={"accept": accept})).body)


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WINDOW_SECONDS", 0.2)


async def test_a_busy_container_uses_a_core_and_its_node_as_well(api: Api, node: Node) -> None:
    await node.start("sh", "-c", "while :; do :; done")
    client = api.client()
    (item,) = (await document(client, f"{ROOT}/namespaces/default/pods"))["items"]
    assert (item["kind"], item["metadata"]["labels"]) == ("PodMetrics", {"app": "a"})
    (container,) = item["containers"]
    assert container["name"] == "c" and 0.02 < parse(container["usage"]["cpu"]).nanos / 1e9 < 4
    assert parse(container["usage"]["memory"]).nanos > 0
    nodes = await document(client, f"{ROOT}/nodes")
    assert [(n["metadata"]["name"], nodes["kind"]) for n in nodes["items"]] == [("n", "NodeMetricsList")]
    one = await document(client, f"{ROOT}/nodes/n")
    assert one["kind"] == "NodeMetrics" and one["usage"] == nodes["items"][0]["usage"], "measured a moment ago"


async def test_selectors_and_namespaces_choose_and_what_is_not_there_is_not_found(api: Api, node: Node) -> None:
    await node.start("sleep", "60")
    client = api.client()
    for path, count in (
        ("pods", 1),
        ("pods?labelSelector=app%3Da", 1),
        ("pods?labelSelector=app%3Db", 0),
        ("pods?fieldSelector=metadata.name%3Dp", 1),
        ("namespaces/other/pods", 0),
        ("nodes?labelSelector=none", 0),
    ):
        assert len((await document(client, f"{ROOT}/{path}"))["items"]) == count, path
    for path, code in (("namespaces/default/pods/q", 404), ("nodes/m", 404), ("pods?fieldSelector=spec.x%3D1", 400)):
        assert (await client.raw("GET", f"{ROOT}/{path}")).status == code, path
    assert (await client.raw("DELETE", f"{ROOT}/nodes/n")).status == 405


async def test_a_node_whose_kubelet_is_gone_is_left_out(api: Api, node: Node) -> None:
    await node.start("sleep", "60")
    client = api.client()
    assert len((await document(client, f"{ROOT}/nodes"))["items"]) == 1
    status = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    await client.patch(NODES, "n", {"status": status}, type="merge", subresource="status")
    assert (await document(client, f"{ROOT}/nodes"))["items"] == []
    await client.patch(PODS, "p", {"status": {"phase": "Failed"}}, "default", type="merge", subresource="status")
    assert (await document(client, f"{ROOT}/pods"))["items"] == []


async def test_discovery_names_the_group_in_both_forms(api: Api) -> None:
    client = api.client()
    listed = await document(client, ROOT)
    assert {(each["name"], each["kind"]) for each in listed["resources"]} == {
        ("nodes", "NodeMetrics"),
        ("pods", "PodMetrics"),
    }
    groups = (await document(client, "/apis"))["groups"]
    assert "metrics.k8s.io" in {group["name"] for group in groups}
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = (await document(client, "/apis", aggregated))["items"]
    assert "metrics.k8s.io" in {item["metadata"]["name"] for item in items}


async def test_a_table_is_made_for_those_who_want_one(api: Api, node: Node) -> None:
    await node.start("sleep", "60")
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    table = await document(api.client(), f"{ROOT}/pods", accept)
    assert table["kind"] == "Table" and table["rows"][0]["cells"][0] == "p"
