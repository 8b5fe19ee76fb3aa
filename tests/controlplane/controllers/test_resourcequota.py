"""Quotas count what there is, also after it went."""

from __future__ import annotations

import asyncio
from typing import Any

from controlplane.controllers.resourcequota import ResourceQuotas
from controlplane.objects import quotas
from controlplane.objects.kinds import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS
from tests.controlplane.controllers.world import World

Object = dict[str, Any]


def pod(name: str, cpu: str, phase: str = "Running") -> Object:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], "nodeName": "n"}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec, "status": {"phase": phase}}


def quota(**hard: str) -> Object:
    bounds = {name.replace("__", "/").replace("_", "."): amount for name, amount in hard.items()}
    return {"metadata": {"name": "q", "namespace": "ns"}, "spec": {"hard": bounds}}


def used(world: World) -> Object:
    found: Object = (world.api.find(RESOURCE_QUOTAS, "q", "ns").get("status") or {}).get("used") or {}
    return found


def test_the_count_follows_pods_that_come_end_and_go() -> None:
    async def scenario(world: World) -> None:
        world.api.put(PODS, pod("a", "250m"))
        world.api.put(PODS, pod("b", "1"))
        world.api.put(RESOURCE_QUOTAS, quota(pods="9", requests_cpu="4", count__configmaps="5"))
        await asyncio.sleep(3)
        assert used(world) == {"pods": "2", "requests.cpu": "1250m", "count/configmaps": "0"}
        world.api.put(PODS, pod("a", "250m", "Succeeded"))
        await asyncio.sleep(3)
        assert used(world) == {"pods": "1", "requests.cpu": "1", "count/configmaps": "0"}
        world.api.put(CONFIG_MAPS, {"metadata": {"name": "m", "namespace": "ns"}, "data": {}})
        world.api.remove(PODS, "b", "ns")
        await asyncio.sleep(3)
        assert used(world) == {"pods": "0", "requests.cpu": "0", "count/configmaps": "1"}
        assert world.api.find(RESOURCE_QUOTAS, "q", "ns")["status"]["hard"]["pods"] == "9"

    World(ResourceQuotas()).run(scenario)


def test_what_is_not_watched_is_counted_again_after_a_while() -> None:
    async def scenario(world: World) -> None:
        world.api.put(RESOURCE_QUOTAS, quota(configmaps="5"))
        await asyncio.sleep(3)
        world.api.put(CONFIG_MAPS, {"metadata": {"name": "m", "namespace": "ns"}, "data": {}})
        await asyncio.sleep(35)
        assert used(world) == {"configmaps": "1"}

    World(ResourceQuotas()).run(scenario)


def test_claims_count_for_their_class_too() -> None:
    claim = {
        "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}},
    }
    hard = {
        "requests.storage": "9Gi",
        "fast.storageclass.storage.k8s.io/requests.storage": "9Gi",
        "slow.storageclass.storage.k8s.io/requests.storage": "9Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "9",
    }
    assert quotas.total({"spec": {"hard": hard}}, {PERSISTENT_VOLUME_CLAIMS: [claim]}) == {
        "requests.storage": "2Gi",
        "fast.storageclass.storage.k8s.io/requests.storage": "2Gi",
        "slow.storageclass.storage.k8s.io/requests.storage": "0",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
    }
    assert quotas.kinds_of(hard) == [("", "persistentvolumeclaims")]
