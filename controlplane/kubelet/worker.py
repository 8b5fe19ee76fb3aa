"""One pod's worker: looks (lifecycle.decide), does what follows, reports, waits for the next reason to look.

It is woken by its pod's changes, its containers' ends, its probes and by time. Statuses go out in a task of their own, newest
only, so that a slow API server never holds up a restart; the object is deleted only after its final status has been told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from controlplane.kubelet import hooks, lifecycle, podstatus
from controlplane.kubelet.addresses import AddressesExhausted
from controlplane.kubelet.checks import Outcome
from controlplane.kubelet.environment import Facts
from controlplane.kubelet.model import (
    Action,
    Decision,
    Finish,
    Observed,
    Pod,
    PodMemory,
    Record,
    RunPreStop,
    Signal,
    Start,
    StartFailure,
    State,
)
from controlplane.kubelet.podvolumes import PodVolumes
from controlplane.kubelet.probes import Prober, has_probes
from controlplane.kubelet.runtimes.port import ContainerKey, StartFailed
from controlplane.kubelet.starter import VOLUMES_REASON, Shared, make_request
from controlplane.kubelet.statuswriter import StatusWriter

log = logging.getLogger("controlplane.kubelet")

RETRY_SECONDS = 5.0
GONE_GRACE_SECONDS = 1  # for a pod whose object has vanished: upstream's minimum


class PodWorker:
    """Made when the node first sees a pod; its task ends when nothing of the pod is left here."""

    def __init__(self, shared: Shared, pod: Pod, memory: PodMemory, on_end: Callable[[PodWorker], None]) -> None:
        self.pod = pod
        self.uid = str(pod["metadata"]["uid"])
        self.memory = memory
        self.pod_ip = str((pod.get("status") or {}).get("podIP") or "")
        self._shared = shared
        self._on_end = on_end
        self._wake = asyncio.Event()
        self._object_gone = False
        self._freed = False
        self._first_look = True
        self._failures: dict[str, StartFailure] = {}
        self._hooks_done: set[tuple[str, int]] = set()
        self._probers: dict[str, Prober] = {}
        self._background: set[asyncio.Task[None]] = set()
        directory = shared.pod_directory(pod) / "volumes"
        self._volumes = PodVolumes(directory, shared.client, shared.sources, shared.clock, self._on_volume_change)
        self._status = StatusWriter(shared, pod)
        self.task = asyncio.get_running_loop().create_task(self._run())

    @property
    def is_terminal(self) -> bool:
        """Whether the pod has ended for good."""
        return self.memory.phase in podstatus.TERMINAL

    def update(self, pod: Pod) -> None:
        """The pod's object has changed."""
        self.pod = pod
        self._volumes.update(pod)
        self._status.on_pod(pod)
        self._wake.set()

    def gone(self) -> None:
        """The pod's object is no more: end what runs, tell nobody."""
        self._object_gone = True
        self._status.stop()
        now = podstatus.timestamp(self._shared.clock.now())
        grace = min(
            int(self.pod["metadata"].get("deletionGracePeriodSeconds") or GONE_GRACE_SECONDS), GONE_GRACE_SECONDS
        )
        meta = {**self.pod["metadata"], "deletionGracePeriodSeconds": grace}
        meta.setdefault("deletionTimestamp", now)
        self.pod = {**self.pod, "metadata": meta}
        self._wake.set()

    def wake(self) -> None:
        """Look again."""
        self._wake.set()

    async def close(self) -> None:
        """Let go without ending anything: the node stops. Containers are the runtime's to stop."""
        self.task.cancel()
        await asyncio.wait([self.task])
        await self._end_helpers()

    # The loop

    async def _run(self) -> None:
        self._take_address()
        while not (self._object_gone and self._freed):
            self._wake.clear()
            try:
                decision = self._decide()
                await self._perform(decision)
            except Exception:  # our bug: it costs this pod a delay, not its life
                log.exception("worker of pod %s failed", podstatus.full_name(self.pod))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not (self._object_gone and self._freed):
                await self._sleep_until(decision)
        await self._leave()

    def _decide(self) -> Decision:
        now = self._shared.clock.now()
        decision = lifecycle.decide(self.pod, self.memory, self._observe(), now, self._shared.config.policy)
        self.memory = decision.memory
        return decision

    def _observe(self) -> Observed:
        runtime = self._shared.runtime
        instances = {}
        for name in self.memory.slots:
            instance = runtime.instance(ContainerKey(self.uid, name))
            if instance is not None:
                instances[name] = instance
        return Observed(
            instances=instances,
            failures=dict(self._failures),
            probes={name: prober.report for name, prober in self._probers.items()},
            hooks_done=frozenset(self._hooks_done),
            pod_ip=self.pod_ip,
            host_ip=self._shared.config.node_ip,
        )

    async def _perform(self, decision: Decision) -> None:
        await self._match_probers()
        if self._first_look and (self.pod.get("status") or {}).get("phase") in podstatus.TERMINAL:
            self._status.already_told(decision.status)
        self._first_look = False
        if not self._object_gone:
            self._status.want(decision.status)
        for action in decision.actions:
            await self._do(action)

    async def _do(self, action: Action) -> None:
        match action:
            case Start():
                await self._start(action)
            case RunPreStop(container, attempt, limit_seconds):
                self._spawn(self._pre_stop(container, attempt, limit_seconds))
            case Signal(name, _, number):
                self._shared.runtime.send_signal(ContainerKey(self.uid, name), number)
            case Record(type, reason, message):
                self._event(type, reason, message)
            case Finish(delete):
                await self._finish(delete)

    async def _sleep_until(self, decision: Decision) -> None:
        if decision.again_at is None:
            await self._wake.wait()
            return
        seconds = (decision.again_at - self._shared.clock.now()).total_seconds()
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return

    # Actions

    async def _start(self, action: Start) -> None:
        name = action.container["name"]
        self._failures.pop(name, None)
        try:
            request = await make_request(self._shared, self.pod, action, self._volumes, self._facts())
            instance = await self._shared.runtime.start(request, self.wake)
        except (StartFailed, OSError) as problem:
            error = problem if isinstance(problem, StartFailed) else StartFailed("RunContainerError", str(problem))
            now = self._shared.clock.now()
            shown = "" if error.reason == VOLUMES_REASON else error.message
            self._failures[name] = StartFailure(name, action.attempt, action.tries, error.reason, shown, now)
            self._event("Warning", _event_reason(error.reason), _event_text(error, action.container))
        else:
            if instance.exit is not None and instance.exit.reason == "StartError":
                self._event("Warning", "Failed", f"Error: {instance.exit.message}")
            else:
                self._event("Normal", "Started", f"Started container {name}")
                self._after_start(action)
        self._wake.set()

    def _after_start(self, action: Start) -> None:
        if not self._shared.runtime.runs_programs:
            return
        if has_probes(action.container):
            self._add_prober(action.container, action.attempt)
        hook = (action.container.get("lifecycle") or {}).get("postStart")
        if hook:
            self._spawn(self._post_start(action.container, hook))

    def _add_prober(self, container: Mapping[str, Any], attempt: int) -> None:
        name = container["name"]

        async def ask(probe: Mapping[str, Any], timeout_seconds: float) -> Outcome:
            key = ContainerKey(self.uid, name)
            return await hooks.ask(self._shared.runtime, key, container, probe, self._address(), timeout_seconds)

        self._probers[name] = Prober(
            container, attempt, ask, lambda text: self._event("Warning", "Unhealthy", text), self.wake
        )

    async def _match_probers(self) -> None:
        """A prober lives as long as its attempt runs and is not being stopped."""
        for name, prober in list(self._probers.items()):
            slot = self.memory.slots[name]
            if slot.attempt != prober.attempt or slot.state is not State.RUNNING or slot.stop is not None:
                del self._probers[name]
                await prober.stop()

    async def _pre_stop(self, container: Mapping[str, Any], attempt: int, limit_seconds: float) -> None:
        hook = container["lifecycle"]["preStop"]
        key = ContainerKey(self.uid, container["name"])
        outcome = await hooks.run_hook(self._shared.runtime, key, container, hook, self._address(), limit_seconds)
        if not outcome.passed:
            self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {outcome.text}")
        self._hooks_done.add((container["name"], attempt))
        self._wake.set()

    async def _post_start(self, container: Mapping[str, Any], hook: Mapping[str, Any]) -> None:
        key = ContainerKey(self.uid, container["name"])
        limit = hooks.POST_START_LIMIT_SECONDS
        outcome = await hooks.run_hook(self._shared.runtime, key, container, hook, self._address(), limit)
        if not outcome.passed:
            self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {outcome.text}")
            self._shared.runtime.send_signal(key, hooks.FAILED_START_SIGNAL)

    async def _finish(self, delete: bool) -> None:
        """The pod has ended. Its directory (logs) stays until its object is gone."""
        if not self._freed:
            self._freed = True
            await self._end_helpers()
            self._shared.addresses.release(self.uid)
        if delete and not self._object_gone:
            self._status.delete_when_told()

    # Smaller things

    def _take_address(self) -> None:
        if self.is_terminal:
            return
        if self.pod["spec"].get("hostNetwork"):
            self.pod_ip = self._shared.config.node_ip
            return
        try:
            self.pod_ip = self._shared.addresses.acquire(self.uid, self.pod_ip)
        except AddressesExhausted as error:
            self._event("Warning", "FailedCreatePodSandBox", str(error))
            self.pod_ip = ""

    def _address(self) -> str:
        return self.pod_ip or self._shared.config.node_ip

    def _facts(self) -> Facts:
        config = self._shared.config
        return Facts(self.pod_ip, config.node_ip, config.node_name, self._shared.allocatable)

    def _on_volume_change(self) -> None:
        """An object that a start was waiting for may be here now."""
        self.memory = replace(
            self.memory,
            slots={
                name: replace(slot, retry_at=None)
                if slot.failure is not None and slot.failure.reason == VOLUMES_REASON
                else slot
                for name, slot in self.memory.slots.items()
            },
        )
        self._wake.set()

    def _event(self, type: str, reason: str, message: str) -> None:
        about = {"apiVersion": "v1", "kind": "Pod", **self.pod}
        self._shared.recorder.event(about, "Warning" if type == "Warning" else "Normal", reason, message)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _end_helpers(self) -> None:
        """Probers, hooks and the volumes' watch."""
        for task in list(self._background):
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)
        for prober in self._probers.values():
            await prober.stop()
        self._probers.clear()
        await self._volumes.stop()
        if self._object_gone or not self._freed:
            self._status.stop()

    async def _leave(self) -> None:
        """Nothing is left of the pod but its directory: remove that too."""
        self._status.stop()
        await self._shared.runtime.remove(self.uid)
        self._volumes.remove()
        self._on_end(self)


def _event_reason(reason: str) -> str:
    return "FailedMount" if reason == VOLUMES_REASON else "Failed"


def _event_text(error: StartFailed, container: Mapping[str, Any]) -> str:
    if error.reason == "ErrImagePull":
        return f'Failed to pull image "{container.get("image", "")}": {error.message}'
    return error.message if error.reason == VOLUMES_REASON else f"Error: {error.message}"
