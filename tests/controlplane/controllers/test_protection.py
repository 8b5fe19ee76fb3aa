"""Claims and volumes that are in use outlive the wish to delete them."""

from __future__ import annotations

import asyncio
from typing import Any

from controlplane.controllers import claim_protection, volume_protection
from controlplane.objects.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from tests.controlplane.controllers.world import World

Object = dict[str, Any]


def metadata(name: str, finalizer: str) -> Object:
    found = {"name": name, "finalizers": [finalizer], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    return {**found, "deletionGracePeriodSeconds": 0}


def claim(name: str) -> Object:
    return {"metadata": {**metadata(name, claim_protection.FINALIZER), "namespace": "ns"}, "spec": {}}


def pod(name: str, claim_name: str, phase: str = "Running") -> Object:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}
    spec = {"volumes": [volume], "nodeName": "n"}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec, "status": {"phase": phase}}


def test_a_claim_goes_when_its_last_pod_has_ended() -> None:
    async def scenario(world: World) -> None:
        world.api.put(PODS, pod("user", "used"))
        world.api.put(PERSISTENT_VOLUME_CLAIMS, claim("free"))
        world.api.put(PERSISTENT_VOLUME_CLAIMS, claim("used"))
        await asyncio.sleep(5)  # of virtual time
        assert names(world, PERSISTENT_VOLUME_CLAIMS) == {"used"}
        world.api.put(PODS, pod("user", "used", "Succeeded"))
        await asyncio.sleep(5)
        assert not names(world, PERSISTENT_VOLUME_CLAIMS)

    World(claim_protection).run(scenario)


def test_a_bound_volume_waits_for_its_release() -> None:
    def volume(name: str, phase: str) -> Object:
        return {"metadata": metadata(name, volume_protection.FINALIZER), "spec": {}, "status": {"phase": phase}}

    async def scenario(world: World) -> None:
        world.api.put(PERSISTENT_VOLUMES, volume("bound", "Bound"))
        world.api.put(PERSISTENT_VOLUMES, volume("free", "Available"))
        await asyncio.sleep(5)
        assert names(world, PERSISTENT_VOLUMES) == {"bound"}
        world.api.put(PERSISTENT_VOLUMES, volume("bound", "Released"))
        await asyncio.sleep(5)
        assert not names(world, PERSISTENT_VOLUMES)

    World(volume_protection).run(scenario)


def names(world: World, resource: Any) -> set[str]:
    return {obj["metadata"]["name"] for obj in world.api.all(resource)}
