"""FileLog: what the Log port promises, crashes at any byte, and damage anywhere."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from shutil import copyfile, copytree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvstore.raft.configuration import Configuration
from kvstore.raft.types import Entry, EntryKind, HardState, Persist, SnapshotMark
from kvstore.storage.file_log import FileLog, open_log
from kvstore.storage.lmdb_store import LmdbStore
from kvstore.storage.port import StoreFull
from kvstore.storage.raft_log import TABLES, CorruptLog, DamagedLog, RaftLog, StateTooOld

START = SnapshotMark(0, 0, Configuration((1, 2, 3)))
SMALL = 4096
FIRST = "0000000000000001.log"


def entries(first: int, *terms: int, data: bytes = b"") -> tuple[Entry, ...]:
    return tuple(
        Entry(first + i, term, EntryKind.COMMAND, data or b"%d/%d" % (first + i, term)) for i, term in enumerate(terms)
    )


def persist(new: tuple[Entry, ...] = (), state: HardState | None = None, mark: SnapshotMark | None = None) -> Persist:
    return Persist(1, state, new, mark)


def opened(folder: Path) -> FileLog:
    log = FileLog(folder, segment_bytes=SMALL)
    opened_logs.append(log)
    return log


opened_logs: list[FileLog] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while opened_logs:
        opened_logs.pop().close()


def started(folder: Path) -> FileLog:
    log = opened(folder)
    assert log.load(0) is None
    log.save(persist((), HardState(0, 0), START))
    return log


def held(folder: Path, applied: int = 0) -> tuple[Entry, ...]:
    restored = opened(folder).load(applied)
    assert restored is not None
    return restored.entries


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1, 1, 2), HardState(2, 3)))
    log.save(persist(entries(4, 2)))
    restored = opened(tmp_path).load(2)
    assert restored is not None
    assert (restored.hard_state, restored.entries, restored.applied) == (HardState(2, 3), entries(1, 1, 1, 2, 2), 2)


def test_a_vote_alone_is_saved(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1)))
    log.save(persist((), HardState(5, 2)))
    restored = opened(tmp_path).load(0)
    assert restored is not None
    assert (restored.hard_state, restored.entries) == (HardState(5, 2), entries(1, 1))


def test_a_conflicting_tail_is_replaced_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1, 1, 1, 1, 1)), persist(entries(6, 1, 1)), persist(entries(3, 2)))
    assert held(tmp_path) == entries(1, 1, 1, 2)


def test_compaction_keeps_what_follows_the_mark(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1, 1, 1)), persist(entries(4, 1, 1, 1)))
    mark = SnapshotMark(5, 1, Configuration((1, 2)))
    log.compact(mark, b"members")
    log.save(persist(entries(7, 1)))
    reopened = opened(tmp_path)
    restored = reopened.load(6)
    assert restored is not None
    assert restored.snapshot == mark
    assert [entry.index for entry in restored.entries] == [6, 7]
    assert reopened.membership() == b"members"


def test_a_snapshot_replaces_the_log(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1, 1, 1)))
    mark = SnapshotMark(9, 4, Configuration((1, 2)))
    log.begin_install(mark, b"newer")
    log.save(persist(entries(10, 4), HardState(4, 0), mark))
    reopened = opened(tmp_path)
    restored = reopened.load(9)
    assert restored is not None
    assert (restored.snapshot, restored.entries) == (mark, entries(10, 4))
    assert reopened.membership() == b"newer"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_crash_during_an_install_leaves_the_old_log_or_the_new(tmp_path: Path, is_replaced: bool) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1, 1, 1), HardState(1, 2)))
    mark = SnapshotMark(9, 4, Configuration((1, 2)))
    log.begin_install(mark, b"newer")
    applied = 9 if is_replaced else 2
    for _ in range(2):
        restored = opened(tmp_path).load(applied)
        assert restored is not None
        if is_replaced:
            assert (restored.snapshot, restored.entries, restored.hard_state) == (mark, (), HardState(4, 0))
        else:
            assert (restored.snapshot, restored.entries) == (START, entries(1, 1, 1, 1))


def test_segments_follow_one_another_and_compaction_deletes_them(tmp_path: Path) -> None:
    log = started(tmp_path)
    for index in range(1, 41):
        log.save(persist(entries(index, 1, data=b"x" * 500)))
    files = sorted(tmp_path.glob("*.log"))
    assert len(files) > 5
    log.compact(SnapshotMark(30, 1, START.configuration), b"")
    assert len(list(tmp_path.glob("*.log"))) < len(files) // 2
    assert [entry.index for entry in held(tmp_path, 30)] == list(range(31, 41))


def test_an_entry_larger_than_a_segment_gets_its_own(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1, data=b"y" * 3 * SMALL)))
    log.save(persist(entries(2, 1)))
    assert [len(entry.data) for entry in held(tmp_path)] == [3 * SMALL, 3]


def test_segments_that_come_back_after_they_were_dropped_do_no_harm(tmp_path: Path) -> None:
    log = started(tmp_path / "log")
    for index in range(1, 31):
        log.save(persist(entries(index, 1, data=b"x" * 500)))
    first = (tmp_path / "log" / FIRST).read_bytes()
    log.compact(SnapshotMark(25, 1, START.configuration), b"")
    (tmp_path / "log" / FIRST).write_bytes(first)
    assert [entry.index for entry in held(tmp_path / "log", 25)] == list(range(26, 31))


def written(folder: Path) -> tuple[bytes, list[int]]:
    """The bytes of a log with three saves, and where each ended."""
    log, ends = started(folder), list[int]()
    for index, data in ((1, b"a" * 1200), (2, b"b" * 40), (3, b"c" * 900)):
        log.save(persist(entries(index, 1, data=data)))
        ends.append(len((folder / FIRST).read_bytes().rstrip(b"\0")))
    return (folder / FIRST).read_bytes(), ends


def test_a_write_torn_at_any_sector_is_forgotten_and_written_over(tmp_path: Path) -> None:
    whole, ends = written(tmp_path / "log")
    begin = -(-ends[1] // 16) * 16
    sectors = [begin, *range(begin - begin % 512 + 512, ends[2], 512), ends[2]]
    for number, (start, stop) in enumerate(pairwise(sectors)):
        for kept in (range(start), (*range(start), *range(stop, ends[2]))):  # the rest, or this sector alone, is lost
            folder = tmp_path / f"{number}-{isinstance(kept, range)}"
            folder.mkdir()
            torn = bytearray(len(whole))
            for place in kept:
                torn[place] = whole[place]
            (folder / FIRST).write_bytes(torn)
            log = opened(folder)
            restored = log.load(0)
            assert restored is not None
            assert [entry.index for entry in restored.entries] == [1, 2]
            log.save(persist(entries(3, 2)))
            assert [entry.term for entry in held(folder)] == [1, 1, 2]


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    whole, ends = written(tmp_path / "log")
    path = tmp_path / "log" / FIRST
    for position in (*range(0, ends[2], 7), ends[2] - 1):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DamagedLog):
            opened(tmp_path / "log").load(0)
    path.write_bytes(whole)
    assert len(held(tmp_path / "log")) == 3


@pytest.mark.parametrize("sector", [0, 1, 2])
def test_a_lost_sector_before_the_last_frame_is_damage(tmp_path: Path, sector: int) -> None:
    whole, _ = written(tmp_path / "log")
    damaged = whole[: sector * 512] + bytes(512) + whole[sector * 512 + 512 :]
    (tmp_path / "log" / FIRST).write_bytes(damaged)
    with pytest.raises(CorruptLog):
        opened(tmp_path / "log").load(0)


def test_a_cut_or_missing_segment_is_noticed(tmp_path: Path) -> None:
    log = started(tmp_path / "log")
    for index in range(1, 31):
        log.save(persist(entries(index, 1, data=b"x" * 500)))
    files = sorted((tmp_path / "log").glob("*.log"))
    for number, path in enumerate(files):
        copy = tmp_path / str(number)
        copytree(tmp_path / "log", copy)
        copyfile(tmp_path / "log-begun", tmp_path / f"{number}-begun")
        (copy / path.name).unlink()
        with pytest.raises(CorruptLog) as refusal:
            opened(copy).load(0)
        assert not isinstance(refusal.value, DamagedLog)  # nothing is wrong with the disk
        assert len(list(copy.glob("*.log"))) == len(files) - 1  # nor has anything been thrown away
    files[-1].write_bytes(files[-1].read_bytes()[:1000])
    with pytest.raises(CorruptLog, match="cut to 1000 bytes"):
        opened(tmp_path / "log").load(0)


def test_a_crash_while_a_segment_begins_loses_nothing(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1)))
    for begun in (b"", bytes(SMALL)):
        (tmp_path / "0000000000000002.log").write_bytes(begun)
        log = opened(tmp_path)
        restored = log.load(0)
        assert restored is not None
        assert restored.entries == entries(1, 1)
    log.save(persist(entries(2, 1, data=b"z" * SMALL)))
    assert len(held(tmp_path)) == 2


def test_a_crash_while_the_first_segment_begins_leaves_a_new_log(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(bytes(SMALL))
    started(tmp_path)
    assert held(tmp_path) == ()


def test_a_state_that_does_not_fit_the_log_is_noticed(tmp_path: Path) -> None:
    started(tmp_path).save(persist(entries(1, 1, 1)))
    with pytest.raises(CorruptLog, match="applied 3"):
        opened(tmp_path).load(3)


def test_a_state_that_was_lost_behind_a_compacted_log_is_told_apart(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.save(persist(entries(1, 1, 1, 1), HardState(1, 2)))
    log.compact(SnapshotMark(2, 1, START.configuration), b"")
    with pytest.raises(StateTooOld, match="applied 0") as refusal:
        opened(tmp_path).load(0)
    assert refusal.value.restored.entries == entries(3, 1)
    assert refusal.value.restored.hard_state == HardState(1, 2)
    assert len(held(tmp_path, 2)) == 1


@pytest.mark.parametrize(("name", "code"), [("fdatasync", 5), ("fdatasync", 28), ("pwrite", 5)])
def test_after_a_sync_or_write_that_failed_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    log = started(tmp_path)

    def fail(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        with pytest.raises(OSError, match=os.strerror(code)):
            log.save(persist(entries(1, 1)))
    with pytest.raises(OSError, match="not written again"):
        log.save(persist(entries(1, 1)))
    assert held(tmp_path) in ((), entries(1, 1))


@pytest.mark.parametrize("written", [0, 3, 700])
def test_a_write_without_room_leaves_nothing_behind_and_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    log, pwrite = started(tmp_path), os.pwrite
    log.save(persist(entries(1, 1)))
    room = written

    def fail(file: int, data: bytes, at: int) -> int:
        nonlocal room
        if not any(data):
            return pwrite(file, data, at)
        if not room:
            raise OSError(28, os.strerror(28))
        count, room = min(room, len(data)), 0
        return pwrite(file, data[:count], at)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", fail)
            with pytest.raises(StoreFull):
                log.save(persist(entries(2, 1, data=b"z" * 900), HardState(2, 2)))
        room = written
    assert held(tmp_path) == entries(1, 1)
    log.save(persist(entries(2, 2), HardState(2, 3)))
    assert held(tmp_path) == (*entries(1, 1), *entries(2, 2))


def test_a_segment_without_room_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = started(tmp_path)

    def fail(file: int, start: int, length: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fail)
        with pytest.raises(StoreFull):
            log.save(persist(entries(1, 1, data=b"z" * SMALL)))
        log.save(persist(entries(1, 1)))  # has room where the other had none
    assert [path.name for path in tmp_path.glob("*.log")] == [FIRST]
    log.save(persist(entries(2, 1, data=b"z" * SMALL)))
    assert len(held(tmp_path)) == 2


def test_segments_are_small_where_the_disk_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Small:
        f_bavail, f_frsize = 20 << 8, 4096  # 20 MiB

    monkeypatch.setattr(os, "statvfs", lambda path: Small)
    log = FileLog(tmp_path)
    opened_logs.append(log)
    assert log.load(0) is None
    log.save(persist((), HardState(0, 0), START))
    assert (tmp_path / FIRST).stat().st_size == 512 << 10
    log.save(persist(entries(1, 1, data=b"z" * (600 << 10))))
    log.save(persist(entries(2, 1)))
    again = FileLog(tmp_path)
    opened_logs.append(again)
    restored = again.load(0)
    assert restored is not None
    assert len(restored.entries) == 2


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_an_older_log_in_a_database_is_taken_over(tmp_path: Path, is_interrupted: bool) -> None:
    store = LmdbStore(tmp_path, TABLES)
    older = RaftLog(store)
    older.save(persist((), HardState(0, 0), START))
    older.save(persist(entries(1, 1, 1, 2), HardState(2, 3)))
    older.compact(SnapshotMark(1, 1, START.configuration), b"members")
    expected = RaftLog(store).load(2)
    store.close()
    if is_interrupted:
        (tmp_path / FIRST).write_bytes(b"half")
    for _ in range(2):
        log = open_log(tmp_path, 2)
        opened_logs.append(log)
        assert log.load(2) == expected
        assert log.membership() == b"members"
        assert not (tmp_path / "data.mdb").exists()


Steps = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6), st.binary(max_size=300)), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=Steps, cut=st.integers(0, 20))
def test_any_sequence_of_saves_and_compactions_equals_a_list(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bytes]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log, model, mark = started(folder), list[Entry](), START
    for term, (size, back, data) in enumerate(steps, 1):
        first = max(mark.index, mark.index + len(model) - back) + 1
        batch = tuple(Entry(first + i, term, EntryKind.COMMAND, data) for i in range(size))
        log.save(persist(batch, HardState(term, 0)))
        model[first - mark.index - 1 :] = batch
        if back == 0:
            middle = len(model) // 2
            mark = SnapshotMark(model[middle].index, model[middle].term, START.configuration)
            log.compact(mark, b"")
            model = model[middle + 1 :]
        if term == cut:
            log.close()
            log = opened(folder)
            assert log.load(mark.index) is not None
    restored = opened(folder).load(mark.index)
    assert restored is not None
    assert (restored.snapshot, list(restored.entries)) == (mark, model)
