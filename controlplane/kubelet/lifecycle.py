"""A pod's life as a pure function: (pod, what is remembered, what is observed, now) -> actions, status, memory.

`decide` is level-triggered: called again with the same inputs it asks for nothing new, because every request it has made
stands in the memory that it returned. It never waits; `again_at` says when time alone will change its mind.

    NEW -> STARTING -> RUNNING -> EXITED -> STARTING (attempt + 1) ...        a start that fails goes back to NEW

Order: init containers one after the other, then all others at once; a sidecar holds up the next one until it has
started, and stops when the main containers have ended for good. Stopping: preStop hook, SIGTERM, SIGKILL at the deadline.
Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from controlplane.kubelet import podstatus
from controlplane.kubelet.model import (
    Action,
    Decision,
    Ending,
    Finish,
    Observed,
    Pod,
    PodMemory,
    Policy,
    Record,
    Role,
    RunPreStop,
    Signal,
    Slot,
    Start,
    State,
    Stop,
    Why,
    containers_of,
)

DEFAULT_GRACE_SECONDS = 30
SLOW_FAILURES = ("ErrImagePull", "ImagePullBackOff", "RunContainerError")


def decide(pod: Pod, memory: PodMemory, observed: Observed, now: datetime, policy: Policy) -> Decision:
    """One look at a pod. See the module docstring."""
    turn = _Turn(pod, memory, observed, now, policy)
    if memory.phase not in podstatus.TERMINAL:
        turn.absorb()
        turn.notice_the_end()
        if turn.ending is not None:
            turn.stop_all()
        else:
            turn.advance()
    return turn.conclude()


class _Turn:
    """One call of `decide`: a scratch pad that lives as long as the call."""

    def __init__(self, pod: Pod, memory: PodMemory, observed: Observed, now: datetime, policy: Policy) -> None:
        self.pod, self.memory, self.observed, self.now, self.policy = pod, memory, observed, now, policy
        self.roster = tuple(containers_of(pod))
        self.slots = dict(memory.slots)
        for container, _ in self.roster:
            self.slots.setdefault(container["name"], Slot())
        self.ending = memory.ending
        self.actions: list[Action] = []
        self.again: list[datetime] = []
        self.restart_policy = pod["spec"].get("restartPolicy") or "Always"

    # What happened

    def absorb(self) -> None:
        for container, role in self.roster:
            name = container["name"]
            slot = self._absorb_instance(self.slots[name], name, role)
            slot = self._absorb_failure(slot, name)
            if slot.state is State.RUNNING:
                slot = self._absorb_probes(slot, container)
            self.slots[name] = slot

    def _absorb_instance(self, slot: Slot, name: str, role: Role) -> Slot:
        instance = self.observed.instances.get(name)
        if instance is None or instance.attempt != slot.attempt or slot.state not in (State.STARTING, State.RUNNING):
            return slot
        slot = replace(
            slot, state=State.RUNNING, started_at=instance.started_at, container_id=instance.container_id, failure=None
        )
        if instance.exit is None:
            return slot
        ended = instance.exit
        ran_seconds = (ended.finished_at - instance.started_at).total_seconds()
        delay = 0.0 if ran_seconds >= self.policy.backoff_reset_seconds else slot.delay_seconds
        probe_failed = slot.stop is not None and slot.stop.why is Why.PROBE
        slot = replace(
            slot,
            state=State.EXITED,
            exit=ended,
            started=False,
            ready=False,
            stop=None,
            retry_at=ended.finished_at + timedelta(seconds=delay),
            delay_seconds=min(max(self.policy.backoff_base_seconds, 2 * delay), self.policy.backoff_limit_seconds),
            probe_failed=probe_failed,
        )
        if delay and self.ending is None and self._wants_restart(slot, role):
            text = f"Back-off restarting failed container {name} in pod {podstatus.full_name(self.pod)}"
            self.actions.append(Record("Warning", "BackOff", text))
        return slot

    def _absorb_failure(self, slot: Slot, name: str) -> Slot:
        failure = self.observed.failures.get(name)
        if failure is None or slot.state is not State.STARTING:
            return slot
        if (failure.attempt, failure.tries) != (slot.attempt, slot.tries):
            return slot
        delay = self.policy.config_retry_seconds
        if failure.reason in SLOW_FAILURES:
            base, limit = self.policy.backoff_base_seconds, self.policy.backoff_limit_seconds
            delay = min(base * 2.0 ** min(slot.tries - 1, 20), limit)
        return replace(slot, state=State.NEW, failure=failure, retry_at=failure.at + timedelta(seconds=delay))

    def _absorb_probes(self, slot: Slot, container: Mapping[str, Any]) -> Slot:
        report = self.observed.probes.get(container["name"])
        if report is None or report.attempt != slot.attempt:
            started = "startupProbe" not in container
            slot = replace(slot, started=started, ready=started and "readinessProbe" not in container)
        else:
            slot = replace(slot, started=report.started, ready=report.started and report.ready)
            if report.failure and slot.stop is None:
                slot = replace(slot, probe_failed=True)
        return replace(slot, ready=False) if slot.stop is not None else slot

    def notice_the_end(self) -> None:
        """Deletion and deadline; a shorter grace (or a deletion after the deadline) wins over a longer one."""
        meta, spec = self.pod["metadata"], self.pod["spec"]
        if meta.get("deletionTimestamp"):
            grace = meta.get("deletionGracePeriodSeconds")
            grace = float(grace if grace is not None else _grace_seconds(self.pod))
            if self.ending is None:
                self.ending = Ending(Why.DELETION, self.now, grace)
            elif self.ending.grace_seconds > grace:
                self.ending = replace(self.ending, grace_seconds=grace)
            return
        limit = spec.get("activeDeadlineSeconds")
        if limit is None or self.ending is not None:
            return
        deadline = self.memory.start_time + timedelta(seconds=int(limit))
        if self.now < deadline:
            self.again.append(deadline)
            return
        self.ending = Ending(Why.DEADLINE, self.now, float(_grace_seconds(self.pod)))
        text = "Pod was active on the node longer than the specified deadline"
        self.actions.append(Record("Normal", "DeadlineExceeded", text))

    # Going on

    def advance(self) -> None:
        """Start what may start, restart what must, stop what failed its probes."""
        initialized = self._advance_init()
        mains = [c for c, role in self.roster if role is Role.MAIN]
        if initialized:
            for container in mains:
                self._drive(container, Role.MAIN)
        over = all(self._is_over(c["name"], Role.MAIN) for c in mains)
        if over or self._init_failed():
            for container, role in self.roster:
                if role is Role.SIDECAR:
                    self._stop(container, Why.COMPLETED, self.now + timedelta(seconds=_grace_seconds(self.pod)))

    def _advance_init(self) -> bool:
        """True when the main containers may run."""
        passed_before = any(self.slots[c["name"]] != Slot() for c, role in self.roster if role is Role.MAIN)
        for container, role in self.roster:
            slot = self.slots[container["name"]]
            if role is Role.INIT:
                if slot.state is State.EXITED and slot.exit is not None and slot.exit.exit_code == 0:
                    continue
                self._drive(container, role)
                if not passed_before:
                    return False
            elif role is Role.SIDECAR:
                if not all(self._is_over(c["name"], r) for c, r in self.roster if r is Role.MAIN):
                    self._drive(container, role)
                if not (passed_before or self.slots[container["name"]].started):
                    return False
        return not self._init_failed()

    def _drive(self, container: Mapping[str, Any], role: Role) -> None:
        name = container["name"]
        slot = self.slots[name]
        if slot.state is State.NEW:
            self._start_when_due(container, role, replace(slot, tries=slot.tries + 1))
        elif slot.state is State.EXITED and self._wants_restart(slot, role):
            again = replace(Slot(), attempt=slot.attempt + 1, tries=1, previous=slot.exit, retry_at=slot.retry_at)
            self._start_when_due(container, role, replace(again, delay_seconds=slot.delay_seconds))
        elif slot.state is State.RUNNING and (slot.probe_failed or slot.stop is not None):
            probe = container.get("livenessProbe") or container.get("startupProbe") or {}
            grace = probe.get("terminationGracePeriodSeconds")
            grace = _grace_seconds(self.pod) if grace is None else grace
            self._stop(container, Why.PROBE, self.now + timedelta(seconds=grace))

    def _start_when_due(self, container: Mapping[str, Any], role: Role, wanted: Slot) -> None:
        if wanted.retry_at is not None and self.now < wanted.retry_at:
            self.again.append(wanted.retry_at)
            failure = wanted.failure
            if failure is not None and failure.reason == "ErrImagePull":
                shown_until = failure.at + timedelta(seconds=self.policy.first_failure_shown_seconds)
                if self.now < shown_until:
                    self.again.append(shown_until)
            return
        self.slots[container["name"]] = replace(wanted, state=State.STARTING, retry_at=None)
        self.actions.append(Start(container, role, wanted.attempt, wanted.tries))

    def _wants_restart(self, slot: Slot, role: Role) -> bool:
        if role is Role.SIDECAR:
            return True
        if self.restart_policy == "Never":
            return False
        if role is Role.MAIN and self.restart_policy == "Always":
            return True
        return slot.probe_failed or slot.exit is None or slot.exit.exit_code != 0

    def _is_over(self, name: str, role: Role) -> bool:
        slot = self.slots[name]
        return slot.state is State.EXITED and not self._wants_restart(slot, role)

    def _init_failed(self) -> bool:
        return any(
            self._is_over(c["name"], role)
            and (ended := self.slots[c["name"]].exit) is not None
            and ended.exit_code != 0
            for c, role in self.roster
            if role is Role.INIT
        )

    # Coming to an end

    def stop_all(self) -> None:
        """Main and init containers first; sidecars, last one first, when those are gone."""
        assert self.ending is not None
        deadline = self.ending.since + timedelta(seconds=self.ending.grace_seconds)
        firsts = [c for c, role in self.roster if role is not Role.SIDECAR]
        for container in firsts:
            self._stop(container, self.ending.why, deadline)
        if any(self._is_alive(c["name"]) for c in firsts):
            return
        for container in reversed([c for c, role in self.roster if role is Role.SIDECAR]):
            if self._is_alive(container["name"]):
                self._stop(container, self.ending.why, deadline)
                return

    def _is_alive(self, name: str) -> bool:
        return self.slots[name].state in (State.STARTING, State.RUNNING)

    def _stop(self, container: Mapping[str, Any], why: Why, deadline: datetime) -> None:
        """One step of a stop; called at every look until the container has exited."""
        name = container["name"]
        slot = self.slots[name]
        if slot.state is not State.RUNNING:
            return
        stop = slot.stop
        if stop is None:
            stop = self._begin_stop(container, slot, Stop(why, deadline))
        elif deadline < stop.deadline:
            stop = replace(stop, deadline=max(deadline, stop.not_before or deadline))
        if stop.hook_running and ((name, slot.attempt) in self.observed.hooks_done or self.now >= stop.deadline):
            least = self.now + timedelta(seconds=self.policy.kill_extra_seconds)
            stop = replace(stop, hook_running=False, not_before=least, deadline=max(stop.deadline, least))
        if not stop.hook_running and not stop.terminated:
            stop = replace(stop, terminated=True)
            if self.now < stop.deadline:
                self.actions.append(Signal(name, slot.attempt, _stop_signal(container)))
        if stop.terminated and not stop.killed and self.now >= stop.deadline:
            stop = replace(stop, killed=True)
            self.actions.append(Signal(name, slot.attempt, signal.SIGKILL))
        if not stop.killed:
            self.again.append(stop.deadline)
        self.slots[name] = replace(slot, stop=stop, ready=False)

    def _begin_stop(self, container: Mapping[str, Any], slot: Slot, stop: Stop) -> Stop:
        name = container["name"]
        text = f"Stopping container {name}"
        if stop.why is Why.PROBE:
            kind = "liveness" if slot.started else "startup"
            text = f"Container {name} failed {kind} probe, will be restarted"
        self.actions.append(Record("Normal", "Killing", text))
        remaining = (stop.deadline - self.now).total_seconds()
        if remaining > 0 and (container.get("lifecycle") or {}).get("preStop"):
            self.actions.append(RunPreStop(container, slot.attempt, remaining))
            return replace(stop, hook_running=True)
        return stop

    # What follows from it

    def conclude(self) -> Decision:
        memory = self._next_memory()
        if memory.phase in podstatus.TERMINAL:
            self.again.clear()
            self.actions.append(Finish(delete=bool(self.pod["metadata"].get("deletionTimestamp"))))
        conditions = podstatus.conditions(self.pod, self.roster, memory, self.now)
        memory = replace(memory, conditions={c["type"]: (c["status"], c["_since"]) for c in conditions})
        status = podstatus.build(self.pod, self.roster, memory, self.observed, conditions, self.now, self.policy)
        return Decision(memory, tuple(self.actions), status, min(self.again, default=None))

    def _next_memory(self) -> PodMemory:
        memory = replace(self.memory, slots=self.slots, ending=self.ending)
        if memory.phase in podstatus.TERMINAL:
            return replace(self.memory, ending=self.ending)
        alive = any(self._is_alive(c["name"]) for c, _ in self.roster)
        mains = [self.slots[c["name"]] for c, role in self.roster if role is Role.MAIN]
        exits = [slot.exit for slot in mains if slot.state is State.EXITED and slot.exit is not None]
        all_zero = len(exits) == len(mains) and all(ended.exit_code == 0 for ended in exits)
        if self.ending is not None:
            if alive:
                return replace(memory, phase=podstatus.open_phase(self.roster, memory))
            if self.ending.why is Why.DEADLINE:
                text = "Pod was active on the node longer than the specified deadline"
                return replace(memory, phase="Failed", reason="DeadlineExceeded", message=text)
            return replace(memory, phase="Succeeded" if all_zero else "Failed")
        over = all(self._is_over(c["name"], role) for c, role in self.roster if role is Role.MAIN)
        if (over or self._init_failed()) and not alive:
            return replace(memory, phase="Succeeded" if over and all_zero else "Failed")
        return replace(memory, phase=podstatus.open_phase(self.roster, memory))


def _grace_seconds(pod: Pod) -> int:
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_SECONDS if grace is None else int(grace)


def _stop_signal(container: Mapping[str, Any]) -> int:
    name = (container.get("lifecycle") or {}).get("stopSignal") or "SIGTERM"
    number = getattr(signal, name, signal.SIGTERM)
    return int(number)
