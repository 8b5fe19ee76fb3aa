"""Garbage collection on a fake API: background, foreground, orphans, and owners nobody shows."""

import asyncio
from typing import Any

import msgspec
import pytest

from controlplane.controllers.garbage_collector import GarbageCollector
from controlplane.machinery.client import Response
from controlplane.objects.kinds import CONFIG_MAPS, DEPLOYMENTS, NODES, PODS, REPLICA_SETS, Resource
from controlplane.objects.meta import owner_reference, owners_of
from tests.controlplane.controllers.world import World

Object = dict[str, Any]

SERVED = (PODS, CONFIG_MAPS, NODES, REPLICA_SETS, DEPLOYMENTS)


def world() -> World:
    w = World(GarbageCollector())
    serve(w, SERVED)
    return w


def serve(w: World, resources: tuple[Resource, ...]) -> None:
    def document(group_version: str) -> Response:
        verbs = ["create", "delete", "get", "list", "update", "watch", "patch"]
        listed = [
            {"name": found.plural, "kind": found.kind, "namespaced": found.namespaced, "verbs": verbs}
            for found in resources
            if found.group_version == group_version
        ]
        return Response(200, {}, msgspec.json.encode({"resources": listed}))

    groups = [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}]
    w.api.raw_answers = {
        "/apis": Response(200, {}, msgspec.json.encode({"groups": groups})),
        "/api/v1": document("v1"),
        "/apis/apps/v1": document("apps/v1"),
    }


def put(w: World, resource: Resource, name: str, *owners: Object, namespace: str = "ns") -> Object:
    metadata: Object = {"name": name, "ownerReferences": list(owners)}
    if resource.namespaced:
        metadata["namespace"] = namespace
    return w.api.put(resource, {"metadata": metadata, "spec": {}})


def names(w: World, resource: Resource) -> list[str]:
    return [obj["metadata"]["name"] for obj in w.api.all(resource)]


def family(w: World) -> tuple[Object, Object, Object]:
    """A Deployment, its ReplicaSet and that one's pod."""
    top = put(w, DEPLOYMENTS, "web")
    middle = put(w, REPLICA_SETS, "web-1", owner_reference(top, DEPLOYMENTS))
    bottom = put(w, PODS, "web-1-x", owner_reference(middle, REPLICA_SETS))
    return top, middle, bottom


async def delete(w: World, resource: Resource, name: str, propagation: str) -> None:
    await w.client.delete(resource, name, "ns", propagation=propagation)
    await asyncio.sleep(60)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_what_is_owned_goes_with_its_owner_down_to_the_last(propagation: str) -> None:
    w = world()

    async def scenario(w: World) -> None:
        family(w)
        put(w, PODS, "free")
        await asyncio.sleep(5)
        assert len(names(w, PODS)) == 2
        await delete(w, DEPLOYMENTS, "web", propagation)
        assert (names(w, DEPLOYMENTS), names(w, REPLICA_SETS), names(w, PODS)) == ([], [], ["free"])

    w.run(scenario)


def test_in_the_foreground_the_owner_goes_last() -> None:
    w = world()
    gone: list[str] = []

    async def scenario(w: World) -> None:
        family(w)
        await asyncio.sleep(5)
        before = len(w.api.history)
        await delete(w, DEPLOYMENTS, "web", "Foreground")
        gone.extend(event.resource.kind for event in w.api.history[before:] if event.type == "DELETED")
        assert gone == ["Pod", "ReplicaSet", "Deployment"]

    w.run(scenario)


def test_orphans_live_on_without_the_owner() -> None:
    w = world()

    async def scenario(w: World) -> None:
        family(w)
        await asyncio.sleep(5)
        await delete(w, DEPLOYMENTS, "web", "Orphan")
        assert (names(w, DEPLOYMENTS), names(w, REPLICA_SETS), names(w, PODS)) == ([], ["web-1"], ["web-1-x"])
        assert owners_of(w.api.find(REPLICA_SETS, "web-1", "ns")) == []

    w.run(scenario)


def test_one_of_two_owners_is_enough_and_the_lost_one_is_struck_out() -> None:
    w = world()

    async def scenario(w: World) -> None:
        one, two = put(w, CONFIG_MAPS, "one"), put(w, CONFIG_MAPS, "two")
        references = [owner_reference(owner, CONFIG_MAPS, controller=False) for owner in (one, two)]
        put(w, PODS, "p", *references)
        await asyncio.sleep(5)
        await delete(w, CONFIG_MAPS, "one", "Background")
        (left,) = owners_of(w.api.find(PODS, "p", "ns"))
        assert left["name"] == "two"
        await delete(w, CONFIG_MAPS, "two", "Background")
        assert names(w, PODS) == []

    w.run(scenario)


def test_an_owner_that_never_was_is_asked_for_before_anything_goes() -> None:
    w = world()

    async def scenario(w: World) -> None:
        ghost = {"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "never"}
        put(w, PODS, "p", ghost)
        await asyncio.sleep(10)
        assert names(w, PODS) == []
        assert ("get", "configmaps", "ghost") in w.api.log

    w.run(scenario)


def test_the_same_name_with_another_uid_is_not_the_owner() -> None:
    w = world()

    async def scenario(w: World) -> None:
        owner = put(w, CONFIG_MAPS, "cm")
        put(w, PODS, "p", {**owner_reference(owner, CONFIG_MAPS), "uid": "an-older-one"})
        await asyncio.sleep(10)
        assert names(w, PODS) == []

    w.run(scenario)


def test_an_owner_in_another_namespace_is_no_owner_and_one_of_the_cluster_is() -> None:
    w = world()

    async def scenario(w: World) -> None:
        elsewhere = put(w, CONFIG_MAPS, "cm", namespace="other")
        node = put(w, NODES, "n")
        put(w, PODS, "stray", owner_reference(elsewhere, CONFIG_MAPS))
        put(w, PODS, "kept", owner_reference(node, NODES))
        await asyncio.sleep(10)
        assert names(w, PODS) == ["kept"]

    w.run(scenario)


def test_an_owner_of_a_kind_that_is_not_served_protects_what_it_owns() -> None:
    w = world()

    async def scenario(w: World) -> None:
        put(w, PODS, "p", {"apiVersion": "example.com/v1", "kind": "Thing", "name": "t", "uid": "u"})
        await asyncio.sleep(300)
        assert names(w, PODS) == ["p"]

    w.run(scenario)


def test_a_family_that_was_half_deleted_before_we_came_is_finished() -> None:
    w = world()

    async def scenario(w: World) -> None:
        await asyncio.sleep(60)
        assert (names(w, DEPLOYMENTS), names(w, REPLICA_SETS), names(w, PODS)) == ([], [], [])

    family(w)
    w.api.remove(DEPLOYMENTS, "web", "ns")
    w.run(scenario)


def test_nothing_is_written_while_nothing_happens() -> None:
    w = world()

    async def scenario(w: World) -> None:
        family(w)
        await asyncio.sleep(10)
        before = w.api.revision
        await asyncio.sleep(3600)
        assert w.api.revision == before

    w.run(scenario)
