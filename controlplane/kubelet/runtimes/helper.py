"""How the agent starts sandbox.py, learns whether the program was executed, and reaps it."""

from __future__ import annotations

import asyncio
import marshal
import os
import py_compile
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from controlplane.kubelet.runtimes import sandbox

START_TIMEOUT_SECONDS = 30.0


class Helper:
    """sandbox.py compiled into a node's own directory, because compiling it costs more than running it."""

    def __init__(self, root: Path) -> None:
        self.empty = root / "empty"
        self._program = root / "sandbox.pyc"

    def prepare(self) -> None:
        """Make the files it needs."""
        self.empty.mkdir(parents=True, exist_ok=True)
        py_compile.compile(sandbox.__file__, cfile=str(self._program), doraise=True)

    def spec(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        mounts: Sequence[tuple[str, str, bool]] = (),
        hostname: str = "",
        isolation: str = "none",
        join: int = 0,
        terminal: bool = False,
    ) -> dict[str, object]:
        """What sandbox.py is told; see there."""
        return {
            "argv": list(argv),
            "env": dict(environment),
            "directory": directory,
            "hostname": hostname,
            "user": None,
            "group": None,
            "isolation": isolation,
            "root": str(self.empty),
            "mounts": list(mounts),
            "join": join,
            "terminal": terminal,
            "parent": os.getpid(),
        }

    def spawn(
        self, spec: Mapping[str, object], stdout: int, stderr: int, stdin: int = subprocess.DEVNULL
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start the helper; (the process, the read end of its error pipe)."""
        memory = os.memfd_create("spec")
        errors, errors_end = os.pipe()
        try:
            os.write(memory, marshal.dumps(dict(spec)))
            os.lseek(memory, 0, os.SEEK_SET)
            library_path = {k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"}
            process = subprocess.Popen(
                [sys.executable, "-S", "-E", "-I", str(self._program), str(memory), str(errors_end)],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=library_path,
                start_new_session=True,
                pass_fds=(memory, errors_end),
            )
        except BaseException:
            os.close(errors)
            raise
        finally:
            os.close(memory)
            os.close(errors_end)
        return process, errors


async def started(errors: int) -> str:
    """Wait until the program has been executed: "" or what went wrong. Closes `errors`."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    os.set_blocking(errors, False)
    loop.add_reader(errors, readable.set)
    try:
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            await readable.wait()
        data = os.read(errors, 65536)
    except TimeoutError:
        return f"the program did not start within {START_TIMEOUT_SECONDS:.0f} s"
    finally:
        loop.remove_reader(errors)
        os.close(errors)
    if not data:
        return ""
    stage, text = marshal.loads(data)
    return f"{stage}: {text}"


async def reaped(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child by its pidfd; its exit status as Popen gives it."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


async def collect(descriptor: int, limit_bytes: int) -> bytes:
    """Read a pipe to its end; keep the first `limit_bytes`. Closes it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", 0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    kept = bytearray()
    try:
        while data := await reader.read(65536):
            kept += data[: limit_bytes - len(kept)]
    finally:
        transport.close()
    return bytes(kept)
