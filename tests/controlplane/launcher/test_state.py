"""The data directory: one supervisor, files replaced at once, processes told apart from later owners of their pid."""

import os
import socket
from pathlib import Path

import pytest

from controlplane.launcher.plan import StorePlan
from controlplane.launcher.start import check_addresses, plan_for, wait_until_ready
from controlplane.launcher.state import DataDirectory, LauncherError, ProcessState, alive, start_time_of


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "state")
    made.make()
    return made


def test_a_second_lock_is_refused_until_the_first_is_released(directory: DataDirectory) -> None:
    lock = directory.lock()
    assert directory.is_locked()
    with pytest.raises(LauncherError, match=r"already runs in .*pilothouse down"):
        directory.lock()
    os.close(lock)
    assert not directory.is_locked()


def test_a_process_is_alive_only_with_its_own_start_time() -> None:
    mine = start_time_of(os.getpid())
    assert mine is not None
    assert alive(ProcessState("x", "kv", os.getpid(), mine, "ready"))
    assert not alive(ProcessState("x", "kv", os.getpid(), mine - 1, "ready"))


def test_processes_are_read_back_as_written(directory: DataDirectory) -> None:
    processes = [ProcessState("kv-0", "kv", 5, 6, "exited", "signal 9", "127.0.0.1:2379")]
    directory.write_processes(processes)
    assert directory.processes() == processes


def test_a_damaged_file_is_named(directory: DataDirectory) -> None:
    directory.plan_file.write_text("{")
    with pytest.raises(LauncherError, match=r"cluster\.json is damaged"):
        directory.read_json(directory.plan_file)


def test_a_path_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LauncherError, match="cannot use data directory"):
        DataDirectory(tmp_path / "file").make()


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(LauncherError, match=rf"127\.0\.0\.1:{port} is in use; --base-port"):
            check_addresses(StorePlan(members=1, base_port=port))


def test_the_first_plan_is_kept_and_an_option_against_it_is_refused(directory: DataDirectory) -> None:
    first = StorePlan(members=3, base_port=4000)
    directory.write_json(directory.plan_file, first.to_document())
    assert plan_for(directory, StorePlan(), set()) == first
    with pytest.raises(LauncherError, match="was made with --members 3"):
        plan_for(directory, StorePlan(members=5), {"members"})


def news(*lines: str) -> int:
    """A pipe that holds what a supervisor wrote, and stays open."""
    read_end, write_end = os.pipe()
    os.write(write_end, "".join(f"{line}\n" for line in lines).encode())
    return read_end


def test_news_that_come_together_are_all_heard(directory: DataDirectory) -> None:
    ready = [f'{{"name": "kv-{index}", "state": "ready", "exit": ""}}' for index in range(3)]
    wait_until_ready(directory, StorePlan(members=3), news(*ready))


def test_a_process_that_ends_while_starting_is_named_with_its_last_words(directory: DataDirectory) -> None:
    directory.log("kv-1").write_text("first\nthe disk is on fire\n")
    ended = '{"name": "kv-1", "state": "exited", "exit": "code 1"}'
    with pytest.raises(LauncherError, match=r"kv-1 ended with code 1 while starting: the disk is on fire"):
        wait_until_ready(directory, StorePlan(members=3), news(ended))
