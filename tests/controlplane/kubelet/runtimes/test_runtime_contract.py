"""What every runtime promises, run on each: processes in every isolation that this machine allows, and simulated ones."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.kubelet.runtimes.port import ContainerKey, LogOptions, NoLog, Runtime, StartFailed, StartRequest
from controlplane.kubelet.runtimes.process import ProcessRuntime
from controlplane.kubelet.runtimes.simulated import SimulatedRuntime
from controlplane.machinery.clock import SystemClock

KEY = ContainerKey("uid-1", "main")
RUN = "simulated.pilothouse.io/run-seconds"
CODE = "simulated.pilothouse.io/exit-code"


@pytest.fixture(params=["root", "user", "none", "simulated"])
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    made: Runtime
    if request.param == "simulated":
        made = SimulatedRuntime("n1", SystemClock())
    else:
        process = ProcessRuntime("contract", tmp_path, SystemClock(), os.environ["PATH"])
        await process.open()
        if request.param != "none" and await process._try(request.param):
            pytest.skip(f"isolation {request.param} is not to be had here")
        process.isolation = request.param
        made = process
    yield made
    await made.close(0.5)


def request(script: str, attempt: int = 0, run: str = "", code: str = "0", key: ContainerKey = KEY) -> StartRequest:
    """A shell script, which a simulated runtime replaces by a time and an exit code."""
    annotations = {RUN: run, CODE: code} if run else {}
    return StartRequest(key, attempt, "default", "web", "busybox", ("sh", "-c", script), annotations=annotations)


async def ended(runtime: Runtime, changed: asyncio.Event, key: ContainerKey = KEY) -> int:
    async with asyncio.timeout(10):
        while True:
            changed.clear()
            instance = runtime.instance(key)
            assert instance is not None
            if instance.exit is not None:
                return instance.exit.exit_code
            await changed.wait()


async def test_a_container_runs_and_ends_with_its_own_code(runtime: Runtime) -> None:
    changed = asyncio.Event()
    instance = await runtime.start(request("exit 3", run="0.01", code="3"), changed.set)
    assert instance.attempt == 0 and instance.container_id.startswith(f"{runtime.name}://")
    assert await ended(runtime, changed) == 3
    final = runtime.instance(KEY)
    assert final is not None and final.exit is not None
    assert final.exit.reason == "Error" and final.exit.signal == 0 and final.exit.finished_at >= final.started_at


async def test_a_signal_ends_it_with_128_and_its_number(runtime: Runtime) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        changed = asyncio.Event()
        attempt = 0 if number is signal.SIGTERM else 1
        await runtime.start(request("exec sleep 1000", attempt), changed.set)
        runtime.send_signal(KEY, number)
        assert await ended(runtime, changed) == 128 + number
        runtime.send_signal(KEY, number)  # to nobody: nothing happens


async def test_one_attempt_at_a_time(runtime: Runtime) -> None:
    await runtime.start(request("exec sleep 1000"), lambda: None)
    with pytest.raises(StartFailed):
        await runtime.start(request("exec sleep 1000", attempt=1), lambda: None)


async def test_what_was_removed_is_unknown(runtime: Runtime) -> None:
    await runtime.start(request("exec sleep 1000"), lambda: None)
    await runtime.remove(KEY.pod_uid)
    assert runtime.instance(KEY) is None
    assert runtime.usage() == {}
    runtime.send_signal(KEY, signal.SIGTERM)
    with pytest.raises(NoLog):
        runtime.logs(KEY, LogOptions())


async def test_close_stops_everything(runtime: Runtime) -> None:
    keys = [ContainerKey("uid-1", f"c{index}") for index in range(3)]
    for key in keys:
        await runtime.start(request("trap '' TERM; sleep 1000", key=key), lambda: None)
    await runtime.close(0.2)
    for key in keys:
        instance = runtime.instance(key)
        assert instance is not None and instance.exit is not None


async def test_usage_names_what_runs(runtime: Runtime) -> None:
    changed = asyncio.Event()
    await runtime.start(request("exec sleep 1000"), changed.set)
    assert list(runtime.usage()) == [KEY]
    runtime.send_signal(KEY, signal.SIGKILL)
    await ended(runtime, changed)
    assert runtime.usage() == {}


async def test_a_command_inside_succeeds_and_needs_a_running_container(runtime: Runtime) -> None:
    with pytest.raises(StartFailed):
        await runtime.execute(KEY, ["true"], 5)
    await runtime.start(request("exec sleep 1000"), lambda: None)
    assert (await runtime.execute(KEY, ["true"], 5)).exit_code == 0


async def test_an_attempt_before_the_first_has_no_log(runtime: Runtime) -> None:
    await runtime.start(request("exec sleep 1000"), lambda: None)
    with pytest.raises(NoLog):
        runtime.logs(KEY, LogOptions(previous=True))
