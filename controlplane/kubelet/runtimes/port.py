"""Runtime: the port between the agent and whatever runs containers.

A container is known by (pod uid, container name); its attempts follow one another, at most one lives. The runtime reports
only the newest attempt. `changed` is called on the loop's thread whenever `instance(key)` would answer something new.
"""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
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
    stdin: bool = False  # its standard input stays open for those who attach
    stdin_once: bool = False  # ... and ends with the first of them
    tty: bool = False  # its streams are a terminal
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


class NotRunning(Exception):
    """The container does not run now, so nothing can be executed in it or attached to it."""


class RunningCommand(Protocol):
    """A program whose streams are in our hands: one executed inside a container, or a container that one is attached to."""

    async def read(self, stream: str) -> bytes:
        """Some output of "stdout" or "stderr" (a terminal has the first only); b"" at its end."""

    async def write(self, data: bytes) -> None:
        """Give it input; waits while it does not read. What it no longer reads is dropped."""

    def end_input(self) -> None:
        """No more input."""

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal, if it has one."""

    async def wait(self) -> int:
        """Its exit code, 128 + n for signal n."""

    async def close(self) -> None:
        """Let go: an executed command that still runs is killed, an attached container is left alone."""


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

    async def begin(self, key: ContainerKey, command: Sequence[str], *, stdin: bool, tty: bool) -> RunningCommand:
        """Start a command inside the running container. NotRunning; StartFailed when it cannot be executed."""

    def attach(self, key: ContainerKey, *, stdin: bool) -> RunningCommand:
        """The running container's own streams, from now on. NotRunning."""

    async def connect(self, pod_uid: str, address: str, port: int) -> tuple[StreamReader, StreamWriter]:
        """A connection to what the pod itself serves on a port. OSError when it serves nothing there."""

    def usage(self) -> Mapping[ContainerKey, Usage]:
        """What the running containers use, read once for all."""

    def logs(self, key: ContainerKey, options: LogOptions) -> AsyncIterator[bytes]:
        """Chunks of whole lines. NoLog when there is none (raised before the first chunk)."""

    async def remove(self, pod_uid: str) -> None:
        """Forget a pod whose containers have all ended, and what they left on disk."""

    async def close(self, grace_seconds: float) -> None:
        """Stop every container: SIGTERM, SIGKILL after the grace. Nothing runs when it returns."""
