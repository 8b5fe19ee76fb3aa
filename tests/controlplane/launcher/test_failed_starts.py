"""A start that does not come to its end leaves no process behind, whatever ended it: real processes, made to fail."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.launcher.state import DataDirectory
from tests.e2e.cluster import free_base_port

ENOUGH_SECONDS = 30.0

# `pilothouse kv up` with something wrong: {patch} runs before.
PROGRAM = """
import sys, time
from controlplane.launcher import processes, supervisor
calls = []
{patch}
from controlplane.launcher.cli import main as entry
sys.argv = ["pilothouse", "kv", *sys.argv[1:]]
entry()
"""
FAILING_IMPORT = """
def preload(kind):
    calls.append(kind)
    if len(calls) == 2:
        raise ImportError("no module named gone")
processes.preload = preload
"""
FAILING_CHILD = """
def main(directory, plan, component, ready):
    if component.name == "kv-1":
        raise ImportError("no module named gone")
    time.sleep(600)
processes.main = main
"""
NEVER_READY = """
def main(directory, plan, component, ready):
    time.sleep(600)
processes.main = main
"""


def _start(directory: Path, patch: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM.format(patch=patch), "up", "--data-dir", str(directory), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_until_all_started(directory: DataDirectory, count: int) -> None:
    end = time.monotonic() + ENOUGH_SECONDS
    while len(directory.processes()) < count:
        assert time.monotonic() < end, "the processes did not start"
        time.sleep(0.02)


def _left(directory: Path) -> list[str]:
    """Command lines or names of processes that hold a file of the directory open."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            targets = [os.readlink(item) for item in (process / "fd").iterdir()] if process.name.isdigit() else []
            if any(target.startswith(str(directory)) for target in targets):
                found.append((process / "comm").read_text().strip())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("patch", [FAILING_IMPORT, FAILING_CHILD], ids=["in the supervisor", "in a child"])
def test_an_import_that_fails_ends_the_start_in_one_line_and_everything_with_it(tmp_path: Path, patch: str) -> None:
    up = _start(tmp_path / "state", patch, "--base-port", str(free_base_port()), "--members", "3")
    _, errors = up.communicate(timeout=ENOUGH_SECONDS)
    assert up.returncode == 1
    assert "no module named gone" in errors and "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1
    assert _left(tmp_path / "state") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_start_that_is_ended_by_a_signal_ends_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    up = _start(tmp_path / "state", NEVER_READY, "--base-port", str(free_base_port()), "--members", "2")
    try:
        _wait_until_all_started(DataDirectory(tmp_path / "state"), 2)
        up.send_signal(number)
        _, errors = up.communicate(timeout=ENOUGH_SECONDS)
    finally:
        up.kill()
    assert up.returncode != 0 and "Traceback" not in errors
    assert _left(tmp_path / "state") == []


def test_down_ends_what_a_killed_start_left(tmp_path: Path) -> None:
    up = _start(tmp_path / "state", NEVER_READY, "--base-port", str(free_base_port()), "--members", "2")
    _wait_until_all_started(DataDirectory(tmp_path / "state"), 2)
    up.kill()
    up.communicate()
    again = _start(tmp_path / "state", "", "--base-port", str(free_base_port()))
    _, errors = again.communicate(timeout=ENOUGH_SECONDS)
    assert again.returncode == 1 and len(errors.strip().splitlines()) == 1
    down = [sys.executable, "-m", "controlplane.launcher.cli", "kv", "down", "--data-dir", str(tmp_path / "state")]
    subprocess.run(down, check=True, capture_output=True, timeout=ENOUGH_SECONDS)
    assert _left(tmp_path / "state") == []


def test_a_port_of_somebody_else_is_one_line_and_nothing_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = _start(tmp_path / "state", "", "--base-port", str(port))
        _, errors = up.communicate(timeout=ENOUGH_SECONDS)
    assert up.returncode == 1
    assert len(errors.strip().splitlines()) == 1 and f"127.0.0.1:{port} is in use" in errors
    assert _left(tmp_path / "state") == []
