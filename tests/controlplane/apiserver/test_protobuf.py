"""Answers for clients that accept nothing but Kubernetes' protobuf."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects import protobuf
from controlplane.objects.kinds import CONFIG_MAPS
from tests.controlplane.apiserver.examples import config_map
from tests.controlplane.crd.conftest import defined

PROTOBUF = "application/vnd.kubernetes.protobuf"


async def fetch(client: ApiClient, path: str, accept: str = PROTOBUF, method: str = "GET") -> tuple[int, str, bytes]:
    answer = await client.raw(method, path, headers={"accept": accept})
    return answer.status, answer.headers["content-type"], answer.body


async def decoded(client: ApiClient, path: str, **rest: Any) -> tuple[int, dict[str, Any]]:
    code, media_type, body = await fetch(client, path, **rest)
    assert media_type == PROTOBUF
    return code, protobuf.decode(body)


async def test_an_object_and_a_list_come_in_protobuf(client: ApiClient) -> None:
    made = await client.create(CONFIG_MAPS, config_map("a", k="v"), "default")
    code, found = await decoded(client, "/api/v1/namespaces/default/configmaps/a")
    assert (code, found) == (200, made)
    _, listed = await decoded(client, "/api/v1/namespaces/default/configmaps")
    assert listed["kind"] == "ConfigMapList"
    assert [item["data"] for item in listed["items"] if item["metadata"]["name"] == "a"] == [{"k": "v"}]
    partial = PROTOBUF + ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    _, found = await decoded(client, "/api/v1/namespaces/default/configmaps/a", accept=partial)
    assert found == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]}


async def test_a_refusal_and_discovery_come_in_protobuf(client: ApiClient) -> None:
    code, found = await decoded(client, "/api/v1/namespaces/default/configmaps/none")
    assert (code, found["kind"], found["reason"]) == (404, "Status", "NotFound")
    for path, kind in (("/api", "APIVersions"), ("/apis", "APIGroupList"), ("/apis/apps/v1", "APIResourceList")):
        assert (await decoded(client, path))[1]["kind"] == kind


async def test_a_watch_comes_in_frames_of_protobuf(client: ApiClient) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    path = "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da"
    code, media_type, body = await fetch(client, path, PROTOBUF + ";stream=watch")
    assert (code, media_type) == (200, PROTOBUF + ";stream=watch")
    length = int.from_bytes(body[:4], "big")
    assert len(body) == 4 + length and body[4:].startswith(b"\x0a\x05ADDED")
    assert protobuf.decode(body[body.index(protobuf.MAGIC) :])["metadata"]["name"] == "a"


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/api/v1/pods", "text/html"), ("/api/v1/pods", PROTOBUF + ";as=Table;g=meta.k8s.io;v=v1")],
)
async def test_what_cannot_be_made_is_not_acceptable(client: ApiClient, path: str, accept: str) -> None:
    code, _, body = await fetch(client, path, accept)
    found = json.loads(body)
    assert (code, found["reason"]) == (406, "NotAcceptable")
    forms = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    assert found["message"] == f"only the following media types are accepted: {forms}"


async def test_custom_resources_have_no_protobuf_form(client: ApiClient) -> None:
    await defined(client)
    code, _, body = await fetch(client, "/apis/stable.example.com/v1/crontabs")
    message = "only the following media types are accepted: application/json, application/yaml"
    assert (code, json.loads(body)["message"]) == (406, message)
