"""What discovery says can be done can be asked: each resource, each verb, each subresource; and nothing else can."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.scheme import ResourceInfo, Scheme

METHODS = {"create": "POST", "get": "GET", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
COLLECTION = {"list": "GET", "watch": "GET", "deletecollection": "DELETE", "create": "POST"}
REVIEWS = ("authentication.k8s.io", "authorization.k8s.io")
CONNECTED = ("exec", "attach", "portforward", "proxy", "log")
INFOS = list(Scheme.load().resources)


def address(info: ResourceInfo, name: str = "", subresource: str = "") -> str:
    path = info.resource.path("default" if info.resource.namespaced else None, name)
    return f"{path}/{subresource}" if subresource else path


def asked(info: ResourceInfo) -> Iterator[tuple[str, str, bool]]:
    """(method, path, whether discovery says that it can be asked)."""
    for verb, method in METHODS.items():
        if verb != "create":
            yield method, address(info, "none"), verb in info.verbs
    yield "POST", address(info), "create" in info.verbs
    for verb in ("list", "deletecollection"):
        yield COLLECTION[verb], address(info), verb in info.verbs
    yield "GET", address(info) + "?watch=true&timeoutSeconds=x", "watch" in info.verbs
    for subresource in info.subresources:
        if subresource.name not in CONNECTED:
            for verb, method in METHODS.items():
                if verb != "delete":
                    yield method, address(info, "none", subresource.name), verb in subresource.verbs


@pytest.mark.parametrize("info", INFOS, ids=lambda info: f"{info.resource.group_version}/{info.resource.plural}")
async def test_the_verbs_of_discovery_are_those_that_are_served(client: ApiClient, info: ResourceInfo) -> None:
    for method, target, expected in asked(info):
        headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else None
        body = b"{}" if method in ("POST", "PUT", "PATCH") else b""
        answer = await client.raw(method, target, body, headers)
        refused = answer.status == 405 or (answer.status == 404 and b"requested resource" in answer.body)
        assert refused is not expected, (method, target, expected, answer.status, answer.body[:200])
        assert answer.status < 500, (method, target, answer.body[:300])


async def test_a_collection_is_asked_in_the_deprecated_form_of_a_watch_too(client: ApiClient) -> None:
    for path in ("/api/v1/watch/namespaces", "/api/v1/watch/namespaces/default", "/apis/apps/v1/watch/deployments"):
        answer = await client.raw("GET", f"{path}?timeoutSeconds=1")
        assert answer.status == 200
        assert all(json.loads(line)["type"] == "ADDED" for line in answer.body.splitlines())


async def test_an_answer_is_printed_prettily_when_that_is_asked(client: ApiClient) -> None:
    answer = await client.raw("GET", "/api/v1/namespaces/default?pretty=true")
    assert answer.body.startswith(b'{\n  "') and json.loads(answer.body)["metadata"]["name"] == "default"
