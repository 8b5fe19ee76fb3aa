"""The data directory: one process, one member."""

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
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


def test_a_newer_format_is_refused_and_the_first_one_needs_no_number(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.identify(MINE)
    path = tmp_path / "identity.json"
    path.write_text(path.read_text().replace('"format": 1, ', ""))
    assert directory.identity() == MINE
    path.write_text(path.read_text().replace("{", '{"format": 2, '))
    with pytest.raises(WrongDataDirectory, match="format 2, this version reads and writes 1"):
        directory.identity()
    directory.close()


@pytest.mark.parametrize("crash", range(1, 12))
def test_a_replacement_that_is_cut_off_anywhere_ends_the_same_when_it_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    directory = DataDirectory(tmp_path)
    directory.identify(MINE)
    for name in ("log", "state"):
        (tmp_path / name / "old").write_bytes(b"old")
    (tmp_path / "log-begun").touch()
    damage, new, steps = directory.note_damage(MINE, "flipped"), Identity(0xC1, 0xA2, "one"), 0
    assert directory.damage() == damage

    def counted(what: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            nonlocal steps
            steps += 1
            if steps == crash:
                raise InterruptedError
            return what(*arguments, **options)

        return step

    with monkeypatch.context() as patch, suppress(InterruptedError):
        for name in ("rename", "unlink", "mkdir"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        directory.replace(damage, new, b"table")
    directory.close()
    directory = DataDirectory(tmp_path)
    if (left := directory.damage()) is not None:
        directory.replace(left, new, b"table")
    assert (directory.identity(), directory.founding_table(), directory.has_begun) == (new, b"table", False)
    assert (tmp_path / "damaged-1" / "log" / "old").read_bytes() == b"old"
    assert (tmp_path / "damaged-1" / "state" / "old").read_bytes() == b"old"
    assert not any((tmp_path / "state").iterdir())
    directory.close()
    assert steps >= min(crash, 10)
