"""Priority and fairness of a server: classification by the default objects, headers, refusals, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.apiserver import request
from controlplane.apiserver.authn.user import User, service_account_groups, service_account_name
from controlplane.apiserver.fairness.fairness import Fairness
from controlplane.apiserver.fairness.objects import bootstrap
from controlplane.apiserver.storage.backend import Page
from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import (
    CONFIG_MAPS,
    FLOW_SCHEMAS,
    PRIORITY_LEVEL_CONFIGURATIONS,
)
from tests.controlplane.apiserver.conftest import Api, StartApi
from tests.controlplane.apiserver.memory import MemoryBackend

Object = dict[str, Any]


def fairness() -> Fairness:
    made = Fairness(600, 15.0)
    objects = list(bootstrap())
    levels, schemas = ([obj for resource, obj in objects if resource == each] for each in _KINDS)
    made.configure(levels, schemas)
    return made


_KINDS = (PRIORITY_LEVEL_CONFIGURATIONS, FLOW_SCHEMAS)
_ALL = ("system:authenticated",)


def _account(namespace: str, name: str) -> User:
    return User(service_account_name(namespace, name), service_account_groups(namespace))


@pytest.mark.parametrize(
    ("user", "method", "path", "schema", "level"),
    [
        (User("admin", ("system:masters",)), "GET", "/api/v1/pods", "exempt", "exempt"),
        (User("system:anonymous", ("system:unauthenticated",)), "GET", "/healthz", "probes", "exempt"),
        (User("jane", _ALL), "GET", "/api/v1/pods", "global-default", "global-default"),
        (User("system:node:n", ("system:nodes", *_ALL)), "GET", "/api/v1/pods", "system-nodes", "system"),
        (
            User("system:node:n", ("system:nodes", *_ALL)),
            "PUT",
            "/api/v1/nodes/n/status",
            "system-node-high",
            "node-high",
        ),
        (User("system:kube-scheduler", _ALL), "GET", "/api/v1/pods", "kube-scheduler", "workload-high"),
        (
            User("system:kube-scheduler", _ALL),
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler",
            "system-leader-election",
            "leader-election",
        ),
        (_account("kube-system", "a"), "GET", "/api/v1/pods", "kube-system-service-accounts", "workload-high"),
        (_account("other", "a"), "GET", "/api/v1/pods", "service-accounts", "workload-low"),
        (User("nobody"), "GET", "/api/v1/pods", "catch-all", "catch-all"),
    ],
)
def test_the_default_schemas_sort_requests_as_kubernetes_does(
    user: User, method: str, path: str, schema: str, level: str
) -> None:
    flow = fairness().flow(user, request.parse(method, path, {}))
    assert flow is not None and (flow.schema.name, flow.level.settings.name) == (schema, level)


def test_seats_are_shared_by_shares_and_streams_need_none() -> None:
    made = fairness()
    assert made.levels["workload-low"].nominal == 245 and made.levels["catch-all"].nominal == 13
    assert made.flow(User("jane", _ALL), request.parse("GET", "/api/v1/namespaces/a/pods/p/log", {})) is None


def test_a_flow_is_remembered_until_the_objects_change() -> None:
    made, info = fairness(), request.parse("GET", "/api/v1/pods", {})
    flow = made.flow(User("jane", _ALL), info)
    assert made.flow(User("jane", _ALL), info) is flow
    made.configure((), ())
    again = made.flow(User("jane", _ALL), info)
    assert again is not None and again.schema.name == "catch-all"


async def test_answers_name_their_schema_and_level(api: Api) -> None:
    client: ApiClient = api.client()
    uids = {}
    for resource, name in ((FLOW_SCHEMAS, "exempt"), (PRIORITY_LEVEL_CONFIGURATIONS, "exempt")):
        found = await client.get(resource, name)
        uids[resource] = found["metadata"]["uid"]
        if resource == FLOW_SCHEMAS:
            assert found["spec"]["matchingPrecedence"] == 1
    answer = await _until_named(client)
    assert answer["x-kubernetes-pf-flowschema-uid"] == uids[FLOW_SCHEMAS]
    assert answer["x-kubernetes-pf-prioritylevel-uid"] == uids[PRIORITY_LEVEL_CONFIGURATIONS]


async def _until_named(client: ApiClient) -> Any:
    """The headers of an answer after the server has read the objects."""
    async with asyncio.timeout(5):
        while True:
            headers = (await client.raw("GET", "/api/v1/namespaces")).headers
            if headers["x-kubernetes-pf-flowschema-uid"]:
                return headers


class SlowBackend(MemoryBackend):
    """Lists of ConfigMaps wait until the test lets them go; pages always come from here, not from the watch cache."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Semaphore(0)

    async def page(self, start: bytes, end: bytes, *, limit: int = 0, revision: int = 0) -> Page:
        if start.startswith(b"/registry/configmaps/"):
            await self.gate.acquire()
        return await super().page(start, end, limit=limit, revision=revision)


def _numbers(text: str, name: str) -> Iterator[float]:
    return (float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


async def test_without_fairness_too_many_requests_are_told_to_come_again(start_api: StartApi) -> None:
    backend = SlowBackend()
    api = await start_api(
        backend, enable_priority_and_fairness=False, max_requests_inflight=2, authorization_mode=("AlwaysAllow",)
    )
    path = CONFIG_MAPS.path("default") + "?limit=5"
    lists = [asyncio.create_task(api.client(f"jane-{each}", ()).raw("GET", path)) for each in range(3)]
    done, running = await asyncio.wait(lists, return_when=asyncio.FIRST_COMPLETED)
    refused = done.pop().result()
    assert refused.status == 429 and refused.headers["retry-after"] == "1" and len(running) == 2
    assert (await api.client().raw("GET", "/api/v1/namespaces")).status == 200  # masters are not counted
    text = (await api.client().raw("GET", "/metrics")).body.decode()
    assert sum(_numbers(text, "apiserver_flowcontrol_rejected_requests_total")) == 1
    backend.gate.release()
    backend.gate.release()
    assert {(await each).status for each in running} == {200}


async def test_a_noisy_client_does_not_starve_another(start_api: StartApi) -> None:
    """Three seats in all: sixty lists of one user wait, three of another come last and are among the first to be done."""
    backend = SlowBackend()
    api = await start_api(
        backend, max_requests_inflight=2, max_mutating_requests_inflight=1, authorization_mode=("AlwaysAllow",)
    )
    await _until_named(api.client())
    path, done = CONFIG_MAPS.path("default") + "?limit=5", asyncio.Queue[str]()
    clients = {name: [api.client(f"{name}-{each}", ()) for each in range(1)] for name in ("noisy", "quiet")}

    async def ask(name: str) -> None:
        answer = await clients[name][0].raw("GET", path)
        assert answer.status == 200
        done.put_nowait(name)

    tasks = [asyncio.create_task(ask("noisy")) for _ in range(60)]
    await _until_waiting(api, 50)
    tasks += [asyncio.create_task(ask("quiet")) for _ in range(3)]
    await _until_waiting(api, 53)
    order = []
    for _ in tasks:
        backend.gate.release()
        order.append(await done.get())
    await asyncio.gather(*tasks)
    assert order[:30].count("quiet") == 3


async def _until_waiting(api: Api, count: int) -> None:
    async with asyncio.timeout(10):
        while True:
            text = (await api.client().raw("GET", "/metrics")).body.decode()
            if sum(_numbers(text, "apiserver_flowcontrol_current_inqueue_requests{")) >= count:
                return
