"""Every operation of our own OpenAPI, asked with bodies and parameters of all kinds: nothing is answered with a 5xx.

The bodies are drawn along the operation's schema, then damaged; names exist, are missing, or are no names. 503 and 504 are
answers where the request is for a kubelet, a pod or an endpoint that is not there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.schema import Schema
from controlplane.objects.scheme import Scheme
from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.objects.samples import sample

METHODS = ("get", "put", "post", "delete", "patch")
ELSEWHERE = ("/proxy", "/log", "/exec", "/attach", "/portforward")
JUNK: tuple[Any, ...] = (None, "", "x", 0, -1, 1.5, 10**20, True, [], {}, [None], {"a": None}, "\x00", "é", "a" * 300)
NAMES = ("a", "default", "kube-system", "UPPER", "a.b", "%", "a b", "x" * 260, "-", "é", "..")
QUERIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("limit", ("1", "0", "-1", "x", "99999999999999999999")),
    ("continue", ("x", "", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0")),
    ("resourceVersion", ("0", "1", "-1", "x", "99999999999999999999999")),
    ("resourceVersionMatch", ("Exact", "NotOlderThan", "x")),
    ("labelSelector", ("a=b", "a in (b", "!a", "=", "a=b,,c", "é=1", "a notin (b,c)")),
    ("fieldSelector", ("metadata.name=a", "x=y", "=", "spec.nodeName!=b", "metadata.name")),
    ("dryRun", ("All", "x", "")),
    ("fieldValidation", ("Strict", "Warn", "Ignore", "x")),
    ("fieldManager", ("me", "x" * 200, "\x01")),
    ("force", ("true", "x")),
    ("gracePeriodSeconds", ("0", "-1", "x", "99999999999999999999")),
    ("propagationPolicy", ("Orphan", "x")),
    ("timeoutSeconds", ("1", "x", "-1")),
    ("pretty", ("true", "x")),
    ("includeObject", ("Object", "None", "x")),
    ("shardSelector", ("x",)),
    ("sendInitialEvents", ("true", "x")),
    ("allowWatchBookmarks", ("true",)),
)
PATCHES = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml", "x")
ACCEPTS = (
    "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/html", "*/*", ";;,=",
    "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
)  # fmt: skip


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    schema: Schema | None

    @property
    def is_elsewhere(self) -> bool:
        return any(part in self.path for part in ELSEWHERE)


async def operations(client: ApiClient) -> list[Operation]:
    """What the documents say can be asked."""
    scheme = Scheme.load()
    found = []
    for place in json.loads((await client.raw("GET", "/openapi/v3")).body)["paths"].values():
        document = json.loads((await client.raw("GET", place["serverRelativeURL"])).body)
        for path, item in document["paths"].items():
            for method in METHODS:
                if method in item and "{path}" not in path:
                    found.append(Operation(method.upper(), path, _schema(scheme, item[method])))
    return sorted(found, key=lambda each: (each.path, each.method))


def _schema(scheme: Scheme, operation: dict[str, Any]) -> Schema | None:
    mark = operation.get("x-kubernetes-group-version-kind") or {}
    try:
        return scheme.schema(mark.get("group", ""), mark.get("version", ""), mark.get("kind", ""))
    except KeyError:
        return None


def damaged(value: Any, rnd: random.Random) -> Any:
    """The value with a part of it replaced by junk."""
    if not isinstance(value, dict | list) or not value or rnd.random() < 0.15:
        return rnd.choice(JUNK)
    if isinstance(value, list):
        at = rnd.randrange(len(value))
        return [damaged(part, rnd) if index == at else part for index, part in enumerate(value)]
    chosen = rnd.choice(list(value))
    return {name: damaged(part, rnd) if name == chosen else part for name, part in value.items()}


def body_of(operation: Operation, rnd: random.Random) -> Any:
    if operation.schema is None or rnd.random() < 0.05:
        return rnd.choice(JUNK)
    value = sample(operation.schema, rnd, chance=rnd.choice((0.1, 0.3, 0.6)))
    if isinstance(value, dict) and rnd.random() < 0.8:
        value["metadata"] = {"name": rnd.choice(("a", "b", "web-1")), **({"x": 1} if rnd.random() < 0.1 else {})}
    return damaged(value, rnd) if rnd.random() < 0.6 else value


def request_of(operation: Operation, rnd: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    path = operation.path
    for part in ("{namespace}", "{name}"):
        chosen = rnd.choice(("default", "default", *NAMES)) if part == "{namespace}" else rnd.choice(("a", "a", *NAMES))
        path = path.replace(part, quote(chosen, safe=""))
    query = {name: rnd.choice(values) for name, values in rnd.sample(QUERIES, rnd.randint(0, 3))}
    if rnd.random() < 0.15 and operation.method == "GET":
        query |= {"watch": "true", "timeoutSeconds": "1"}
    headers = {"accept": rnd.choice(("application/json", *ACCEPTS))}
    raw = b""
    if operation.method in ("POST", "PUT"):
        raw = json.dumps(body_of(operation, rnd)).encode()
        headers["content-type"] = rnd.choice(("application/json", "application/json", "application/yaml"))
    elif operation.method == "PATCH":
        kind = rnd.choice(PATCHES)
        headers["content-type"] = f"application/{kind}"
        patch: Any = body_of(operation, rnd)
        if kind == "json-patch+json" and rnd.random() < 0.8:
            pointer = rnd.choice(
                ("/metadata/labels", "/spec", "", "/x/-", "/spec/containers/0", "/metadata/labels/a~1b")
            )
            patch = [
                {"op": rnd.choice(("add", "remove", "replace", "test", "copy", "x")), "path": pointer, "value": patch}
            ]
        raw = json.dumps(patch).encode()
    elif operation.method == "DELETE" and rnd.random() < 0.4:
        raw = json.dumps(rnd.choice((*JUNK, {"gracePeriodSeconds": "x"}, {"preconditions": {"uid": 1}}))).encode()
        headers["content-type"] = "application/json"
    if raw and rnd.random() < 0.03:
        raw = raw[: len(raw) // 2]
    return operation.method, f"{path}?{urlencode(query)}" if query else path, raw, headers


def rounds() -> Iterator[object]:
    yield 0
    for number in range(1, 9):
        yield pytest.param(number, marks=pytest.mark.slow)


@pytest.mark.parametrize("number", list(rounds()))
async def test_nothing_that_is_asked_is_answered_with_a_5xx(api: Api, client: ApiClient, number: int) -> None:
    rnd = random.Random(number)
    asked, broken = 0, []
    every = await operations(client)
    for operation in every if number else rnd.sample(every, 400):
        method, target, raw, headers = request_of(operation, rnd)
        answer = await client.raw(method, target, raw, headers)
        asked += 1
        is_late = (
            answer.status == 504 and b"ResourceVersionTooLarge" in answer.body
        )  # from the future: Kubernetes' answer
        is_elsewhere = operation.is_elsewhere and answer.status in (500, 503, 504)
        if answer.status >= 500 and not is_late and not is_elsewhere:
            broken.append((method, target[:300], raw[:600], headers, answer.status, answer.body[:300]))
    assert asked >= 400
    assert not broken, "\n".join(map(str, broken[:10]))
