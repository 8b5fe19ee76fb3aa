"""Service account tokens in volumes: asked for once, bound to the pod, renewed before they grow old."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from controlplane.kubelet.environment import Facts
from controlplane.kubelet.podvolumes import PodVolumes
from controlplane.kubelet.sources import ObjectSource
from controlplane.kubelet.volumes import VolumeError
from controlplane.machinery.clock import FakeClock
from controlplane.objects.kinds import SERVICE_ACCOUNTS
from controlplane.objects.meta import format_time
from controlplane.objects.status import forbidden
from tests.controlplane.fakes import run_virtual
from tests.controlplane.kubelet.pods import make_pod

Object = dict[str, Any]
LIFETIME_SECONDS = 600


class TokenApi:
    """Grants tokens and notes who asked for what."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.requests: list[tuple[str, str, Object]] = []
        self.refuse = False

    async def create(self, resource: Any, obj: Object, namespace: str, *, subresource: str, name: str) -> Object:
        assert resource is SERVICE_ACCOUNTS and subresource == "token"
        if self.refuse:
            raise forbidden(resource, name, "no")
        self.requests.append((namespace, name, obj["spec"]))
        until = self.clock.now() + timedelta(seconds=LIFETIME_SECONDS)
        return {"status": {"token": f"token-{len(self.requests)}", "expirationTimestamp": format_time(until)}}


def story(tmp_path: Path, test: Any) -> None:
    clock = FakeClock()
    api = TokenApi(clock)

    async def main() -> None:
        client: Any = api
        sources = ObjectSource(client, Random(1))
        volumes = PodVolumes(tmp_path, client, sources, clock, lambda: None)
        try:
            await test(volumes, api)
        finally:
            await volumes.stop()

    run_virtual(main(), clock)


def pod() -> Object:
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": LIFETIME_SECONDS}}
    return make_pod(volumes=[{"name": "v", "projected": {"sources": [token]}}], serviceAccountName="robot")


FACTS = Facts("", "", "n1")


def test_a_token_is_bound_to_its_pod_and_renewed_when_a_fifth_of_its_life_is_left(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: TokenApi) -> None:
        places = await volumes.ensure(pod(), FACTS)
        await volumes.ensure(pod(), FACTS)
        file = places["v"] / "token"
        assert file.read_text() == "token-1" and len(api.requests) == 1
        namespace, account, spec = api.requests[0]
        assert (namespace, account) == ("default", "robot")
        assert spec["boundObjectRef"] == {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "uid-web"}
        await asyncio.sleep(LIFETIME_SECONDS * 0.79)
        assert file.read_text() == "token-1"
        await asyncio.sleep(LIFETIME_SECONDS * 0.02)
        assert file.read_text() == "token-2"
        await asyncio.sleep(LIFETIME_SECONDS)
        assert len(api.requests) == 3

    story(tmp_path, test)


def test_a_refused_renewal_is_tried_again_and_the_old_token_stays(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: TokenApi) -> None:
        places = await volumes.ensure(pod(), FACTS)
        api.refuse = True
        await asyncio.sleep(LIFETIME_SECONDS * 0.9)
        assert (places["v"] / "token").read_text() == "token-1"
        api.refuse = False
        await asyncio.sleep(30)
        assert (places["v"] / "token").read_text() == "token-2"

    story(tmp_path, test)


def test_a_refused_first_token_says_so(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: TokenApi) -> None:
        api.refuse = True
        with pytest.raises(VolumeError, match="failed to fetch token"):
            await volumes.ensure(pod(), FACTS)

    story(tmp_path, test)
