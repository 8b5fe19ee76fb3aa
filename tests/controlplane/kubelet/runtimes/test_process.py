"""What only the process runtime does: mounts, namespaces, its helper, death together with the agent."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.kubelet.runtimes import proc, sandbox
from controlplane.kubelet.runtimes.port import ContainerKey, LogOptions, Mount, StartRequest
from controlplane.kubelet.runtimes.process import ProcessRuntime, sweep
from controlplane.machinery.clock import SystemClock

KEY = ContainerKey("uid-1", "main")


@pytest.fixture(params=["root", "user", "none"])
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    made = ProcessRuntime("here", tmp_path / "node", SystemClock(), os.environ["PATH"])
    await made.open()
    if request.param != "none" and await made._try(request.param):
        pytest.skip(f"isolation {request.param} is not to be had here")
    made.isolation = request.param
    yield made
    await made.close(0.5)


def shell(script: str, **fields: object) -> StartRequest:
    plain = StartRequest(KEY, 0, "default", "web", "busybox", ("sh", "-c", script), hostname="web-1")
    return replace(plain, **fields)  # type: ignore[arg-type]


async def output(runtime: ProcessRuntime, request: StartRequest) -> str:
    await runtime.start(request, lambda: None)
    async with asyncio.timeout(10):
        return b"".join([chunk async for chunk in runtime.logs(KEY, LogOptions(follow=True))]).decode()


async def test_mounts_are_where_the_manifest_says_and_the_host_is_not_touched(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    (tmp_path / "outer" / "deep").mkdir(parents=True)
    (tmp_path / "outer" / "file").write_text("outer\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("inner\n")
    (tmp_path / "one").write_text("one\n")
    mounts = (
        Mount(str(tmp_path / "inner"), "/var/run/pilothouse-test/a/b"),
        Mount(str(tmp_path / "outer"), "/pilothouse-outer"),
        Mount(str(tmp_path / "outer"), "/etc/pilothouse-test", read_only=True),
    )
    script = """
        r=$PILOTHOUSE_CONTAINER_ROOT
        cat $r/var/run/pilothouse-test/a/b/file $r/pilothouse-outer/file $r/etc/pilothouse-test/file
        ls $r/etc/pilothouse-test; test -e /etc/passwd && test -e /proc/self && test -w /dev/null && echo host
    """
    assert await output(runtime, shell(script, mounts=mounts)) == "inner\nouter\nouter\ndeep\nfile\nhost\n"
    for path in ("/var/run/pilothouse-test", "/pilothouse-outer", "/etc/pilothouse-test"):
        assert os.path.basename(path) not in os.listdir(os.path.dirname(path))


async def test_a_read_only_mount_cannot_be_written(runtime: ProcessRuntime, tmp_path: Path) -> None:
    if runtime.isolation == "none":
        pytest.skip("links have no mode of their own")
    (tmp_path / "v").mkdir()
    script = "echo x > /pilothouse-ro/f || echo refused; echo x > /pilothouse-rw/f && echo done"
    mounts = (Mount(str(tmp_path / "v"), "/pilothouse-ro", True), Mount(str(tmp_path / "v"), "/pilothouse-rw"))
    lines = (await output(runtime, shell(script, mounts=mounts))).splitlines()
    assert lines[-2:] == ["refused", "done"]
    assert os.listdir(tmp_path / "v") == ["f"]


async def test_a_volume_may_hold_the_mount_point_of_another(runtime: ProcessRuntime, tmp_path: Path) -> None:
    if runtime.isolation == "none":
        pytest.skip("links cannot hold links of others")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    mounts = (Mount(str(tmp_path / "b"), "/pilothouse-a/b"), Mount(str(tmp_path / "a"), "/pilothouse-a"))
    assert await output(runtime, shell("ls /pilothouse-a /pilothouse-a/b", mounts=mounts)) == (
        "/pilothouse-a:\na\nb\n\n/pilothouse-a/b:\nb\n"
    )


async def test_each_start_has_a_fresh_working_directory_a_session_and_its_own_host_name(
    runtime: ProcessRuntime,
) -> None:
    script = (
        "ls | wc -l; touch left; test $(ps -o sid= -p $$) -eq $$ && echo leader; echo $HOSTNAME; cat /proc/self/status"
    )
    first = (await output(runtime, shell(script))).splitlines()
    assert first[0].strip() == "0" and first[1] == "leader" and first[2] == "web-1"
    again = (await output(runtime, shell(script, attempt=1))).splitlines()
    assert again[0].strip() == "0"
    ignored = next(line for line in first if line.startswith("SigIgn")).split()[1]
    libc_keeps = 0b11 << 31  # signals 32 and 33 are libc's own: nobody can set them, they are as we were started
    assert int(ignored, 16) & ~libc_keeps == 0, "a program starts with default signals"
    if runtime.isolation != "none":
        assert (await output(runtime, shell("uname -n", attempt=2))) == "web-1\n"


async def test_exec_sees_the_containers_mounts_and_is_killed_when_it_takes_too_long(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "f").write_text("seen")
    mounts = (Mount(str(tmp_path / "v"), "/pilothouse-v"),)
    await runtime.start(shell("exec sleep 1000", mounts=mounts), lambda: None)
    result = await runtime.execute(KEY, ["sh", "-c", "cat $PILOTHOUSE_CONTAINER_ROOT/pilothouse-v/f; exit 4"], 5)
    assert (result.exit_code, result.output) == (4, b"seen")
    missing = await runtime.execute(KEY, ["no-such-program"], 5)
    assert missing.exit_code == 126 and b"not found" in missing.output
    with pytest.raises(TimeoutError):
        await runtime.execute(KEY, ["sleep", "1000"], 0.2)
    left = [pid for pid in proc.marked("PILOTHOUSE_POD_UID=uid-1") if _command(pid).startswith(b"sleep\x001000")]
    assert len(left) == 1, "only the container itself"


def _command(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


async def test_a_start_costs_little_and_leaves_nothing_of_ours_in_the_process(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    (tmp_path / "v").mkdir()
    await runtime.start(shell("exec sleep 1000", mounts=(Mount(str(tmp_path / "v"), "/pilothouse-v"),)), lambda: None)
    (used,) = runtime.usage().values()
    assert used.memory_bytes < 4_000_000


def test_containers_die_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from controlplane.kubelet.runtimes.port import ContainerKey, StartRequest
from controlplane.kubelet.runtimes.process import ProcessRuntime
from controlplane.machinery.clock import SystemClock

async def main():
    runtime = ProcessRuntime("dies", Path({str(tmp_path)!r}), SystemClock())
    await runtime.open()
    command = ("sleep", "1000")
    await runtime.start(StartRequest(ContainerKey("uid-2", "c"), 0, "d", "p", "i", command), lambda: None)
    print(runtime._containers[ContainerKey("uid-2", "c")].process.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""
    agent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[4])
    assert agent.stdout is not None
    pid = int(agent.stdout.readline())
    descriptor = os.pidfd_open(pid)
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(5000), "the container outlived its agent"
    os.close(descriptor)


def test_a_sweep_kills_what_carries_the_marks_of_this_node_and_nothing_else(tmp_path: Path) -> None:
    def start(root: Path) -> subprocess.Popen[bytes]:
        marks = {"PILOTHOUSE_NODE": "swept", "PILOTHOUSE_NODE_ROOT": str(root)}
        return subprocess.Popen(["sleep", "1000"], env=marks)

    mine, other = start(tmp_path / "mine"), start(tmp_path / "other")
    try:
        # The child's environment is the new one only after its exec; Popen has waited for that.
        assert sweep("swept", tmp_path / "mine") == 1
        assert mine.wait(5) == -signal.SIGKILL and other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_paths_are_resolved_inside_the_root_and_never_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to("/run")
    (tmp_path / "up").symlink_to("../../../../etc")
    (tmp_path / "loop").symlink_to("loop")
    root = str(tmp_path)
    assert sandbox.resolve(root, "/var/run/x/y") == f"{root}/run/x/y"
    assert sandbox.resolve(root, "/up/passwd") == f"{root}/etc/passwd"
    assert sandbox.resolve(root, "/../../a/./b") == f"{root}/a/b"
    with pytest.raises(OSError, match="too many symbolic links"):
        sandbox.resolve(root, "/loop/x")
