"""One attempt of a container as the process runtime holds it: the process, its pipes, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterable

from controlplane.kubelet.model import Instance
from controlplane.kubelet.runtimes import proc
from controlplane.kubelet.runtimes.interactive import Descriptor, set_size
from controlplane.kubelet.runtimes.logs import LogWriter
from controlplane.kubelet.runtimes.port import StartRequest

READ_BYTES = 64 * 1024


class Container:
    """`on_exit(container, status)` is called once, when the first process has been reaped."""

    def __init__(
        self,
        request: StartRequest,
        instance: Instance,
        process: subprocess.Popen[bytes],
        writer: LogWriter,
        changed: Callable[[], None],
        on_exit: Callable[[Container, int], None],
    ) -> None:
        self.request = request
        self.instance = instance
        self.process = process
        self.writer = writer
        self.changed = changed
        self.ended = asyncio.Event()
        self.start_error = ""
        self.out_of_memory = False
        self.cpu_seconds = 0.0
        self.input: Descriptor | None = None
        self.listeners: set[Callable[[str, bytes], None]] = set()  # each gets its output, and b"" at the end
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(process.pid)
        self._pipes: dict[int, str] = {}
        self._drained = asyncio.Event()

    @property
    def identity(self) -> str:
        """The container's id without the runtime's scheme."""
        return self.instance.container_id.partition("://")[2]

    def open(self, pipes: Iterable[tuple[str, int]], input: int = -1) -> None:
        """Begin to read its output (stream name, descriptor) and to wait for its end. `input`: where it reads from, or -1."""
        if input >= 0:
            self.input = Descriptor(input)
        for stream, descriptor in pipes:
            os.set_blocking(descriptor, False)
            self._pipes[descriptor] = stream
            self._loop.add_reader(descriptor, self._on_output, descriptor)
        self._loop.add_reader(self._pidfd, self._on_reapable)

    def kill(self, number: int) -> None:
        """Signal the first process; SIGKILL goes to its whole session. The pidfd makes sure it is still ours."""
        if self._pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return
        if number == signal.SIGKILL:
            proc.kill_all(entry.pid for entry in proc.family(self.process.pid))

    def _on_reapable(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._on_exit(self, self.process.wait())

    def _on_output(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            stream = self._pipes[descriptor]
            self.writer.write(stream, data)
            self._tell(stream, data)
            return
        self._close_pipe(descriptor)

    def _close_pipe(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        del self._pipes[descriptor]
        if not self._pipes:
            self._drained.set()

    async def drain(self, limit_seconds: float) -> None:
        """Read what is left in the pipes; who still holds them open after `limit_seconds` is not waited for."""
        try:
            async with asyncio.timeout(limit_seconds):
                await self._drained.wait()
        except TimeoutError:
            for descriptor in list(self._pipes):
                self._close_pipe(descriptor)
        self.writer.close()
        if self.input is not None:
            self.input.close()
        self._tell("", b"")

    def _tell(self, stream: str, data: bytes) -> None:
        for listener in list(self.listeners):
            listener(stream, data)

    def resize(self, columns: int, rows: int) -> None:
        """Set the size of its terminal, if it has one."""
        if self.request.tty:
            for descriptor in self._pipes:
                set_size(descriptor, columns, rows)


def finished_reason(code: int, container: Container) -> tuple[str, str]:
    """(reason, message) of a container's end, in Kubernetes' words."""
    if container.start_error:
        return "StartError", container.start_error
    if container.out_of_memory:
        limit = container.request.memory_limit_bytes
        return "OOMKilled", f"The container used more memory than its limit of {limit} bytes"
    return ("Completed", "") if code == 0 else ("Error", "")
