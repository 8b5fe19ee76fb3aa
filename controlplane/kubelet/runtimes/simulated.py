"""Containers without processes: they 'run' for as long as an annotation says. One process holds thousands of nodes.

    simulated.pilothouse.io/run-seconds: "5"      how long each container runs; without it: until it is stopped
    simulated.pilothouse.io/exit-code: "1"        how it then ends (0 without it)
    simulated.pilothouse.io/stop-seconds: "0.5"   how long it takes to end after SIGTERM (at once without it)
    simulated.pilothouse.io/cpu: "250m"           CPU it is said to use       simulated.pilothouse.io/memory: "64Mi"

On a pod, or on one container of it with the container's name behind a dot: simulated.pilothouse.io/exit-code.web
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controlplane.kubelet.model import Exit, Instance
from controlplane.kubelet.runtimes.port import (
    ContainerKey,
    ExecResult,
    LogOptions,
    NoLog,
    NotRunning,
    RunningCommand,
    StartFailed,
    StartRequest,
    Usage,
)
from controlplane.machinery.clock import Clock
from controlplane.objects.quantity import QuantityError, parse

PREFIX = "simulated.pilothouse.io/"


@dataclass(slots=True)
class _Simulated:
    request: StartRequest
    instance: Instance
    changed: Callable[[], None]
    began: float
    timer: asyncio.TimerHandle | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class _Silent:
    """RunningCommand without a program: an exec ends at once, an attachment with its container."""

    def __init__(self, container: _Simulated, *, ends: bool) -> None:
        self._container = container
        self._ends = ends

    async def read(self, stream: str) -> bytes:
        await self.wait()
        return b""

    async def write(self, data: bytes) -> None:
        return

    def end_input(self) -> None:
        return

    def resize(self, columns: int, rows: int) -> None:
        return

    async def wait(self) -> int:
        if not self._ends:
            await self._container.ended.wait()
        return 0

    async def close(self) -> None:
        return


class SimulatedRuntime:
    """The Runtime port over timers."""

    name = "simulated"
    version = "0.1.0"
    runs_programs = False

    def __init__(self, node: str, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._containers: dict[ContainerKey, _Simulated] = {}

    async def open(self) -> None:
        """Nothing to prepare."""

    async def start(self, request: StartRequest, changed: Callable[[], None]) -> Instance:
        """See Runtime.start."""
        before = self._containers.get(request.key)
        if before is not None and before.instance.exit is None:
            raise StartFailed("RunContainerError", f"attempt {before.instance.attempt} still runs")
        identity = f"simulated://{self._node}-{request.key.pod_uid}-{request.key.name}-{request.attempt}"
        instance = Instance(request.key.name, request.attempt, identity, self._clock.now())
        container = _Simulated(request, instance, changed, self._clock.monotonic())
        self._containers[request.key] = container
        seconds = _number(request, "run-seconds", -1.0)
        if seconds >= 0:
            code = int(_number(request, "exit-code", 0.0))
            container.timer = asyncio.get_running_loop().call_later(seconds, self._end, container, code, 0)
        return instance

    def _end(self, container: _Simulated, code: int, number: int) -> None:
        if container.instance.exit is not None:
            return
        if container.timer is not None:
            container.timer.cancel()
        ended = Exit(
            exit_code=code,
            reason="Completed" if code == 0 else "Error",
            finished_at=self._clock.now(),
            started_at=container.instance.started_at,
            signal=number,
            container_id=container.instance.container_id,
        )
        container.instance = replace(container.instance, exit=ended)
        container.ended.set()
        container.changed()

    def instance(self, key: ContainerKey) -> Instance | None:
        """See Runtime.instance."""
        container = self._containers.get(key)
        return container.instance if container is not None else None

    def send_signal(self, key: ContainerKey, number: int) -> None:
        """SIGKILL ends it with 137; anything else ends it with 128 + signal after `stop-seconds`."""
        container = self._containers.get(key)
        if container is None or container.instance.exit is not None:
            return
        seconds = _number(container.request, "stop-seconds", 0.0)
        if number == signal.SIGKILL or seconds <= 0:
            self._end(container, 128 + number, number)
            return
        if container.timer is not None:
            container.timer.cancel()
        loop = asyncio.get_running_loop()
        container.timer = loop.call_later(seconds, self._end, container, 128 + number, number)

    async def execute(self, key: ContainerKey, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """Every command succeeds and says nothing."""
        container = self._containers.get(key)
        if container is None or container.instance.exit is not None:
            raise StartFailed("NotRunning", f"container {key.name} does not run")
        return ExecResult(0, b"")

    async def begin(self, key: ContainerKey, command: Sequence[str], *, stdin: bool, tty: bool) -> RunningCommand:
        """Every command succeeds and says nothing."""
        return _Silent(self._running(key), ends=True)

    def attach(self, key: ContainerKey, *, stdin: bool) -> RunningCommand:
        """A container that says nothing, until it ends."""
        return _Silent(self._running(key), ends=False)

    def _running(self, key: ContainerKey) -> _Simulated:
        container = self._containers.get(key)
        if container is None or container.instance.exit is not None:
            raise NotRunning(f'container "{key.name}" is not running')
        return container

    async def connect(self, pod_uid: str, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Nothing serves."""
        raise ConnectionRefusedError("connection refused: a simulated pod serves nothing")

    def usage(self) -> Mapping[ContainerKey, Usage]:
        """What the annotations say."""
        now = self._clock.monotonic()
        found = {}
        for key, container in self._containers.items():
            if container.instance.exit is None:
                cores = _quantity(container.request, "cpu")
                found[key] = Usage(cores * (now - container.began), int(_quantity(container.request, "memory")))
        return found

    def logs(self, key: ContainerKey, options: LogOptions) -> AsyncIterator[bytes]:
        """One line that says what this is."""
        container = self._containers.get(key)
        if container is None or (options.previous and container.instance.attempt == 0):
            raise NoLog(f'container "{key.name}" has no log')
        return _one_line(b"simulated container: it writes no log\n")

    async def remove(self, pod_uid: str) -> None:
        """See Runtime.remove."""
        for key in [key for key in self._containers if key.pod_uid == pod_uid]:
            container = self._containers.pop(key)
            if container.timer is not None:
                container.timer.cancel()

    async def close(self, grace_seconds: float) -> None:
        """See Runtime.close."""
        for container in self._containers.values():
            self._end(container, 128 + signal.SIGTERM, signal.SIGTERM)


async def _one_line(line: bytes) -> AsyncIterator[bytes]:
    yield line


def _annotation(request: StartRequest, name: str) -> str:
    own = request.annotations.get(f"{PREFIX}{name}.{request.key.name}")
    return own if own is not None else request.annotations.get(PREFIX + name, "")


def _number(request: StartRequest, name: str, default: float) -> float:
    try:
        return float(_annotation(request, name) or default)
    except ValueError:
        return default


def _quantity(request: StartRequest, name: str) -> float:
    try:
        return parse(_annotation(request, name) or "0").nanos / 1e9
    except QuantityError:
        return 0.0
