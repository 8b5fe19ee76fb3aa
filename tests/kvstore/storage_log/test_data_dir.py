"""The data directory: one process, one member."""

import multiprocessing
from pathlib import Path

import pytest

from kvstore.storage.data_dir import DataDirectory, DataDirectoryInUse, Identity, WrongDataDirectory

MINE = Identity(0xC1, 0xA1, "one")


def test_a_second_opening_is_refused(tmp_path: Path) -> None:
    first = DataDirectory(tmp_path)
    with pytest.raises(DataDirectoryInUse):
        DataDirectory(tmp_path)
    first.close()
    DataDirectory(tmp_path).close()


def _hold(path: Path, held: "multiprocessing.synchronize.Event", release: "multiprocessing.synchronize.Event") -> None:
    directory = DataDirectory(path)
    held.set()
    release.wait(30)
    directory.close()


def test_another_process_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held, release))
    process.start()
    try:
        assert held.wait(30)
        with pytest.raises(DataDirectoryInUse):
            DataDirectory(tmp_path)
    finally:
        release.set()
        process.join(30)
        process.close()


@pytest.mark.parametrize("other", [Identity(0xC2, 0xA1, "one"), Identity(0xC1, 0xA2, "one"), Identity(0xC1, 0xA1, "two")])
def test_the_directory_of_another_member_is_refused(tmp_path: Path, other: Identity) -> None:
    directory = DataDirectory(tmp_path)
    directory.identify(MINE)
    directory.identify(MINE)
    with pytest.raises(WrongDataDirectory, match="belongs to member one"):
        directory.identify(other)
    directory.close()
