"""What each namespace has, and how one goes."""

import asyncio
from typing import Any

import msgspec

from controlplane.controllers import serviceaccount
from controlplane.controllers.namespace import NamespaceController
from controlplane.controllers.root_ca import RootCaPublisher
from controlplane.machinery.client import Response
from controlplane.objects.kinds import CONFIG_MAPS, NAMESPACES, PODS, SERVICE_ACCOUNTS
from tests.controlplane.controllers.world import World, conditions

Object = dict[str, Any]


def world() -> World:
    w = World(NamespaceController(), serviceaccount, RootCaPublisher("PEM"))
    verbs = ["create", "delete", "deletecollection", "get", "list", "update", "watch", "patch"]
    resources = [
        {"name": found.plural, "kind": found.kind, "namespaced": found.namespaced, "verbs": verbs}
        for found in (PODS, CONFIG_MAPS, SERVICE_ACCOUNTS, NAMESPACES)
    ]
    w.api.raw_answers = {
        "/apis": Response(200, {}, b'{"groups":[]}'),
        "/api/v1": Response(200, {}, msgspec.json.encode({"resources": resources})),
    }
    return w


def add(w: World, name: str = "team") -> None:
    w.api.put(
        NAMESPACES, {"metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    )


def names(w: World, resource: Any) -> list[str]:
    return [obj["metadata"]["name"] for obj in w.api.all(resource)]


def test_a_namespace_gets_its_default_account_and_the_root_ca_and_gets_them_back() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add(w)
        await asyncio.sleep(1)
        assert names(w, SERVICE_ACCOUNTS) == ["default"]
        assert w.api.find(CONFIG_MAPS, "kube-root-ca.crt", "team")["data"] == {"ca.crt": "PEM"}
        w.api.remove(SERVICE_ACCOUNTS, "default", "team")
        w.api.change(CONFIG_MAPS, "kube-root-ca.crt", "team", lambda obj: obj.update(data={"ca.crt": "forged"}))
        await asyncio.sleep(1)
        assert names(w, SERVICE_ACCOUNTS) == ["default"]
        assert w.api.find(CONFIG_MAPS, "kube-root-ca.crt", "team")["data"] == {"ca.crt": "PEM"}

    w.run(scenario)


def test_a_namespace_that_is_deleted_is_emptied_pods_first_and_goes() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add(w)
        add(w, "other")
        metadata = {"name": "p", "namespace": "team"}
        w.api.put(PODS, {"metadata": metadata, "spec": {"nodeName": "n"}})
        await asyncio.sleep(5)
        before = len(w.api.history)
        await w.client.delete(NAMESPACES, "team")
        await asyncio.sleep(0.5)
        remaining = conditions(w.api.find(NAMESPACES, "team"))["NamespaceContentRemaining"]
        assert remaining == ("True", "SomeResourcesRemain")
        assert "default" in names(w, SERVICE_ACCOUNTS)
        await asyncio.sleep(5)
        gone = [event.resource.kind for event in w.api.history[before:] if event.type == "DELETED"]
        assert gone[0] == "Pod" and gone[-1] == "Namespace"
        assert names(w, NAMESPACES) == ["other"]
        assert [obj["metadata"]["namespace"] for obj in w.api.all(SERVICE_ACCOUNTS)] == ["other"]

    w.run(scenario)


def test_finalizers_of_others_hold_the_namespace_and_are_named() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add(w)
        metadata = {"name": "held", "namespace": "team", "finalizers": ["example.com/hold"]}
        w.api.put(CONFIG_MAPS, {"metadata": metadata})
        await asyncio.sleep(1)
        await w.client.delete(NAMESPACES, "team")
        await asyncio.sleep(30)
        found = w.api.find(NAMESPACES, "team")
        assert conditions(found)["NamespaceFinalizersRemaining"] == ("True", "SomeFinalizersRemain")
        texts = [condition["message"] for condition in found["status"]["conditions"]]
        assert any("example.com/hold in 1 resource instances" in text for text in texts)
        w.api.change(CONFIG_MAPS, "held", "team", lambda obj: obj["metadata"].pop("finalizers"))
        w.api.remove(CONFIG_MAPS, "held", "team")
        await asyncio.sleep(20)
        assert names(w, NAMESPACES) == []

    w.run(scenario)


def test_a_group_that_does_not_answer_holds_the_namespace_and_is_named() -> None:
    w = world()

    async def scenario(w: World) -> None:
        add(w)
        groups = {"groups": [{"name": "x.io", "versions": [{"groupVersion": "x.io/v1", "version": "v1"}]}]}
        w.api.raw_answers["/apis"] = Response(200, {}, msgspec.json.encode(groups))
        await asyncio.sleep(1)
        await w.client.delete(NAMESPACES, "team")
        await asyncio.sleep(5)
        found = conditions(w.api.find(NAMESPACES, "team"))
        assert found["NamespaceDeletionDiscoveryFailure"] == ("True", "DiscoveryFailed")

    w.run(scenario)
