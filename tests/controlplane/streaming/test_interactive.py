"""Commands inside containers and attachments to them, with real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.kubelet.runtimes.port import ContainerKey, NotRunning, RunningCommand, StartFailed, StartRequest
from controlplane.kubelet.runtimes.process import ProcessRuntime
from controlplane.machinery.clock import SystemClock

KEY = ContainerKey("uid-1", "main")


@pytest.fixture(params=["strongest", "none"])
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    made = ProcessRuntime(f"streams-{os.getpid()}", tmp_path / "node", SystemClock(), os.environ["PATH"])
    await made.open()
    if request.param == "none":
        made.isolation = "none"
    yield made
    await made.close(0.2)


async def start(runtime: ProcessRuntime, script: str = "exec sleep 60", **fields: object) -> None:
    plain = StartRequest(KEY, 0, "default", "web", "busybox", ("sh", "-c", script), {"COLOUR": "green"})
    await runtime.start(replace(plain, **fields), lambda: None)  # type: ignore[arg-type]


async def all_of(command: RunningCommand, stream: str = "stdout") -> bytes:
    found = b""
    while data := await command.read(stream):
        found += data
    return found


async def reaped_elsewhere(pid: int) -> None:
    """Until a process that is not our child is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, gone.set)
    await gone.wait()
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)


async def until(command: RunningCommand, text: bytes) -> bytes:
    found = b""
    while text not in found:
        data = await command.read("stdout")
        assert data, f"it ended after {found!r}"
        found += data
    return found


async def test_a_command_sees_the_containers_environment_and_ends_with_its_code(runtime: ProcessRuntime) -> None:
    await start(runtime)
    command = await runtime.begin(KEY, ["sh", "-c", "echo $COLOUR; echo no >&2; exit 7"], stdin=False, tty=False)
    out, err = await asyncio.gather(all_of(command), all_of(command, "stderr"))
    assert (out, err) == (b"green\n", b"no\n")
    assert await command.wait() == 7
    await command.close()


async def test_input_goes_in_and_its_end_is_seen(runtime: ProcessRuntime) -> None:
    await start(runtime)
    command = await runtime.begin(KEY, ["wc", "-c"], stdin=True, tty=False)
    for _ in range(64):
        await command.write(bytes(64 * 1024))
    command.end_input()
    assert (await all_of(command)).strip() == b"4194304"
    assert await command.wait() == 0
    await command.close()


async def test_a_terminal_has_a_size_and_a_controlling_process(runtime: ProcessRuntime) -> None:
    await start(runtime)
    command = await runtime.begin(KEY, ["sh"], stdin=True, tty=True)
    command.resize(101, 33)
    await command.write(b"stty size; tty; sh -c 'echo rea''dy; sleep 50'\n")
    seen = await until(command, b"ready")
    assert b"33 101" in seen and b"/dev/pts/" in seen
    await command.write(b"\x03")  # Control-C reaches the foreground process, not the shell
    await command.write(b"echo $((6 * 7))\n")
    await until(command, b"42")
    await command.write(b"exit 5\n")
    await all_of(command)
    assert await command.wait() == 5
    await command.close()


async def test_control_d_is_typed_at_the_end_of_a_terminals_input(runtime: ProcessRuntime) -> None:
    await start(runtime)
    command = await runtime.begin(KEY, ["cat"], stdin=True, tty=True)
    command.end_input()
    await all_of(command)
    assert await command.wait() == 0
    await command.close()


async def test_who_lets_go_of_a_command_ends_it_with_its_children(runtime: ProcessRuntime) -> None:
    await start(runtime)
    command = await runtime.begin(KEY, ["sh", "-c", "sleep 50 & echo $!; wait"], stdin=False, tty=False)
    child = int((await until(command, b"\n")).split()[0])
    await command.close()
    async with asyncio.timeout(5):
        await reaped_elsewhere(child)
    assert runtime.instance(KEY).exit is None  # type: ignore[union-attr]


async def test_a_child_that_holds_the_output_open_is_not_waited_for_long(runtime: ProcessRuntime) -> None:
    await start(runtime)
    command = await runtime.begin(KEY, ["sh", "-c", "sleep 50 & echo done"], stdin=False, tty=False)
    async with asyncio.timeout(5):
        assert await all_of(command) == b"done\n"
        assert await command.wait() == 0
    await command.close()


async def test_a_command_that_is_not_there_cannot_be_started(runtime: ProcessRuntime) -> None:
    await start(runtime)
    with pytest.raises(StartFailed, match="executable file not found"):
        await runtime.begin(KEY, ["no-such-program"], stdin=True, tty=False)
    with pytest.raises(NotRunning):
        await runtime.begin(ContainerKey("uid-1", "other"), ["true"], stdin=False, tty=False)


async def test_an_attached_client_hears_and_is_heard_and_the_container_outlives_it(runtime: ProcessRuntime) -> None:
    await start(runtime, 'while read line; do echo "got $line"; done; echo over; exit 3', stdin=True, stdin_once=True)
    first, second = runtime.attach(KEY, stdin=False), runtime.attach(KEY, stdin=True)
    await second.write(b"one\n")
    assert await until(first, b"got one\n") and await until(second, b"got one\n")
    await first.close()
    second.end_input()
    assert await all_of(second) == b"over\n" and await second.wait() == 3
    await second.close()
    with pytest.raises(NotRunning):
        runtime.attach(KEY, stdin=False)


async def test_a_containers_input_stays_open_for_the_next_client_unless_it_is_given_once(
    runtime: ProcessRuntime,
) -> None:
    await start(runtime, 'while read line; do echo "got $line"; done', stdin=True)
    first = runtime.attach(KEY, stdin=True)
    first.end_input()
    await first.close()
    second = runtime.attach(KEY, stdin=True)
    await second.write(b"two\n")
    await until(second, b"got two\n")
    await second.close()


async def test_a_container_with_a_terminal_logs_it_and_is_resized(runtime: ProcessRuntime) -> None:
    await start(runtime, "read x; stty size; exec sleep 60", stdin=True, tty=True)
    command = runtime.attach(KEY, stdin=True)
    command.resize(70, 20)
    await command.write(b"go\n")
    assert b"20 70" in await until(command, b"20 70")
    await command.close()


async def test_a_port_of_the_pod_is_reached_and_anothers_is_not(runtime: ProcessRuntime) -> None:
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "c, _ = s.accept(); c.sendall(b'mine'); c.close(); import time; time.sleep(60)"
    )
    await start(runtime, command=(sys.executable, "-c", script), stdin=True)
    listening = runtime.attach(KEY, stdin=False)
    port = int(await until(listening, b"\n"))
    with pytest.raises(ConnectionRefusedError):
        await runtime.connect("uid-2", "127.200.0.9", port)
    reader, writer = await runtime.connect("uid-1", "127.200.0.9", port)
    assert await reader.read() == b"mine"
    writer.close()
    await listening.close()
