"""Secrets that hold a ServiceAccount's token."""

import asyncio
import base64
from typing import Any

from controlplane.controllers.serviceaccount_token import ACCOUNT_NAME, ACCOUNT_UID, TYPE, ServiceAccountTokens
from controlplane.objects.kinds import SECRETS, SERVICE_ACCOUNTS
from controlplane.objects.meta import uid_of
from tests.controlplane.controllers.world import World

Object = dict[str, Any]


def world() -> World:
    w = World(ServiceAccountTokens(b"PEM"))
    original = w.client.create

    async def create(resource: Any, obj: Object, namespace: str | None = None, **more: Any) -> Object:
        if more.get("subresource") == "token":
            return {"kind": "TokenRequest", "status": {"token": f"token for {obj['spec']['boundObjectRef']['name']}"}}
        return await original(resource, obj, namespace, **more)

    w.client.create = create  # type: ignore[method-assign, assignment]
    return w


def secret(uid: str = "") -> Object:
    annotations = {ACCOUNT_NAME: "robot"} | ({ACCOUNT_UID: uid} if uid else {})
    return {"metadata": {"name": "s", "namespace": "ns", "annotations": annotations}, "type": TYPE}


def account(w: World) -> Object:
    return w.api.put(SERVICE_ACCOUNTS, {"metadata": {"name": "robot", "namespace": "ns"}})


def test_a_secret_is_filled_once_with_token_authority_and_namespace() -> None:
    w = world()

    async def scenario(w: World) -> None:
        robot = account(w)
        w.api.put(SECRETS, secret())
        await asyncio.sleep(5)
        found = w.api.find(SECRETS, "s", "ns")
        decoded = {key: base64.b64decode(value) for key, value in found["data"].items()}
        assert decoded == {"token": b"token for s", "ca.crt": b"PEM", "namespace": b"ns"}
        assert found["metadata"]["annotations"][ACCOUNT_UID] == uid_of(robot)
        assert w.writes(SECRETS) == ["update"]

    w.run(scenario)


def test_a_secret_waits_a_while_for_its_account_and_goes_if_that_does_not_come() -> None:
    w = world()

    async def scenario(w: World) -> None:
        w.api.put(SECRETS, secret())
        await asyncio.sleep(5)
        assert len(w.api.all(SECRETS)) == 1
        await asyncio.sleep(10)
        assert w.api.all(SECRETS) == []

    w.run(scenario)


def test_the_secret_of_an_account_that_was_replaced_goes() -> None:
    w = world()

    async def scenario(w: World) -> None:
        account(w)
        w.api.put(SECRETS, secret(uid="of-an-older-one"))
        await asyncio.sleep(5)
        assert w.api.all(SECRETS) == []

    w.run(scenario)
