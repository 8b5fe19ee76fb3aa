"""A container is a process: in its own session and working directory, with its volumes where its manifest says.

sandbox.py turns a freshly started interpreter into the program; here are the life of that process (pidfd, pipes, signals),
its log and what it uses. A container dies with its node: the kernel kills it when the agent dies (PR_SET_PDEATHSIG), and every
process carries markers in its environment by which `sweep` finds what was left.

    isolation   "root" or "user": volumes are really at their mountPath, in a mount namespace of the container's own
                "none": they are below the working directory, which PILOTHOUSE_CONTAINER_ROOT names
It is no security boundary: a container sees the host's files and processes with the rights of the agent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from controlplane.kubelet.model import Exit, Instance
from controlplane.kubelet.runtimes import listeners, proc
from controlplane.kubelet.runtimes.attachment import Attachment
from controlplane.kubelet.runtimes.container import Container, finished_reason
from controlplane.kubelet.runtimes.helper import Helper, collect, reaped, started
from controlplane.kubelet.runtimes.interactive import begin, wire
from controlplane.kubelet.runtimes.logs import LogWriter, read_log, rotated
from controlplane.kubelet.runtimes.port import (
    ContainerKey,
    ExecResult,
    LogOptions,
    Mount,
    NoLog,
    NotRunning,
    RunningCommand,
    StartFailed,
    StartRequest,
    Usage,
)
from controlplane.machinery.clock import Clock

log = logging.getLogger(__name__)

DRAIN_SECONDS = 1.0
MEMORY_CHECK_SECONDS = 1.0
LEFTOVERS_DELAY_SECONDS = 0.005
EXEC_OUTPUT_BYTES = 16 * 1024
START_ERROR_EXIT_CODE = 128


def sweep(node: str, root: Path) -> int:
    """Kill what containers of this node (of this root directory) are still there; how many there were."""
    return proc.kill_all(proc.marked(f"PILOTHOUSE_NODE={node}", f"PILOTHOUSE_NODE_ROOT={root}"))


class ProcessRuntime:
    """The Runtime port over processes. `root`: a directory of this node alone. `path`: PATH where a container sets none."""

    name = "process"
    version = "0.1.0"
    runs_programs = True

    def __init__(self, node: str, root: Path, clock: Clock, path: str = os.defpath, cluster: str = "") -> None:
        self.isolation = "none"
        self.isolation_trouble = ""
        self._node = node
        self._root = root.absolute()
        self._clock = clock
        self._path = path
        self._cluster = cluster
        self._containers: dict[ContainerKey, Container] = {}
        self._exited: list[tuple[Container, int]] = []
        self._memory_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._helper = Helper(self._root)

    async def open(self) -> None:
        """Sweep, compile the helper, and find the strongest isolation that works here."""
        self._helper.prepare()
        left = sweep(self._node, self._root)
        if left:
            log.info("killed %d processes that an earlier run of node %s left", left, self._node)
        for isolation in ("root", "user"):
            trouble = await self._try(isolation)
            if not trouble:
                self.isolation, self.isolation_trouble = isolation, ""
                return
            self.isolation_trouble = trouble

    async def _try(self, isolation: str) -> str:
        """Whether a mount namespace can be had: "" or the reason why not."""
        mounts = [(str(self._helper.empty), "/pilothouse-isolation-test/volume", True)]
        spec = self._helper.spec(["/bin/true"], {}, "/", mounts=mounts, hostname="test", isolation=isolation)
        process, errors = self._helper.spawn(spec, subprocess.DEVNULL, subprocess.DEVNULL)
        try:
            trouble = await started(errors)
            await reaped(process)
        except asyncio.CancelledError:  # told to stop meanwhile
            process.kill()
            process.wait()
            raise
        return trouble

    # Start

    async def start(self, request: StartRequest, changed: Callable[[], None]) -> Instance:
        """See Runtime.start."""
        before = self._containers.get(request.key)
        if before is not None and before.instance.exit is None:
            raise StartFailed("RunContainerError", f"attempt {before.instance.attempt} still runs")
        directory = self._directory(request.key)
        work = directory / "work"
        self._keep_one_previous_log(request)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        if request.user_id is not None and os.geteuid() == 0:
            os.chown(work, request.user_id, -1 if request.group_id is None else request.group_id)
        identity = f"{self._node}-{request.key.pod_uid}-{request.key.name}-{request.attempt}"
        environment = self._environment(request, identity, work)
        spec = self._container_spec(request, environment, work)
        writer = LogWriter(self._log_path(request.key, request.attempt), self._now_text)
        try:
            wiring = wire(stdin=request.stdin, tty=request.tty)
        except OSError as error:
            writer.close()
            raise StartFailed("RunContainerError", str(error)) from error
        try:
            process, errors = self._helper.spawn(spec, wiring.stdout, wiring.stderr, wiring.stdin)
        except OSError as error:
            wiring.close_ours()
            writer.close()
            raise StartFailed("RunContainerError", str(error)) from error
        finally:
            wiring.close_theirs()
        instance = Instance(request.key.name, request.attempt, f"process://{identity}", self._clock.now())
        container = Container(request, instance, process, writer, changed, self._on_exit)
        self._containers[request.key] = container
        container.open(wiring.outputs, wiring.input)
        trouble = await started(errors)
        if trouble:
            container.start_error = f"failed to start container: {trouble}"
            container.kill(signal.SIGKILL)
            await container.ended.wait()
        elif request.memory_limit_bytes:
            self._watch_memory()
        return container.instance

    def _container_spec(self, request: StartRequest, environment: Mapping[str, str], work: Path) -> dict[str, object]:
        mounts = [(m.source, m.target, m.read_only) for m in request.mounts]
        directory = request.working_directory or str(work)
        if self.isolation == "none":
            link_mounts(work, request.mounts)
            inside = work / directory.lstrip("/")
            directory = str(inside) if inside.is_dir() else directory
        made = self._helper.spec(request.command, environment, directory, mounts, request.hostname, self.isolation)
        made["terminal"] = request.tty
        made["user"], made["group"] = request.user_id, request.group_id
        return made

    def _environment(self, request: StartRequest, identity: str, work: Path) -> dict[str, str]:
        environment = {"PATH": self._path, "HOME": str(work), "LANG": "C.UTF-8", "HOSTNAME": request.hostname}
        environment.update(request.environment)
        environment["PILOTHOUSE_NODE"] = self._node
        environment["PILOTHOUSE_NODE_ROOT"] = str(self._root)
        environment["PILOTHOUSE_POD_UID"] = request.key.pod_uid
        if self._cluster:
            environment["PILOTHOUSE_CLUSTER"] = self._cluster
        environment["PILOTHOUSE_CONTAINER_ID"] = identity
        if self.isolation == "none":
            environment["PILOTHOUSE_CONTAINER_ROOT"] = str(work)
        return environment

    def _now_text(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f000Z")

    # End

    def _on_exit(self, container: Container, status: int) -> None:
        """The container's first process has ended (`status` as Popen gives it): what it left ends with it."""
        loop = asyncio.get_running_loop()
        if not self._exited:
            loop.call_later(LEFTOVERS_DELAY_SECONDS, self._end_leftovers)
        self._exited.append((container, status))

    def _end_leftovers(self) -> None:
        """For all that ended a moment ago at once, because it costs a pass over /proc."""
        exited, self._exited = self._exited, []
        left = proc.kill_all(proc.leftovers({c.process.pid: c.identity for c, _ in exited}))
        if left:
            log.debug("%d containers left %d processes", len(exited), left)
        for container, status in exited:
            task = asyncio.get_running_loop().create_task(self._finish(container, status))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _finish(self, container: Container, status: int) -> None:
        await container.drain(DRAIN_SECONDS)
        code = status if status >= 0 else 128 - status
        reason, message = finished_reason(code, container)
        ended = Exit(
            exit_code=START_ERROR_EXIT_CODE if container.start_error else code,
            reason=reason,
            finished_at=self._clock.now(),
            started_at=container.instance.started_at,
            message=message,
            signal=0 if container.start_error or status >= 0 else -status,
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
        """See Runtime.send_signal."""
        container = self._containers.get(key)
        if container is not None:
            container.kill(number)

    async def remove(self, pod_uid: str) -> None:
        """See Runtime.remove."""
        for key in [key for key in self._containers if key.pod_uid == pod_uid]:
            container = self._containers[key]
            container.kill(signal.SIGKILL)
            await container.ended.wait()
            del self._containers[key]
        shutil.rmtree(self._root / "pods" / pod_uid / "containers", ignore_errors=True)

    async def close(self, grace_seconds: float) -> None:
        """See Runtime.close."""
        if self._memory_timer is not None:
            self._memory_timer.cancel()
        alive = [c for c in self._containers.values() if not c.ended.is_set()]
        for container in alive:
            container.kill(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_seconds):
                for container in alive:
                    await container.ended.wait()
        except TimeoutError:
            for container in alive:
                container.kill(signal.SIGKILL)
        for container in alive:
            await container.ended.wait()
        await asyncio.gather(*self._tasks)

    # Inside

    async def execute(self, key: ContainerKey, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """See Runtime.execute."""
        try:
            spec = self._exec_spec(self._running(key), command)
        except NotRunning as error:
            raise StartFailed("NotRunning", str(error)) from error
        output, output_end = os.pipe()
        try:
            process, errors = self._helper.spawn(spec, output_end, output_end)
        except OSError:
            os.close(output)
            raise
        finally:
            os.close(output_end)
        collected = asyncio.ensure_future(collect(output, EXEC_OUTPUT_BYTES))
        try:
            async with asyncio.timeout(timeout_seconds):
                trouble = await started(errors)
                status = await reaped(process)
        except (TimeoutError, asyncio.CancelledError):
            proc.kill_all(entry.pid for entry in proc.family(process.pid))
            await asyncio.shield(reaped(process))
            raise
        finally:
            await asyncio.wait([collected], timeout=DRAIN_SECONDS if process.returncode is not None else 0)
            collected.cancel()
        text = await collected if collected.done() and not collected.cancelled() else b""
        if trouble:
            return ExecResult(126, trouble.encode())
        return ExecResult(status if status >= 0 else 128 - status, text)

    def _running(self, key: ContainerKey) -> Container:
        container = self._containers.get(key)
        if container is None or container.instance.exit is not None:
            raise NotRunning(f'container "{key.name}" is not running')
        return container

    def _exec_spec(self, container: Container, command: Sequence[str]) -> dict[str, object]:
        """A program beside the container's own: same environment, directory and namespaces."""
        request = container.request
        work = self._directory(request.key) / "work"
        environment = self._environment(request, container.identity, work)
        directory = request.working_directory or str(work)
        joined = container.process.pid if self.isolation != "none" else 0
        return self._helper.spec(command, environment, directory, join=joined)

    async def begin(self, key: ContainerKey, command: Sequence[str], *, stdin: bool, tty: bool) -> RunningCommand:
        """See Runtime.begin. As the container's user."""
        container = self._running(key)
        spec = self._exec_spec(container, command)
        spec["user"], spec["group"] = container.request.user_id, container.request.group_id
        if tty:
            environment = cast(dict[str, str], spec["env"])
            environment.setdefault("TERM", "xterm")
        return await begin(self._helper, spec, stdin=stdin, tty=tty)

    def attach(self, key: ContainerKey, *, stdin: bool) -> RunningCommand:
        """See Runtime.attach."""
        return Attachment(self._running(key), stdin=stdin)

    async def connect(self, pod_uid: str, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See Runtime.connect; listeners.py says which sockets are the pod's."""
        alive = [
            c.process.pid for key, c in self._containers.items() if key.pod_uid == pod_uid and c.instance.exit is None
        ]
        pids = [entry.pid for entries in proc.members(alive).values() for entry in entries]
        return await asyncio.open_connection(listeners.find(address, port, pids), port)

    def usage(self) -> Mapping[ContainerKey, Usage]:
        """See Runtime.usage."""
        alive = {c.process.pid: c for c in self._containers.values() if c.instance.exit is None}
        found = {}
        for leader, entries in proc.members(alive).items():
            container = alive[leader]
            container.cpu_seconds = max(container.cpu_seconds, sum(e.cpu_seconds for e in entries))
            memory = sum(e.memory_bytes for e in entries)
            found[container.request.key] = Usage(container.cpu_seconds, memory)
        return found

    def _watch_memory(self) -> None:
        if self._memory_timer is None:
            loop = asyncio.get_running_loop()
            self._memory_timer = loop.call_later(MEMORY_CHECK_SECONDS, self._check_memory)

    def _check_memory(self) -> None:
        """Kill what is over its memory limit, as the kernel would. Runs only while a container has a limit."""
        self._memory_timer = None
        limited = [c for c in self._containers.values() if c.request.memory_limit_bytes and c.instance.exit is None]
        for container in limited:
            used = sum(entry.memory_bytes for entry in proc.family(container.process.pid))
            if used > container.request.memory_limit_bytes:
                container.out_of_memory = True
                container.kill(signal.SIGKILL)
        if limited:
            self._watch_memory()

    # Logs and directories

    def logs(self, key: ContainerKey, options: LogOptions) -> AsyncIterator[bytes]:
        """See Runtime.logs."""
        container = self._containers.get(key)
        attempts = self._logged_attempts(key)
        if options.previous:
            newest = container.instance.attempt if container is not None else (attempts[-1] if attempts else 0)
            attempts = [attempt for attempt in attempts if attempt < newest]
        if not attempts:
            which = "previous terminated container" if options.previous else "container"
            raise NoLog(f'{which} "{key.name}" in pod has no log')
        current = container is not None and container.instance.attempt == attempts[-1]
        writer = container.writer if container is not None and current else None
        return read_log(self._log_path(key, attempts[-1]), writer, options)

    def _logged_attempts(self, key: ContainerKey) -> list[int]:
        try:
            names = os.listdir(self._directory(key))
        except FileNotFoundError:
            return []
        return sorted(int(name[: -len(".log")]) for name in names if name.endswith(".log"))

    def _keep_one_previous_log(self, request: StartRequest) -> None:
        for attempt in self._logged_attempts(request.key):
            if attempt < request.attempt - 1:
                path = self._log_path(request.key, attempt)
                for each in (path, rotated(path)):
                    each.unlink(missing_ok=True)

    def _log_path(self, key: ContainerKey, attempt: int) -> Path:
        return self._directory(key) / f"{attempt}.log"

    def _directory(self, key: ContainerKey) -> Path:
        return self._root / "pods" / key.pod_uid / "containers" / key.name


def link_mounts(work: Path, mounts: Sequence[Mount]) -> None:
    """Without a mount namespace: show each volume below `work`, at its mountPath's relative path."""
    for mount in sorted(mounts, key=lambda m: m.target.count("/")):
        place = work / mount.target.strip("/")
        if place.is_symlink() or place.exists():
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(mount.source)
        except OSError as error:
            raise StartFailed("CreateContainerError", f"mount {mount.target}: {error}") from error
