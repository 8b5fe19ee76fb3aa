"""Where a pod's memory comes from: nothing, the status that an earlier run of the node told, or a refusal.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from controlplane.kubelet import podstatus
from controlplane.kubelet.model import Exit, Pod, PodMemory, Slot, State, containers_of

LOST_EXIT_CODE = 137
LOST_MESSAGE = "The node agent was restarted; the container did not outlive it"


def begin(pod: Pod, now: datetime) -> PodMemory:
    """The memory of a pod that this node sees for the first time. Conditions that stand already (scheduled) keep their time."""
    slots = {c["name"]: Slot() for c, _ in containers_of(pod)}
    return PodMemory(slots=slots, start_time=now, conditions=_told_conditions(pod, now))


def _told_conditions(pod: Pod, now: datetime) -> dict[str, tuple[str, datetime]]:
    return {
        c["type"]: (c["status"], podstatus.parse_time(c.get("lastTransitionTime")) or now)
        for c in (pod.get("status") or {}).get("conditions") or ()
    }


def restore(pod: Pod, now: datetime) -> PodMemory:
    """The memory of a pod that an earlier run of this node had: read back from the status it left in the API.

    What ran then runs no more (containers die with their node): it counts as exited with 137, so that the restart
    policy decides, and a restart counts as one.
    """
    status = pod.get("status") or {}
    started = podstatus.parse_time(status.get("startTime"))
    if started is None:
        return begin(pod, now)
    told = {
        entry["name"]: entry
        for key in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(key) or ()
    }
    slots = {c["name"]: _restored_slot(told.get(c["name"], {}), now) for c, _ in containers_of(pod)}
    terminal = status.get("phase") in podstatus.TERMINAL
    return PodMemory(
        slots=slots,
        start_time=started,
        phase=status.get("phase") or "Pending",
        reason=status.get("reason", "") if terminal else "",
        message=status.get("message", "") if terminal else "",
        conditions=_told_conditions(pod, now),
    )


def _restored_slot(entry: Mapping[str, Any], now: datetime) -> Slot:
    attempt = int(entry.get("restartCount") or 0)
    state = entry.get("state") or {}
    previous = podstatus.parse_exit((entry.get("lastState") or {}).get("terminated"), now)
    ended = podstatus.parse_exit(state.get("terminated"), now)
    if "running" in state:
        began = podstatus.parse_time(state["running"].get("startedAt"))
        ended = Exit(
            LOST_EXIT_CODE,
            "ContainerStatusUnknown",
            now,
            began,
            LOST_MESSAGE,
            container_id=entry.get("containerID", ""),
        )
    elif ended is None and previous is not None:
        return Slot(State.EXITED, attempt, exit=previous, previous=None, retry_at=now)
    if ended is None:
        return Slot(State.NEW, attempt)
    return Slot(State.EXITED, attempt, exit=ended, previous=previous, retry_at=now, container_id=ended.container_id)


def reject(pod: Pod, reason: str, message: str, now: datetime) -> tuple[PodMemory, Mapping[str, Any]]:
    """The memory and status of a pod that this node will not run (OutOfcpu and the like): it has failed for good."""
    memory = replace(begin(pod, now), phase="Failed", reason=reason, message=message)
    return memory, {"phase": "Failed", "reason": reason, "message": message, "startTime": podstatus.timestamp(now)}
