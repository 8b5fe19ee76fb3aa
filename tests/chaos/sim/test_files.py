"""The simulated file system: what POSIX promises is kept, and nothing else is."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from chaos.sim.boundary import Boundaries
from chaos.sim.files import SECTOR_BYTES, DiskError, SimulatedFiles
from kvstore.raft.configuration import make_configuration
from kvstore.raft.types import Entry, EntryKind, HardState, Persist, SnapshotMark
from kvstore.storage.file_log import FileLog
from kvstore.storage.port import StoreFull
from kvstore.storage.raft_log import CorruptLog, DamagedLog

FOLDER = Path("/log")
PATH = FOLDER / "a"
MARK = SnapshotMark(0, 0, make_configuration([1]))


def files(seed: int = 1) -> SimulatedFiles:
    return SimulatedFiles(Random(seed), Boundaries(Counter(), Counter()))


def made(system: SimulatedFiles, data: bytes = b"") -> int:
    file = system.open(PATH, create=True)
    system.allocate(file, 4 * SECTOR_BYTES)
    system.pwrite(file, data, 0)
    system.fdatasync(file)
    system.sync_folder(FOLDER)
    return file


@pytest.mark.parametrize("seed", range(20))
def test_what_was_synced_survives_every_crash(seed: int) -> None:
    system = files(seed)
    made(system, b"kept")
    system.crash()
    assert system.read(PATH) == b"kept" + bytes(4 * SECTOR_BYTES - 4)


def test_what_was_not_synced_survives_in_whole_in_part_or_not_at_all() -> None:
    seen = set()
    for seed in range(200):
        system = files(seed)
        file = made(system)
        system.pwrite(file, b"x" * (2 * SECTOR_BYTES), SECTOR_BYTES // 2)
        system.crash()
        data = system.read(PATH)
        seen.add(tuple(data[place] for place in (SECTOR_BYTES - 1, SECTOR_BYTES, 2 * SECTOR_BYTES)))
        assert data[SECTOR_BYTES] == data[2 * SECTOR_BYTES - 1], "a sector is written whole"
    assert len(seen) == 8


def test_a_name_may_be_lost_or_come_back_until_its_folder_is_synced() -> None:
    lost, back = set(), set()
    for seed in range(50):
        system = files(seed)
        system.fdatasync(system.open(PATH, create=True))
        system.crash()
        lost.add(system.exists(PATH))
        system = files(seed)
        made(system)
        system.unlink(PATH)
        system.crash()
        back.add(system.exists(PATH))
    assert lost == back == {True, False}


def test_a_disk_that_fails_goes_on_failing_until_it_is_mended() -> None:
    system = files()
    file = made(system)
    system.fail_at(3)
    system.pwrite(file, b"a", 0)
    for _ in range(3):
        with pytest.raises(DiskError):
            system.fdatasync(file)
    system.mend()
    system.fdatasync(file)


def test_a_full_disk_takes_no_new_file_and_may_cut_a_write_short() -> None:
    written = set()
    for seed in range(30):
        system = files(seed)
        file = made(system)
        system.has_room = False
        try:
            written.add(system.pwrite(file, b"x" * 3 * SECTOR_BYTES, 0))
        except OSError:
            written.add(0)
        with pytest.raises(OSError, match="simulated"):
            system.allocate(file, 1)
    assert written == {0, SECTOR_BYTES, 2 * SECTOR_BYTES}


def log_on(system: SimulatedFiles) -> FileLog:
    return FileLog(FOLDER, segment_bytes=2048, files=system)


def entries(first: int, count: int) -> tuple[Entry, ...]:
    return tuple(Entry(index, 1, EntryKind.COMMAND, b"%d" % index * 40) for index in range(first, first + count))


def begun(system: SimulatedFiles) -> FileLog:
    log = log_on(system)
    log.load(0)
    log.begin_install(MARK, b"")
    log.save(Persist(0, HardState(1, 1), (), MARK))
    return log


@pytest.mark.parametrize("seed", range(60))
def test_the_shipped_log_keeps_what_it_saved_on_a_disk_that_forgets_tears_and_fills_up(seed: int) -> None:
    random, system = Random(seed), files(seed)
    log, saved = begun(system), 0
    for _ in range(60):
        system.has_room = random.random() < 0.8
        try:
            batch = entries(saved + 1, random.randrange(1, 6))
            log.save(Persist(0, None, batch, None))
            saved = batch[-1].index
        except StoreFull:
            pass
        if random.random() < 0.2:
            system.has_room = True
            system.crash()
            log = log_on(system)
            restored = log.load(0)
            assert restored is not None
            assert [entry.index for entry in restored.entries] == list(range(1, saved + 1))


@pytest.mark.parametrize("seed", range(100))
def test_a_bit_that_flips_in_the_shipped_log_is_found_or_does_no_harm(seed: int) -> None:
    system = files(seed)
    log = begun(system)
    for first in range(1, 40, 3):
        log.save(Persist(0, None, entries(first, 3), None))
    assert system.rot(FOLDER) is not None
    try:
        restored = log_on(system).load(0)
    except CorruptLog as error:
        assert isinstance(error, DamagedLog), "the disk's fault, and so the other members may help"
    else:
        assert restored is not None
        assert restored.entries == entries(1, 39)


def test_a_log_begins_again_where_a_crash_left_the_note_beside_it_without_its_bytes() -> None:
    """Found by `pilothouse sim --every-boundary`: m3 died at its boundary 22, and refused to start ever after."""
    system = files()
    begun(system).close()
    note = system.open(FOLDER.with_name("log-begun"))
    system.pwrite(note, bytes(system.size(note)), 0)
    system.fdatasync(note)
    restored = log_on(system).load(0)
    assert restored is not None
    assert restored.hard_state == HardState(1, 1)
