"""Runtime: the port between the agent and whatever runs containers.

A container is known by (pod uid, container name); its attempts follow one another, at most one lives. The runtime reports
only the newest attempt. `changed` is called on the loop's thread whenever `instance(key)` would answer something new.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controlplane.kubelet.model import Instance


@dataclass(frozen=True, slots=True)
class ContainerKey:
    """One container of one pod, whatever its attempt."""

    pod_uid: str
    name: str


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` (absolute path on the host, file or directory) is to be seen at `target` (absolute path in the container)."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Everything a runtime must know to start one attempt; all references are resolved already."""

    key: ContainerKey
    attempt: int
    namespace: str
    pod_name: str
    image: str
    command: tuple[str, ...]  # argv, never empty
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""  # "" lets the runtime choose
    mounts: tuple[Mount, ...] = ()
    hostname: str = ""
    user_id: int | None = None
    group_id: int | None = None
    memory_limit_bytes: int = 0  # 0: no limit
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command inside a container ended. `output` is stdout and stderr as they came, cut at a limit."""

    exit_code: int
    output: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container has used: CPU since the attempt began (seconds), memory now (bytes)."""

    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Kubernetes' PodLogOptions; `since` is "" or a time as the log has it (UTC, nanoseconds), so that text compares as time."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: str = ""


class StartFailed(Exception):
    """A start that made no container: `reason` is a waiting reason of Kubernetes (ErrImagePull, RunContainerError, ...)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class NoLog(Exception):
    """There is no such log: the container has not run yet, or there was no previous attempt."""


class Runtime(Protocol):
    """The port. Every implementation passes tests/controlplane/kubelet/runtime_contract.py."""

    name: str  # containerRuntimeVersion is "<name>://<version>"
    version: str
    runs_programs: bool  # False: commands, images, volumes, environment and probes mean nothing to it

    async def open(self) -> None:
        """Make ready: find out what the kernel allows, remove what an earlier run left."""

    async def start(self, request: StartRequest, changed: Callable[[], None]) -> Instance:
        """Start an attempt. A program that cannot be executed is an instance that exited (128, StartError)."""

    def instance(self, key: ContainerKey) -> Instance | None:
        """The newest attempt, running or exited. None when there was none or it was removed."""

    def send_signal(self, key: ContainerKey, number: int) -> None:
        """Signal the container; SIGKILL reaches all of its processes. Nothing happens when it has ended."""

    async def execute(self, key: ContainerKey, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """Run a command inside the running container. TimeoutError when it took too long (it is killed)."""

    def usage(self) -> Mapping[ContainerKey, Usage]:
        """What the running containers use, read once for all."""

    def logs(self, key: ContainerKey, options: LogOptions) -> AsyncIterator[bytes]:
        """Chunks of whole lines. NoLog when there is none (raised before the first chunk)."""

    async def remove(self, pod_uid: str) -> None:
        """Forget a pod whose containers have all ended, and what they left on disk."""

    async def close(self, grace_seconds: float) -> None:
        """Stop every container: SIGTERM, SIGKILL after the grace. Nothing runs when it returns."""
