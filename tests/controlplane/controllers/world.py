"""A small world for controllers: a fake API, the controllers asked for, and a stand-in for scheduler and kubelets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from controlplane.machinery.cache import Change
from controlplane.machinery.clock import FakeClock
from controlplane.machinery.controller import Controller
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import Informer, InformerFactory
from controlplane.objects.kinds import EVENTS, PODS, Resource
from controlplane.objects.meta import format_time, get_in, is_deleting
from controlplane.objects.status import ApiError
from tests.controlplane.fakes import FakeApi, run_virtual

Object = dict[str, Any]
Scenario = Callable[["World"], Coroutine[Any, Any, None]]


class World:
    """`start_seconds`: what a pod needs to become ready; `broken(pod)` pods never do."""

    def __init__(self, *reconcilers: Any, start_seconds: float = 1.0, stop_seconds: float = 1.0) -> None:
        self.clock = FakeClock()
        self.api = FakeApi(self.clock)
        self.client = self.api.client()
        self.reconcilers = reconcilers
        self.start_seconds = start_seconds
        self.stop_seconds = stop_seconds
        self.broken: Callable[[Object], bool] = lambda pod: False
        self.node: Callable[[Object], str] = lambda pod: "node-0"
        self.lowest_ready: dict[str, int] = {}
        self.controllers: dict[str, Controller] = {}

    def run(self, scenario: Scenario) -> None:
        """Run the scenario beside controllers and kubelet, on virtual time."""
        run_virtual(self._main(scenario), self.clock)

    async def _main(self, scenario: Scenario) -> None:
        factory = InformerFactory(self.client, random=Random(1))
        recorder = EventRecorder(self.client, "test", clock=self.clock, random=Random(2))
        for reconciler in self.reconcilers:
            controller = Controller(reconciler, factory, self.client, recorder, clock=self.clock, random=Random(3))
            self.controllers[reconciler.NAME] = controller
        factory.start()
        tasks = [asyncio.ensure_future(controller.run()) for controller in self.controllers.values()]
        tasks += [asyncio.ensure_future(recorder.run()), asyncio.ensure_future(self._kubelet())]
        await factory.wait_synced()
        try:
            await scenario(self)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await factory.close()
        bugs = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert not bugs, bugs

    async def _kubelet(self) -> None:
        jobs: set[asyncio.Task[None]] = set()

        def on_change(change: Change) -> None:
            if job := self._job(change):
                task = asyncio.ensure_future(job)
                jobs.add(task)
                task.add_done_callback(jobs.discard)

        informer = Informer(self.client, PODS, random=Random(4))
        informer.add_handler(on_change)
        try:
            await informer.run()
        finally:
            for task in jobs:
                task.cancel()

    def _job(self, change: Change) -> Coroutine[Any, Any, None] | None:
        pod = change.new
        if change.type == "ADDED":
            return self._start_pod(pod)
        if change.type == "MODIFIED" and is_deleting(pod):
            return self._stop_pod(pod)
        return None

    async def _start_pod(self, pod: Object) -> None:
        if not get_in(pod, "spec", "nodeName"):
            self._change(pod, lambda obj: obj["spec"].update(nodeName=self.node(pod)))
        await asyncio.sleep(self.start_seconds)
        now = format_time(self.clock.now())
        ready = "False" if self.broken(pod) else "True"
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": now}
        number = int(pod["metadata"]["uid"].split("-")[1])
        address = f"10.0.{number // 250}.{number % 250}"
        status = {"phase": "Running", "startTime": now, "conditions": [condition]}
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
        self._change(pod, lambda obj: obj.update(status=status))

    async def _stop_pod(self, pod: Object) -> None:
        await asyncio.sleep(self.stop_seconds)
        metadata = pod["metadata"]
        try:
            found = self.api.find(PODS, metadata["name"], metadata["namespace"])
            if found["metadata"]["uid"] == metadata["uid"] and not found["metadata"].get("finalizers"):
                self.api.remove(PODS, metadata["name"], metadata["namespace"])
        except ApiError:
            pass  # gone already

    def _change(self, pod: Object, change: Callable[[Object], object]) -> None:
        metadata = pod["metadata"]
        try:
            found = self.api.find(PODS, metadata["name"], metadata["namespace"])
        except ApiError:
            return
        if found["metadata"]["uid"] == metadata["uid"]:
            self.api.change(PODS, metadata["name"], metadata["namespace"], change)

    def finish(self, pod: Object, phase: str, exit_code: int = 0) -> None:
        """The pod's containers end."""
        state = {"terminated": {"exitCode": exit_code, "finishedAt": format_time(self.clock.now())}}
        names = [container["name"] for container in get_in(pod, "spec", "containers", default=[])] or ["main"]
        statuses = [{"name": name, "state": state, "restartCount": 0} for name in names]
        status = {**pod.get("status", {}), "phase": phase, "containerStatuses": statuses, "conditions": []}
        self._change(pod, lambda obj: obj.update(status=status))

    # --- looking
    def events(self, reason: str) -> list[str]:
        """Messages of the events with that reason."""
        return [event["message"] for event in self.api.all(EVENTS) if event["reason"] == reason]

    def pods(self, **labels: str) -> list[Object]:
        """Pods that are not on their way out."""
        return [
            pod
            for pod in self.api.all(PODS)
            if not is_deleting(pod) and labels.items() <= (pod["metadata"].get("labels") or {}).items()
        ]

    def writes(self, resource: Resource) -> list[str]:
        """The verbs of all writes to a resource so far."""
        reads = ("get", "list", "watch")
        return [verb for verb, plural, _ in self.api.log if plural == resource.plural and verb not in reads]


async def until(predicate: Callable[[], bool], seconds: float = 60.0, step: float = 0.05) -> None:
    """Wait (virtual time) until it holds; AssertionError after `seconds`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not predicate():
        assert loop.time() < end, "it did not come about"
        await asyncio.sleep(step)


def conditions(obj: Object) -> dict[str, tuple[str, str]]:
    """type -> (status, reason)."""
    found: Sequence[Object] = get_in(obj, "status", "conditions", default=[])
    return {condition["type"]: (condition["status"], condition.get("reason", "")) for condition in found}
