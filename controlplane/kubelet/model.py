"""The vocabulary of the pod's lifecycle: what is observed, what is remembered, what is to be done.  Frozen values only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

Pod = Mapping[str, Any]


class Role(Enum):
    """What a container is for its pod."""

    INIT = "init"  # runs to its end before the next one starts
    SIDECAR = "sidecar"  # an init container with restartPolicy Always: runs beside the pod, never holds up its end
    MAIN = "main"


class State(Enum):
    """Where a container's current attempt stands."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"


class Why(Enum):
    """Why a container is being stopped."""

    PROBE = "probe"
    DELETION = "deletion"
    DEADLINE = "deadline"
    COMPLETED = "completed"  # a sidecar whose pod is done


@dataclass(frozen=True, slots=True)
class Exit:
    """How an attempt ended. `signal` is 0 when the process ended by itself; then `exit_code` is its own, else 128 + signal."""

    exit_code: int
    reason: str
    finished_at: datetime
    started_at: datetime | None = None
    message: str = ""
    signal: int = 0
    container_id: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """What the runtime reports about the newest attempt of one container."""

    name: str
    attempt: int
    container_id: str
    started_at: datetime
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class StartFailure:
    """A start that never became a process: `reason` is Kubernetes' waiting reason. `tries` tells which start it answers."""

    name: str
    attempt: int
    tries: int
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the probes of one attempt have found. `failure` is set when liveness or startup gave up, and says why."""

    attempt: int
    started: bool
    ready: bool
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything outside the pod's own object that a decision may look at."""

    instances: Mapping[str, Instance] = field(default_factory=dict)
    failures: Mapping[str, StartFailure] = field(default_factory=dict)
    probes: Mapping[str, ProbeReport] = field(default_factory=dict)
    hooks_done: frozenset[tuple[str, int]] = frozenset()  # (container, attempt) whose preStop hook has ended
    pod_ip: str = ""
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """Timing, in seconds, that a node may set."""

    backoff_base_seconds: float = 10.0
    backoff_limit_seconds: float = 300.0
    backoff_reset_seconds: float = 600.0  # an attempt that ran this long is forgiven
    first_failure_shown_seconds: float = 0.5  # ErrImagePull is shown this long before ImagePullBackOff
    config_retry_seconds: float = 5.0  # a missing ConfigMap or Secret, a volume that cannot be made
    kill_extra_seconds: float = 2.0  # what a container still gets when its preStop hook ate the whole grace


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop under way: hook, then SIGTERM, then SIGKILL at the deadline."""

    why: Why
    deadline: datetime
    hook_running: bool = False
    not_before: datetime | None = None  # the least that a container gets after its hook, whatever the grace
    terminated: bool = False
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """What is remembered of one container. `attempt` is Kubernetes' restartCount."""

    state: State = State.NEW
    attempt: int = 0
    tries: int = 0
    container_id: str = ""
    started_at: datetime | None = None
    exit: Exit | None = None
    previous: Exit | None = None
    failure: StartFailure | None = None
    delay_seconds: float = 0.0
    retry_at: datetime | None = None
    stop: Stop | None = None
    probe_failed: bool = False
    started: bool = False
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """The pod as a whole comes to its end."""

    why: Why
    since: datetime
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class PodMemory:
    """What one pod's worker keeps between decisions; `restore` rebuilds it from the API's status after a restart."""

    slots: Mapping[str, Slot]
    start_time: datetime
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)  # type -> (status, since)
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Start this attempt of a container."""

    container: Mapping[str, Any]
    role: Role
    attempt: int
    tries: int


@dataclass(frozen=True, slots=True)
class RunPreStop:
    """Run the container's preStop hook, for at most `limit_seconds`; then report it in `hooks_done`."""

    container: Mapping[str, Any]
    attempt: int
    limit_seconds: float


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the container's processes."""

    name: str
    attempt: int
    number: int


@dataclass(frozen=True, slots=True)
class Record:
    """Tell the user: a core/v1 Event on the pod."""

    type: str  # Normal | Warning
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing of the pod runs any more and its status is final: free what it held; delete the object if it is asked to go."""

    delete: bool


Action = Start | RunPreStop | Signal | Record | Finish


@dataclass(frozen=True, slots=True)
class Decision:
    """What one look at a pod leads to. `again_at`: look again then, if nothing happens before."""

    memory: PodMemory
    actions: tuple[Action, ...]
    status: Mapping[str, Any]
    again_at: datetime | None


def containers_of(pod: Pod) -> Iterator[tuple[Mapping[str, Any], Role]]:
    """The pod's containers in the order in which they start, with their roles."""
    spec = pod["spec"]
    for container in spec.get("initContainers") or ():
        yield container, Role.SIDECAR if container.get("restartPolicy") == "Always" else Role.INIT
    for container in spec.get("containers") or ():
        yield container, Role.MAIN
