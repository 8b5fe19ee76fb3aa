"""The loop: changes of pods and nodes in; attempts, bindings, conditions and events out.

Everything but the binding happens between two awaits, so an attempt sees one consistent cluster. A pod that gets a node is
counted there at once (assumed), and its binding travels while the next pods are decided; a binding that fails takes the
assumption back.
"""

import asyncio
import logging
from random import Random
from typing import Any

from controlplane.machinery.cache import Change
from controlplane.machinery.client import ApiClient, ApiError, ConnectionLost
from controlplane.machinery.events import EventRecorder
from controlplane.objects.kinds import PODS
from controlplane.scheduler import diagnosis
from controlplane.scheduler.cluster import ClusterState
from controlplane.scheduler.cluster_events import ClusterChange, ClusterEvent, node_event
from controlplane.scheduler.framework import Framework
from controlplane.scheduler.plugins import BINDER, DEFAULT_PROFILE, QUEUE_ORDER
from controlplane.scheduler.podinfo import DEFAULT_SCHEDULER, PodInfo, read_pod
from controlplane.scheduler.queue import QueuedPod, SchedulingQueue
from controlplane.scheduler.reports import ConditionReporter

log = logging.getLogger("controlplane.scheduler")

# The scheduler shares its event loop with an API server: no more than this at a stretch.
SLICE_SECONDS = 0.005
FAILED_SCHEDULING = "FailedScheduling"
GATED = ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")


class Scheduler:
    """One leadership's worth of scheduling. Give `on_pod` and `on_node` the changes; `run` in a task of its own."""

    def __init__(
        self,
        client: ApiClient,
        *,
        recorder: EventRecorder,
        reporter: ConditionReporter,
        random: Random,
        binds_in_flight: int,
    ) -> None:
        self.cluster = ClusterState()
        self.framework = Framework(DEFAULT_PROFILE)
        self.queue = SchedulingQueue(
            holds_back=self.framework.holds_back, sort_key=QUEUE_ORDER.sort_key, may_help=self.framework.may_help
        )
        self._client = client
        self._recorder = recorder
        self._reporter = reporter
        self._random = random
        self._bind_slots = asyncio.Semaphore(binds_in_flight)
        self._binds: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    # --- changes

    def on_node(self, change: Change) -> None:
        """A node came, changed or went."""
        name = change.new["metadata"]["name"]
        if change.type == "DELETED":
            self.cluster.remove_node(name)
            return
        event = node_event(change.old, change.new)
        if event is not None:
            self.cluster.set_node(change.new)
            self._happened(event)

    def on_pod(self, change: Change) -> None:
        """A pod came, changed or went."""
        old, new = change.old, change.new
        key = f"{new['metadata'].get('namespace', '')}/{new['metadata']['name']}"
        if old is not None and old["metadata"].get("uid") != new["metadata"].get("uid"):
            self._gone(key)
            old = None
        if change.type == "DELETED" or (new.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            self._gone(key)
        elif new["spec"].get("nodeName"):
            self._placed(key, old, new)
        elif (new["spec"].get("schedulerName") or DEFAULT_SCHEDULER) != DEFAULT_SCHEDULER:
            return
        elif "deletionTimestamp" in new["metadata"]:
            self._gone(key)
        else:
            self._waits(key, old, new)

    def _placed(self, key: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        self.queue.remove(key)
        self._reporter.drop(key)
        if old is not None and old["spec"] == new["spec"] and not self.cluster.is_assumed(key):
            return
        before, now = self.cluster.placed(key), read_pod(new)
        self.cluster.place(now)
        if before is not None and any(amount > now.requests.get(name, 0) for name, amount in before.requests.items()):
            self._happened(ClusterEvent(ClusterChange.POD_REMOVED, pod=before))

    def _waits(self, key: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        pod = read_pod(new)
        if key in self.queue and old is not None and old["spec"] == new["spec"]:
            self.queue.refresh(pod)
        elif not self.cluster.placed_on(key) or key in self.queue:
            self.queue.put(pod, self._now())
            self._wake.set()
            if self.framework.holds_back(pod):
                self._reporter.report(pod, *GATED)

    def _gone(self, key: str) -> None:
        self.queue.remove(key)
        self._reporter.drop(key)
        placed = self.cluster.placed(key)
        if placed is not None:
            self.cluster.remove(key)
            self._happened(ClusterEvent(ClusterChange.POD_REMOVED, pod=placed))

    def _happened(self, event: ClusterEvent) -> None:
        if self.queue.on_event(event, self._now()):
            self._wake.set()

    # --- attempts

    async def run(self) -> None:
        """Schedule until cancelled; bindings that are under way are cancelled with it."""
        try:
            await self._run()
        finally:
            for task in self._binds:
                task.cancel()
            await asyncio.gather(*self._binds, return_exceptions=True)

    async def _run(self) -> None:
        slice_end = self._now() + SLICE_SECONDS
        while True:
            await self._bind_slots.acquire()
            now = self._now()
            self.queue.advance(now)
            queued = self.queue.pop(now)
            if queued is None or not self._attempt(queued):
                self._bind_slots.release()
            if queued is None:
                await self._wait_for_work()
            elif self._now() >= slice_end:
                await asyncio.sleep(0)
            else:
                continue
            slice_end = self._now() + SLICE_SECONDS

    def _attempt(self, queued: QueuedPod) -> bool:
        """Try to place one pod; True when a binding (and its slot) is under way."""
        pod = queued.pod
        decision = self.framework.decide(pod, self.cluster.nodes, self._random)
        if decision.node:
            self.cluster.assume(pod, decision.node)
            task = asyncio.get_running_loop().create_task(
                self._bind(queued, pod, decision.node), name=f"bind {pod.key}"
            )
            self._binds.add(task)
            task.add_done_callback(self._binds.discard)
            return True
        self.queue.refuse(queued, decision.rejecting_plugins(), self._now())
        text = diagnosis.message(pod, decision)
        self._recorder.event(pod.raw, "Warning", FAILED_SCHEDULING, text)
        self._reporter.report(pod, "Unschedulable", text)
        return False

    async def _bind(self, queued: QueuedPod, pod: PodInfo, node_name: str) -> None:
        try:
            binding = BINDER.binding(pod, node_name)
            await self._client.create(PODS, binding, pod.namespace, subresource="binding", name=pod.name)
        except (ApiError, ConnectionLost) as error:
            # Perhaps it is bound all the same (its answer was lost): then the informer says so, and `_placed` counts it.
            self._bind_failed(queued, pod, f"binding rejected: {error}")
        else:
            self.queue.remove(pod.key)
            self._recorder.event(pod.raw, "Normal", "Scheduled", f"Successfully assigned {pod.key} to {node_name}")
        finally:
            self._bind_slots.release()

    def _bind_failed(self, queued: QueuedPod, pod: PodInfo, text: str) -> None:
        if not self.cluster.is_assumed(pod.key) or self.cluster.placed(pod.key) is not pod:
            return  # meanwhile bound, gone, or gone and created again
        log.info("%s: %s", pod.key, text)
        self.cluster.forget(pod.key)
        self._happened(ClusterEvent(ClusterChange.POD_REMOVED, pod=pod))
        self.queue.retry(queued, self._now())
        self._wake.set()  # there is a new timer
        self._recorder.event(pod.raw, "Warning", FAILED_SCHEDULING, text)
        self._reporter.report(pod, "SchedulerError", text)

    async def _wait_for_work(self) -> None:
        """Until a change woke a pod, or a back-off ends."""
        self._wake.clear()
        when = self.queue.next_timer()
        loop = asyncio.get_running_loop()
        timer = loop.call_at(when, self._wake.set) if when is not None else None
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
