"""Pods: the words of STATUS, restarts, readiness."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import (
    NONE,
    Column,
    Object,
    Printer,
    age,
    containers,
    labels,
    since,
    text,
    wide,
)
from controlplane.objects.meta import get_in

_ENDED: Final = ("Succeeded", "Failed")


def _reason(state: Object, prefix: str) -> str | None:
    """What a container that is not running says."""
    waiting, terminated = state.get("waiting") or {}, state.get("terminated")
    if waiting.get("reason"):
        return None if prefix and waiting["reason"] == "PodInitializing" else f"{prefix}{waiting['reason']}"
    if terminated is None:
        return None
    if terminated.get("reason"):
        return f"{prefix}{terminated['reason']}"
    if terminated.get("signal"):
        return f"{prefix}Signal:{terminated['signal']}"
    return f"{prefix}ExitCode:{terminated.get('exitCode', 0)}"


def _sidecars(pod: Object) -> set[str]:
    """Init containers that stay: they count as containers."""
    found = get_in(pod, "spec", "initContainers", default=())
    return {container.get("name", "") for container in found if container.get("restartPolicy") == "Always"}


class _Summary:
    """What the containers of a pod add up to."""

    def __init__(self, pod: Object) -> None:
        self.sidecars = _sidecars(pod)
        self.total = len(get_in(pod, "spec", "containers", default=())) + len(self.sidecars)
        self.ready = 0
        self.restarts = 0
        self.last_restart = ""
        self.words = text(pod, "status", "reason", absent=text(pod, "status", "phase", absent=""))
        conditions: list[Object] = get_in(pod, "status", "conditions", default=[])
        self.conditions = {condition.get("type"): condition for condition in conditions}
        if self.conditions.get("PodScheduled", {}).get("reason") == "SchedulingGated":
            self.words = "SchedulingGated"
        initializing = self._init(pod)
        if not initializing or self._is_true("Initialized"):
            self._run(pod)
        self._going(pod)

    def _is_true(self, condition: str) -> bool:
        return bool(self.conditions.get(condition, {}).get("status") == "True")

    def _count(self, status: Object) -> None:
        self.restarts += status.get("restartCount", 0)
        finished = get_in(status, "lastState", "terminated", "finishedAt", default="")
        self.last_restart = max(self.last_restart, finished)

    def _init(self, pod: Object) -> bool:
        """Whether an init container is still at work; its words are the pod's then."""
        statuses: list[Object] = get_in(pod, "status", "initContainerStatuses", default=[])
        total = len(get_in(pod, "spec", "initContainers", default=()))
        for position, status in enumerate(statuses):
            self._count(status)
            state = status.get("state") or {}
            terminated = state.get("terminated")
            sidecar = status.get("name") in self.sidecars
            if terminated is not None and terminated.get("exitCode", 0) == 0:
                continue
            if sidecar and status.get("started"):
                self.ready += 1 if status.get("ready") else 0
                continue
            self.words = _reason(state, "Init:") or f"Init:{position}/{total}"
            return True
        return False

    def _run(self, pod: Object) -> None:
        statuses: list[Object] = get_in(pod, "status", "containerStatuses", default=[])
        inits: list[Object] = get_in(pod, "status", "initContainerStatuses", default=[])
        self.restarts, self.last_restart = 0, ""
        for status in inits:
            if status.get("name") in self.sidecars:
                self._count(status)
        running = False
        for status in reversed(statuses):
            self._count(status)
            state = status.get("state") or {}
            words = _reason(state, "")
            if words:
                self.words = words
            elif status.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.words == "Completed" and running:
            self.words = "Running" if self._is_true("Ready") else "NotReady"

    def _going(self, pod: Object) -> None:
        if get_in(pod, "metadata", "deletionTimestamp") is None:
            return
        if get_in(pod, "status", "reason") == "NodeLost":
            self.words = "Unknown"
        elif get_in(pod, "status", "phase") not in _ENDED:
            self.words = "Terminating"


def _gates(pod: Object, conditions: dict[Any, Object]) -> str:
    gates = get_in(pod, "spec", "readinessGates", default=())
    if not gates:
        return NONE
    true = sum(conditions.get(gate.get("conditionType"), {}).get("status") == "True" for gate in gates)
    return f"{true}/{len(gates)}"


def _cells(pod: Object, now: datetime) -> list[Any]:
    summary = _Summary(pod)
    restarts = str(summary.restarts)
    if summary.restarts and summary.last_restart:
        restarts += f" ({since(summary.last_restart, now)} ago)"
    return [
        f"{summary.ready}/{summary.total}",
        summary.words,
        restarts,
        age(pod, now),
        text(pod, "status", "podIP"),
        text(pod, "spec", "nodeName"),
        text(pod, "status", "nominatedNodeName"),
        _gates(pod, summary.conditions),
    ]


_COMPLETED: Final = {
    "Succeeded": {
        "type": "Completed",
        "status": "True",
        "reason": "Succeeded",
        "message": "The pod has completed successfully.",
    },
    "Failed": {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."},
}


def _conditions(pod: Object) -> list[Object]:
    found = _COMPLETED.get(get_in(pod, "status", "phase", default=""))
    return [dict(found)] if found else []


def _template(obj: Object, now: datetime) -> list[Any]:
    template = obj.get("template") or {}
    return [*containers(template), labels(get_in(template, "metadata", "labels"))]


PRINTERS: Final = {
    ("", "pods"): Printer(
        (
            *(Column(name) for name in ("Ready", "Status", "Restarts", "Age")),
            *wide("IP", "Node", "Nominated Node", "Readiness Gates"),
        ),
        _cells,
        conditions=_conditions,
    ),
    ("", "podtemplates"): Printer((Column("Containers"), Column("Images"), Column("Pod Labels")), _template),
}
