"""Programs whose streams we hold: descriptors on the loop, terminals, commands executed inside a container."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from controlplane.kubelet.runtimes import proc
from controlplane.kubelet.runtimes.helper import Helper, reaped, started
from controlplane.kubelet.runtimes.port import StartFailed

READ_BYTES: Final = 64 * 1024
LEFTOVER_SECONDS: Final = 1.0  # who holds the output of an ended command open is not waited for any longer


class Descriptor:
    """A pipe's or a terminal's end, in the hands of one task for each direction."""

    def __init__(self, number: int) -> None:
        os.set_blocking(number, False)
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()
        self._patience_seconds: float | None = None

    async def read(self) -> bytes:
        """Some bytes; b"" at the end, and when nothing comes any more after `hurry`."""
        while self._number >= 0:
            try:
                return os.read(self._number, READ_BYTES)
            except BlockingIOError:
                hurried = self._patience_seconds is not None
                if not await self._ready(self._loop.add_reader, self._loop.remove_reader) and hurried:
                    return b""
            except OSError:  # EIO: nobody has the terminal open
                return b""
        return b""

    async def write(self, data: bytes) -> None:
        """Write all, unless nobody reads any longer."""
        view = memoryview(data)
        while view and self._number >= 0:
            try:
                view = view[os.write(self._number, view) :]
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except OSError:
                return

    async def _ready(self, add: Callable[..., object], remove: Callable[[int], object]) -> bool:
        """Wait; True when the descriptor may be ready or things have changed, False after the patience."""
        ready: asyncio.Future[None] = self._loop.create_future()
        number = self._number
        self._waiting.add(ready)
        add(number, _resolve, ready)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await ready
            return True
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(ready)
            if self._number == number:
                remove(number)

    def hurry(self, patience_seconds: float) -> None:
        """From now on a read waits no longer than this."""
        self._patience_seconds = patience_seconds
        self._wake()

    def resize(self, columns: int, rows: int) -> None:
        """Set a terminal's size; its program is told by SIGWINCH."""
        if self._number >= 0:
            set_size(self._number, columns, rows)

    def close(self) -> None:
        """Close it; who waits for it is woken."""
        if self._number < 0:
            return
        self._loop.remove_reader(self._number)
        self._loop.remove_writer(self._number)
        os.close(self._number)
        self._number = -1
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiting:
            _resolve(waiter)


def set_size(terminal: int, columns: int, rows: int) -> None:
    """Set the size of the terminal behind a descriptor; nothing happens when its program has gone."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class Wiring:
    """The streams of a program before it starts: its ends and ours. `stdin`, `stdout`, `stderr`: for Popen."""

    stdin: int
    stdout: int
    stderr: int
    outputs: tuple[tuple[str, int], ...]  # ours to read
    input: int = -1  # ours to write, -1 for none

    def close_theirs(self) -> None:
        """When the program has its ends, or never will."""
        for number in {self.stdin, self.stdout, self.stderr}:
            if number >= 0:
                os.close(number)

    def close_ours(self) -> None:
        """When there is no program."""
        for number in (self.input, *(number for _, number in self.outputs)):
            if number >= 0:
                os.close(number)


def wire(*, stdin: bool, tty: bool) -> Wiring:
    """Pipes, or a terminal for all three. OSError when there are no more descriptors or terminals."""
    if tty:
        master, slave = pty.openpty()
        return Wiring(slave, slave, slave, (("stdout", master),), os.dup(master) if stdin else -1)
    theirs, ours = os.pipe() if stdin else (subprocess.DEVNULL, -1)
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    return Wiring(theirs, out_end, err_end, (("stdout", out), ("stderr", err)), ours)


class Executed:
    """A command inside a container, see RunningCommand."""

    def __init__(self, process: subprocess.Popen[bytes], wiring: Wiring, *, tty: bool) -> None:
        self._process = process
        self._tty = tty
        self._outputs = {name: Descriptor(number) for name, number in wiring.outputs}
        self._input = Descriptor(wiring.input) if wiring.input >= 0 else None
        self._exit = asyncio.ensure_future(reaped(process))
        self._exit.add_done_callback(self._on_exit)

    def _on_exit(self, exit: asyncio.Future[int]) -> None:
        for output in self._outputs.values():
            output.hurry(LEFTOVER_SECONDS)

    async def read(self, stream: str) -> bytes:
        """See RunningCommand.read."""
        return await self._outputs[stream].read() if stream in self._outputs else b""

    async def write(self, data: bytes) -> None:
        """See RunningCommand.write."""
        if self._input is not None:
            await self._input.write(data)

    def end_input(self) -> None:
        """See RunningCommand.end_input. On a terminal: Control-D, as if typed."""
        if self._input is None:
            return
        if self._tty:
            task = asyncio.ensure_future(self._input.write(b"\x04"))
            self._exit.add_done_callback(lambda _: task.cancel())
        else:
            self._input.close()

    def resize(self, columns: int, rows: int) -> None:
        """See RunningCommand.resize."""
        if self._tty:
            self._outputs["stdout"].resize(columns, rows)

    async def wait(self) -> int:
        """See RunningCommand.wait."""
        status = await asyncio.shield(self._exit)
        return status if status >= 0 else 128 - status

    async def close(self) -> None:
        """See RunningCommand.close."""
        if not self._exit.done():
            proc.kill_all(entry.pid for entry in proc.family(self._process.pid))
            await asyncio.shield(self._exit)
        for descriptor in (*self._outputs.values(), self._input):
            if descriptor is not None:
                descriptor.close()


async def begin(helper: Helper, spec: Mapping[str, object], *, stdin: bool, tty: bool) -> Executed:
    """Start a command whose streams we hold. StartFailed when it cannot be executed."""
    try:
        wiring = wire(stdin=stdin, tty=tty)
    except OSError as error:
        raise StartFailed("ExecFailed", str(error)) from error
    try:
        process, errors = helper.spawn({**spec, "terminal": tty}, wiring.stdout, wiring.stderr, wiring.stdin)
    except OSError as error:
        wiring.close_ours()
        raise StartFailed("ExecFailed", str(error)) from error
    finally:
        wiring.close_theirs()
    command = Executed(process, wiring, tty=tty)
    try:
        trouble = await started(errors)
    except BaseException:
        await command.close()
        raise
    if trouble:
        await command.close()
        raise StartFailed("ExecFailed", trouble)
    return command
