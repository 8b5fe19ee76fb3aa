"""The controller loop with a toy reconciler: one pod per ConfigMap, named after it and its revision."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.machinery.actions import Create, Delete, Note, Plan, Update
from controlplane.machinery.client import ApiError, ConnectionLost
from controlplane.machinery.controller import Caches, Controller, Kind, Owned
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import InformerFactory
from controlplane.objects.kinds import CONFIG_MAPS, EVENTS, PODS
from controlplane.objects.meta import owner_reference, uid_of
from controlplane.objects.status import already_exists, forbidden
from tests.controlplane.fakes import FakeApi, run_virtual, settle

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    owner: Object
    pods: list[Object]


class OnePod:
    """As many pods as the ConfigMap's `data.count` says."""

    NAME = "one-pod"
    WATCHES = (Kind(CONFIG_MAPS), Owned(PODS, by=CONFIG_MAPS))

    def __init__(self) -> None:
        self.plans = 0

    def observe(self, key: str, caches: Caches) -> Observed | None:
        owner = caches[CONFIG_MAPS].get(key)
        return Observed(owner, caches[PODS].by_owner(uid_of(owner))) if owner else None

    def plan(self, observed: Observed, now: datetime) -> Plan:
        self.plans += 1
        owner, pods = observed.owner, observed.pods
        count = int(owner["data"]["count"])
        names = {pod["metadata"]["name"] for pod in pods}
        fresh = [name for name in (f"{owner['metadata']['name']}-{n}" for n in range(100)) if name not in names]
        creates = tuple(self.create(owner, name) for name in fresh[: max(0, count - len(pods))])
        deletes = tuple(Delete(PODS, pod) for pod in pods[count:])
        status = None
        if owner.get("status") != {"pods": count}:
            status = Update(CONFIG_MAPS, {**owner, "status": {"pods": count}}, "status")

        def failed(error: ApiError) -> Update:
            return Update(CONFIG_MAPS, {**owner, "status": {"failed": error.reason}}, "status")

        return Plan(
            creates + deletes, status, status_after_failure=failed, again_after=float(owner["data"].get("again", 1e6))
        )

    def create(self, owner: Object, name: str) -> Create:
        reference = owner_reference(owner, CONFIG_MAPS)
        metadata = {"name": name, "namespace": "ns", "ownerReferences": [reference]}
        note = Note(owner, "Warning", "FailedCreate", "Error creating: {error}")
        return Create(PODS, {"metadata": metadata, "spec": {}}, on_failure=note)


def config_map(count: int, name: str = "m", **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "ns"}, "data": {"count": str(count), **data}}


def controlling(api: FakeApi, test: Any, reconciler: Any = None) -> None:
    async def main() -> None:
        client = api.client()
        factory = InformerFactory(client, random=Random(1))
        recorder = EventRecorder(client, "test", clock=api.clock, random=Random(2))
        controller = Controller(reconciler or OnePod(), factory, client, recorder, clock=api.clock, random=Random(3))
        factory.start()
        tasks = [asyncio.ensure_future(controller.run()), asyncio.ensure_future(recorder.run())]
        await test(controller)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await factory.close()

    run_virtual(main(), api.clock)


def creates(api: FakeApi) -> int:
    return [(verb, resource) for verb, resource, _ in api.log].count(("create", "pods"))


def test_it_creates_what_lacks_once_and_writes_status_once() -> None:
    api, reconciler = FakeApi(), OnePod()
    api.put(CONFIG_MAPS, config_map(5))

    async def test(controller: Controller) -> None:
        await asyncio.sleep(5)
        assert len(api.all(PODS)) == 5 == creates(api)
        assert api.find(CONFIG_MAPS, "m", "ns")["status"] == {"pods": 5}
        assert [verb for verb, *_ in api.log].count("update/status") == 1
        assert reconciler.plans <= 3

    controlling(api, test, reconciler)


def test_a_pod_that_goes_is_replaced_and_surplus_is_deleted() -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, config_map(3))

    async def test(controller: Controller) -> None:
        await asyncio.sleep(1)
        api.remove(PODS, "m-1", "ns")
        await asyncio.sleep(1)
        assert len(api.all(PODS)) == 3
        api.put(CONFIG_MAPS, config_map(1))
        await asyncio.sleep(1)
        assert len(api.all(PODS)) == 1

    controlling(api, test)


def test_while_the_watch_lags_nothing_is_created_twice() -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, config_map(0))

    async def test(controller: Controller) -> None:
        await asyncio.sleep(1)
        api.put(CONFIG_MAPS, config_map(4))
        await settle(12)  # the controller has begun to create
        api.disconnect_watches()
        for _ in range(10):
            controller.queue.add("ns/m")
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)
        assert len(api.all(PODS)) == 4 == creates(api)

    controlling(api, test)


def test_a_refusal_is_told_as_an_event_and_a_status_and_tried_again() -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, config_map(2))
    api.fail_next("create", forbidden(PODS, "m-0", "exceeded quota"), PODS)
    states: list[Any] = []

    async def test(controller: Controller) -> None:
        informer = controller._informers[CONFIG_MAPS]
        informer.add_handler(lambda change: states.append(change.new.get("status")))
        await asyncio.sleep(5)
        assert states == [None, {"failed": "Forbidden"}, {"pods": 2}]
        (event,) = api.all(EVENTS)
        assert event["message"] == 'Error creating: pods "m-0" is forbidden: exceeded quota'
        assert creates(api) == 3

    controlling(api, test)


@pytest.mark.parametrize(
    "error", [ConnectionLost("gone", sent=True), already_exists(PODS, "m-0"), ApiError(500, "X", "y")]
)
def test_failures_are_tried_again_after_a_back_off(error: Exception) -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, config_map(1))
    for _ in range(6):
        api.fail_next("create", error, PODS)

    async def test(controller: Controller) -> None:
        await asyncio.sleep(60)
        assert creates(api) == 7 and len(api.all(PODS)) == 1
        assert controller.queue.failures("ns/m") == 0

    controlling(api, test)


def test_a_plan_that_has_a_bug_is_logged_and_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, config_map(1, "bad", again="no number"))
    api.put(CONFIG_MAPS, config_map(1, "good"))

    async def test(controller: Controller) -> None:
        await asyncio.sleep(10)
        assert [pod["metadata"]["name"] for pod in api.all(PODS)] == ["good-0"]
        assert 3 < len([record for record in caplog.records if record.exc_info]) < 20

    controlling(api, test)


def test_again_after_brings_the_key_back() -> None:
    api, reconciler = FakeApi(), OnePod()
    api.put(CONFIG_MAPS, config_map(0, again="10"))

    async def test(controller: Controller) -> None:
        await asyncio.sleep(105)
        assert 10 <= reconciler.plans <= 13

    controlling(api, test, reconciler)


STEP = st.tuples(
    st.sampled_from(["count", "kill", "disconnect", "compact", "fail", "lose"]), st.integers(0, 4), st.floats(0, 1)
)


@settings(max_examples=50, deadline=None)
@given(st.lists(STEP, max_size=20))
def test_it_always_comes_to_the_wanted_count_and_never_makes_more_than_wanted(steps: list[Any]) -> None:
    api = FakeApi()
    api.put(CONFIG_MAPS, config_map(2))
    highest = 2

    async def test(controller: Controller) -> None:
        nonlocal highest
        for step, number, pause in steps:
            if step == "count":
                api.put(CONFIG_MAPS, config_map(number))
                highest = max(highest, number)
            elif step == "kill" and api.all(PODS):
                pod = api.all(PODS)[number % len(api.all(PODS))]
                api.remove(PODS, pod["metadata"]["name"], "ns")
            elif step == "disconnect":
                api.disconnect_watches()
            elif step == "compact":
                api.compact()
            elif step == "fail":
                api.fail_next("create", ApiError(500, "InternalError", "no"), PODS)
            elif step == "lose":
                api.fail_next("create", ConnectionLost("gone", sent=True), PODS)
            await asyncio.sleep(pause)
            assert len(api.all(PODS)) <= highest
        await asyncio.sleep(120)
        assert len(api.all(PODS)) == int(api.find(CONFIG_MAPS, "m", "ns")["data"]["count"])

    controlling(api, test)
