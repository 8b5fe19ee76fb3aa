"""The library before libc, ordered about while a process runs."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.machine.shim import Action, Call, Control, preload
from tests.durability.shim import needs_compiler

pytestmark = needs_compiler

# Each line of the input is an expression; its value, or the error's number, is told.
SERVANT = """
import os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except OSError as error:
        print("errno", error.errno, flush=True)
"""


class Servant:
    """A process that does as it is told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def ask(self, expression: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path / "control")


@contextmanager
def servant(folder: Path, control: Control) -> Iterator[Servant]:
    command = [sys.executable, "-S", "-c", SERVANT, str(folder / "data")]
    environment = {**os.environ, **preload(folder, control)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Servant(process)
        finally:
            process.kill()


def test_calls_on_a_path_fail_from_a_number_on_until_the_order_is_cleared(tmp_path: Path, control: Control) -> None:
    with servant(tmp_path, control) as one:
        assert one.ask("os.fsync(file)") == "None"
        control.order(Call.SYNC, Action.FAIL, "/data", at=2, value=errno.EIO)
        assert [one.ask("os.fsync(file)") for _ in range(3)] == ["None", "errno 5", "errno 5"]
        assert one.ask("os.pwrite(file, b'12', 0)") == "2"
        assert control.hits == 2
        control.clear()
        assert one.ask("os.fsync(file)") == "None"
        control.order(Call.WRITE, Action.FAIL, "/elsewhere", value=errno.ENOSPC)
        assert one.ask("os.pwrite(file, b'12', 0)") == "2"


def test_a_write_is_torn_and_its_process_killed_once(tmp_path: Path, control: Control) -> None:
    with servant(tmp_path, control) as one:
        control.order(Call.WRITE, Action.TORN, "/data")
        assert one.ask("os.pwrite(file, b'x' * 4096, 0)") == ""
        assert one.process.wait() == -9
    assert (tmp_path / "data").stat().st_size == 2048
    with servant(tmp_path, control) as one:
        assert one.ask("os.pwrite(file, b'x' * 4096, 0)") == "4096"


def test_wall_clocks_jump_and_monotonic_ones_do_not(tmp_path: Path, control: Control) -> None:
    with servant(tmp_path, control) as one:
        wall, steady = float(one.ask("time.time()")), float(one.ask("time.monotonic()"))
        control.set_clock(offset_seconds=-100)
        assert -101 < float(one.ask("time.time()")) - wall < -90
        assert 0 <= float(one.ask("time.monotonic()")) - steady < 10
        assert control.lies > 0


def test_a_clock_that_runs_faster_for_a_while_never_goes_back(tmp_path: Path, control: Control) -> None:
    with servant(tmp_path, control) as one:
        seen = [float(one.ask("time.monotonic()"))]
        for rate in (1000, 1, 0.5, 1):
            control.set_clock(rate=rate)
            seen += [float(one.ask("time.monotonic()")) for _ in range(20)]
        assert seen == sorted(seen)
        assert seen[40] > seen[1]
