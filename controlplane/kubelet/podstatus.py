"""A pod's status from its memory: phase, conditions, container statuses.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.kubelet.model import Exit, Observed, Pod, PodMemory, Policy, Role, Slot, State

TERMINAL = frozenset({"Succeeded", "Failed"})
OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")

Roster = Sequence[tuple[Mapping[str, Any], Role]]


def timestamp(moment: datetime) -> str:
    """Kubernetes' Time: RFC 3339 in whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> datetime | None:
    """The inverse of `timestamp`; takes MicroTime too. None for nothing or nonsense."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def parse_exit(terminated: Mapping[str, Any] | None, now: datetime) -> Exit | None:
    """An Exit from a ContainerStateTerminated."""
    if terminated is None:
        return None
    return Exit(
        exit_code=int(terminated.get("exitCode") or 0),
        reason=terminated.get("reason") or "Error",
        finished_at=parse_time(terminated.get("finishedAt")) or now,
        started_at=parse_time(terminated.get("startedAt")),
        message=terminated.get("message") or "",
        signal=int(terminated.get("signal") or 0),
        container_id=terminated.get("containerID") or "",
    )


def full_name(pod: Pod) -> str:
    """As the kubelet names a pod in messages: web-1_default(uid)."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta.get('namespace', 'default')}({meta.get('uid', '')})"


def open_phase(roster: Roster, memory: PodMemory) -> str:
    """Pending or Running, for a pod that has not ended; Running never goes back to Pending."""
    if memory.phase == "Running":
        return "Running"
    slots = memory.slots
    if not _initialized(roster, slots):
        return "Pending"
    mains = [slots[c["name"]] for c, role in roster if role is Role.MAIN]
    been_up = [s.state in (State.RUNNING, State.EXITED) or s.previous is not None for s in mains]
    return "Running" if all(been_up) else "Pending"


def _initialized(roster: Roster, slots: Mapping[str, Slot]) -> bool:
    for container, role in roster:
        slot = slots[container["name"]]
        if role is Role.INIT and not (
            slot.state is State.EXITED and slot.exit is not None and slot.exit.exit_code == 0
        ):
            return False
        if role is Role.SIDECAR and not (slot.started or slot.previous is not None or slot.state is State.EXITED):
            return False
    return True


def conditions(pod: Pod, roster: Roster, memory: PodMemory, now: datetime) -> list[dict[str, Any]]:
    """The kubelet's own conditions. Each carries `_since` (datetime) for the memory; `build` takes it out."""
    slots = memory.slots
    incomplete = [c["name"] for c, role in roster if role is not Role.MAIN and not _initialized([(c, role)], slots)]
    unready = [c["name"] for c, role in roster if role is not Role.INIT and not slots[c["name"]].ready]
    initialized = not incomplete or memory.phase == "Succeeded"
    ended = memory.phase in TERMINAL
    reason, message = "", ""
    if ended:
        reason = "PodCompleted" if memory.phase == "Succeeded" else "PodFailed"
    elif unready:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    containers_ready = not unready and not ended
    gates = _unready_gates(pod) if containers_ready else []
    gate_message = "corresponding condition of pod readiness gate " + ", ".join(f'"{g}"' for g in gates)
    ready = ("ReadinessGatesNotReady", gate_message + " does not exist or is not True") if gates else (reason, message)
    alive = any(slots[c["name"]].state is not State.NEW for c, _ in roster) and not ended
    not_initialized = f"containers with incomplete status: [{' '.join(incomplete)}]"
    wanted = (
        ("PodReadyToStartContainers", alive, "", ""),
        ("Initialized", initialized, *(("", "") if initialized else ("ContainersNotInitialized", not_initialized))),
        ("Ready", containers_ready and not gates, *ready),
        ("ContainersReady", containers_ready, reason, message),
        ("PodScheduled", True, "", ""),
    )
    return [_condition(pod, memory, now, *each) for each in wanted]


def _condition(
    pod: Pod, memory: PodMemory, now: datetime, kind: str, holds: bool, reason: str, message: str
) -> dict[str, Any]:
    text = "True" if holds else "False"
    before = memory.conditions.get(kind)
    since = before[1] if before is not None and before[0] == text else now
    made: dict[str, Any] = {
        "type": kind,
        "status": text,
        "lastTransitionTime": timestamp(since),
        "_since": since,
    }
    generation = pod["metadata"].get("generation")
    if generation is not None:
        made["observedGeneration"] = generation
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made


def _unready_gates(pod: Pod) -> list[str]:
    held = {c["type"] for c in (pod.get("status") or {}).get("conditions") or () if c.get("status") == "True"}
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    return [gate for gate in gates if gate not in held]


def build(
    pod: Pod,
    roster: Roster,
    memory: PodMemory,
    observed: Observed,
    own_conditions: Sequence[Mapping[str, Any]],
    now: datetime,
    policy: Policy,
) -> dict[str, Any]:
    """The PodStatus fields that belong to the kubelet, as they go into a patch of the status subresource."""
    initialized = _initialized(roster, memory.slots)
    entries: dict[Role, list[dict[str, Any]]] = {Role.INIT: [], Role.MAIN: []}
    for container, role in roster:
        kind = Role.MAIN if role is Role.MAIN else Role.INIT
        slot = memory.slots[container["name"]]
        entries[kind].append(_container_status(pod, container, role, slot, initialized, memory, now, policy))
    status: dict[str, Any] = {
        "phase": memory.phase,
        "startTime": timestamp(memory.start_time),
        "conditions": [{k: v for k, v in c.items() if k != "_since"} for c in own_conditions],
        "containerStatuses": entries[Role.MAIN],
    }
    if memory.phase in TERMINAL and all(slot == Slot() for slot in memory.slots.values()):
        del status["containerStatuses"]  # a pod that was refused never had any
    elif entries[Role.INIT]:
        status["initContainerStatuses"] = entries[Role.INIT]
    if pod["metadata"].get("generation") is not None:
        status["observedGeneration"] = pod["metadata"]["generation"]
    for key, value in (("reason", memory.reason), ("message", memory.message)):
        if value:
            status[key] = value
    if observed.host_ip:
        status["hostIP"] = observed.host_ip
        status["hostIPs"] = [{"ip": observed.host_ip}]
    if observed.pod_ip:
        status["podIP"] = observed.pod_ip
        status["podIPs"] = [{"ip": observed.pod_ip}]
    return status


def _container_status(
    pod: Pod,
    container: Mapping[str, Any],
    role: Role,
    slot: Slot,
    initialized: bool,
    memory: PodMemory,
    now: datetime,
    policy: Policy,
) -> dict[str, Any]:
    done = role is Role.INIT and slot.exit is not None and slot.state is State.EXITED and slot.exit.exit_code == 0
    state, last = _states(pod, container, role, slot, initialized, memory, now, policy)
    made: dict[str, Any] = {
        "name": container["name"],
        "state": state,
        "lastState": {"terminated": _terminated(last)} if last is not None else {},
        "ready": done or slot.ready,
        "started": slot.started,
        "restartCount": slot.attempt,
        "image": container.get("image", ""),
        "imageID": "",
    }
    identity = slot.container_id or (slot.previous.container_id if slot.previous is not None else "")
    if identity:
        made["containerID"] = identity
        made["imageID"] = container.get("image", "")
    return made


def _states(
    pod: Pod,
    container: Mapping[str, Any],
    role: Role,
    slot: Slot,
    initialized: bool,
    memory: PodMemory,
    now: datetime,
    policy: Policy,
) -> tuple[dict[str, Any], Exit | None]:
    """(state, lastState's exit)."""
    if slot.state is State.RUNNING:
        return {"running": {"startedAt": timestamp(slot.started_at or now)}}, slot.previous
    if slot.state is State.EXITED and slot.exit is not None:
        if _backs_off(pod, role, slot, memory, now):
            return _crash_loop(pod, container, slot, now), slot.exit
        return {"terminated": _terminated(slot.exit)}, slot.previous
    if memory.phase in TERMINAL:
        unknown = Exit(
            137, "ContainerStatusUnknown", now, None, "The container never ran before the pod was terminated"
        )
        return {"terminated": _terminated(unknown)}, slot.previous
    if slot.failure is not None and slot.state is State.NEW and slot.failure.reason != "ContainerCreating":
        return {"waiting": _failure_waiting(container, slot, now, policy)}, slot.previous
    initializing = role is not Role.MAIN or (not initialized and slot.state is State.NEW)
    return {"waiting": {"reason": "PodInitializing" if initializing else "ContainerCreating"}}, slot.previous


def _backs_off(pod: Pod, role: Role, slot: Slot, memory: PodMemory, now: datetime) -> bool:
    """A restart is due but must wait."""
    if memory.phase in TERMINAL or memory.ending is not None or slot.retry_at is None or now >= slot.retry_at:
        return False
    policy = pod["spec"].get("restartPolicy") or "Always"
    if role is Role.SIDECAR or (policy == "Always" and role is Role.MAIN):
        return True
    return policy != "Never" and (slot.probe_failed or (slot.exit is not None and slot.exit.exit_code != 0))


def _crash_loop(pod: Pod, container: Mapping[str, Any], slot: Slot, now: datetime) -> dict[str, Any]:
    assert slot.retry_at is not None and slot.exit is not None
    if slot.exit.reason == "StartError" and slot.attempt == 0:
        return {"waiting": {"reason": "RunContainerError", "message": slot.exit.message}}
    delay = _whole_seconds(slot.retry_at - slot.exit.finished_at)
    where = f"container={container['name']} pod={full_name(pod)}"
    message = f"back-off {delay} restarting failed {where}"
    return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}


def _whole_seconds(delay: timedelta) -> str:
    """As Go prints a duration: 40s, 2m40s."""
    minutes, seconds = divmod(round(delay.total_seconds()), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _failure_waiting(container: Mapping[str, Any], slot: Slot, now: datetime, policy: Policy) -> dict[str, Any]:
    assert slot.failure is not None
    reason, message = slot.failure.reason, slot.failure.message
    shown_until = slot.failure.at + timedelta(seconds=policy.first_failure_shown_seconds)
    if reason == "ErrImagePull" and now >= shown_until:
        return {
            "reason": "ImagePullBackOff",
            "message": f'Back-off pulling image "{container.get("image", "")}": ErrImagePull: {message}',
        }
    return {"reason": reason, "message": message}


def _terminated(ended: Exit) -> dict[str, Any]:
    made: dict[str, Any] = {
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "finishedAt": timestamp(ended.finished_at),
    }
    if ended.started_at is not None:
        made["startedAt"] = timestamp(ended.started_at)
    if ended.signal:
        made["signal"] = ended.signal
    if ended.message:
        made["message"] = ended.message
    if ended.container_id:
        made["containerID"] = ended.container_id
    return made
