"""Who may ask a node what, as the API server says."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, cast

import pytest

from controlplane.kubelet import access
from controlplane.kubelet.access import Access, Requester, subresources
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.objects.kinds import Resource
from tests.controlplane.fakes import run_virtual
from tests.controlplane.kubelet.test_server import node, pki

__all__ = ["pki"]

Object = dict[str, Any]


class Reviewing:
    """An API that only reviews: token `good` is robot's, who may get what `may` has."""

    def __init__(self, *may: str) -> None:
        self.may = set(may)
        self.asked: list[Object] = []
        self.broken = False

    async def create(self, resource: Resource, obj: Object) -> Object:
        if self.broken:
            raise ApiError(503, "ServiceUnavailable", "away")
        self.asked.append(obj)
        if resource.kind == "TokenReview":
            good = obj["spec"]["token"] == "good"
            user = {"username": "robot", "groups": ["robots"], "uid": "7", "extra": {"k": ["v"]}}
            return {**obj, "status": {"authenticated": True, "user": user} if good else {"authenticated": False}}
        asked = obj["spec"]["resourceAttributes"]
        return {**obj, "status": {"allowed": f"{asked['verb']} {asked['subresource']}" in self.may}}


def _access(api: Reviewing) -> Access:
    return Access(cast(ApiClient, api), "n1")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/stats/summary", ("stats",)),
        ("/metrics/resource", ("metrics",)),
        ("/metrics?x=/y", ("metrics",)),
        ("/logs/a", ("log",)),
        ("/pods", ("pods", "proxy")),
        ("/healthz", ("healthz", "proxy")),
        ("/containerLogs/a/b/c", ("proxy",)),
        ("/exec/a/b/c", ("proxy",)),
        ("/", ("proxy",)),
        ("/statsx", ("proxy",)),
        ("/stats/../exec", ("stats",)),
    ],
)
def test_a_path_needs_its_subresource(path: str, expected: tuple[str, ...]) -> None:
    assert subresources(path) == expected


def test_what_the_api_said_is_remembered_for_a_while() -> None:
    async def scenario() -> None:
        api = Reviewing("get metrics")
        asker = _access(api)
        robot = await asker.requester(None, "Bearer good")
        assert robot == Requester("robot", ("robots",), "7", (("k", ("v",)),))
        assert await asker.requester(None, "bearer good") == robot and len(api.asked) == 1
        assert await asker.requester(None, "Bearer bad") is None
        assert await asker.requester(None, "Bearer bad") is None and len(api.asked) == 3
        api.asked.clear()
        for _ in range(2):
            assert await asker.allows(robot, "GET", "/metrics/resource")
            assert not await asker.allows(robot, "POST", "/exec/a/b/c")
        assert [each["spec"]["resourceAttributes"]["verb"] for each in api.asked] == ["get", "create"]
        spec = api.asked[0]["spec"]
        assert spec["user"] == "robot" and spec["extra"] == {"k": ["v"]} and spec["resourceAttributes"]["name"] == "n1"
        api.may = {"create proxy"}
        await asyncio.sleep(access.REFUSED_SECONDS + 1)
        assert await asker.allows(robot, "POST", "/exec/a/b/c")
        assert await asker.allows(robot, "GET", "/metrics/resource")
        await asyncio.sleep(access.ALLOWED_SECONDS)
        assert not await asker.allows(robot, "GET", "/metrics/resource")

    run_virtual(scenario())


def test_a_certificate_names_its_user_and_needs_no_review() -> None:
    async def scenario() -> None:
        api = Reviewing()
        subject = ((("organizationName", "system:masters"),), (("commonName", "master"),))
        found = await _access(api).requester({"subject": subject}, "Bearer good")
        assert found is not None and found.name == "master"
        assert await _access(api).allows(found, "DELETE", "/anything")
        assert await _access(api).requester({"subject": ((("organizationName", "x"),),)}, "") is None
        assert not api.asked

    run_virtual(scenario())


async def test_a_certificate_of_the_cluster_alone_reads_no_logs(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Reviewing("get metrics")
    monkeypatch.setattr("controlplane.kubelet.service.Access", lambda client, name: _access(api))
    async with node(tmp_path, pki) as (_, client):
        for path in ("/containerLogs/default/web/main", "/pods", "/exec/default/web/main", "/stats/summary"):
            reply = await client.ask(path, certificate="jane")
            assert reply.status == 403 and b"user=jane" in reply.body
            assert (await client.ask(path, certificate="", token="good")).status == 403
        assert (await client.ask("/metrics/resource", certificate="jane")).status == 200
        assert (await client.ask("/metrics/resource", certificate="", token="good")).status == 200
        assert (await client.ask("/metrics/resource", certificate="", token="bad")).status == 401
        for trick in (
            "//metrics/pods",
            "/metrics//pods",
            "http://metrics/pods",
            "/metrics/../pods",
            "/%2fmetrics/pods",
        ):
            assert (await client.ask(trick, certificate="jane")).status in (400, 403, 404), trick
        api.broken = True
        assert (await client.ask("/logs/x", certificate="jane")).status == 500
        assert (await client.ask("/healthz")).status == 200  # a master needs no review


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_a_node_speaks_no_old_tls(tmp_path: Path, pki: Path) -> None:
    async with node(tmp_path, pki) as (_, client):
        context = client.context("apiserver")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.open_connection(client.address, client.port, ssl=context)
