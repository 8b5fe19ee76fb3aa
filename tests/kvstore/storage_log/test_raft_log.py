"""RaftLog against a dumb model, and against damage."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvstore.raft.configuration import Configuration
from kvstore.raft.packing import pack_entries, unpack_entries
from kvstore.raft.types import Entry, EntryKind, HardState, Persist, SnapshotMark
from kvstore.storage.lmdb_store import LmdbStore
from kvstore.storage.memory import MemoryStore
from kvstore.storage.port import OrderedStore
from kvstore.storage.raft_log import TABLES, CorruptLog, RaftLog

START = SnapshotMark(0, 0, Configuration((1, 2, 3)))


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OrderedStore]:
    opened: OrderedStore = MemoryStore(TABLES) if request.param == "memory" else LmdbStore(tmp_path, TABLES)
    yield opened
    opened.close()


def entries(first: int, *terms: int) -> tuple[Entry, ...]:
    return tuple(Entry(first + i, term, EntryKind.COMMAND, b"%d/%d" % (first + i, term)) for i, term in enumerate(terms))


def persist(number: int, new: tuple[Entry, ...] = (), state: HardState | None = None,
            mark: SnapshotMark | None = None) -> Persist:
    return Persist(number, state, new, mark)


def started(store: OrderedStore) -> RaftLog:
    log = RaftLog(store)
    assert log.load(0) is None
    log.save(persist(1, (), HardState(0, 0), START))
    return log


def test_what_was_saved_is_loaded(store: OrderedStore) -> None:
    log = started(store)
    log.save(persist(2, entries(1, 1, 1, 2), HardState(2, 3)))
    log.save(persist(3, entries(4, 2)))
    restored = RaftLog(store).load(2)
    assert restored is not None
    assert restored.hard_state == HardState(2, 3)
    assert restored.entries == entries(1, 1, 1, 2, 2)
    assert restored.applied == 2


def test_a_conflicting_tail_is_replaced_in_the_middle_of_a_batch(store: OrderedStore) -> None:
    log = started(store)
    log.save(persist(2, entries(1, 1, 1, 1, 1, 1)))
    log.save(persist(3, entries(6, 1, 1)))
    log.save(persist(4, entries(3, 2)))
    restored = RaftLog(store).load(0)
    assert restored is not None
    assert restored.entries == entries(1, 1, 1, 2)


def test_compaction_keeps_what_follows_the_mark(store: OrderedStore) -> None:
    log = started(store)
    log.save(persist(2, entries(1, 1, 1, 1)))
    log.save(persist(3, entries(4, 1, 1, 1)))
    mark = SnapshotMark(5, 1, Configuration((1, 2)))
    log.compact(mark, b"members")
    log.save(persist(4, entries(7, 1)))
    reopened = RaftLog(store)
    restored = reopened.load(6)
    assert restored is not None
    assert restored.snapshot == mark
    assert [entry.index for entry in restored.entries] == [6, 7]
    assert reopened.membership() == b"members"


def test_a_snapshot_replaces_the_log(store: OrderedStore) -> None:
    log = started(store)
    log.save(persist(2, entries(1, 1, 1, 1)))
    mark = SnapshotMark(9, 4, Configuration((1, 2)))
    log.begin_install(mark, b"newer")
    log.save(persist(3, entries(10, 4), HardState(4, 0), mark))
    reopened = RaftLog(store)
    restored = reopened.load(9)
    assert restored is not None
    assert restored.snapshot == mark
    assert restored.entries == entries(10, 4)
    assert reopened.membership() == b"newer"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_crash_during_an_install_leaves_the_old_log_or_the_new(store: OrderedStore, is_replaced: bool) -> None:
    log = started(store)
    log.save(persist(2, entries(1, 1, 1, 1), HardState(1, 2)))
    mark = SnapshotMark(9, 4, Configuration((1, 2)))
    log.begin_install(mark, b"newer")
    restored = RaftLog(store).load(9 if is_replaced else 2)
    assert restored is not None
    if is_replaced:
        assert (restored.snapshot, restored.entries, restored.hard_state) == (mark, (), HardState(4, 0))
    else:
        assert (restored.snapshot, restored.entries) == (START, entries(1, 1, 1, 1))


def test_a_flipped_bit_is_noticed(store: OrderedStore) -> None:
    log = started(store)
    log.save(persist(2, entries(1, 1, 1, 1)))
    view = store.view()
    records = [(table, key, value) for table in TABLES for key, value in view.scan(table)]
    view.close()
    assert len(records) == 3
    for table, key, value in records:
        for position in (0, len(value) // 2, len(value) - 1):
            damaged = value[:position] + bytes([value[position] ^ 4]) + value[position + 1 :]
            write(store, table, key, damaged)
            with pytest.raises(CorruptLog):
                RaftLog(store).load(0)
        write(store, table, key, value)
    assert RaftLog(store).load(0) is not None


@pytest.mark.parametrize("lost", [1, 3, 5])
def test_a_missing_record_is_noticed(store: OrderedStore, lost: int) -> None:
    log = started(store)
    for first in (1, 3, 5):
        log.save(persist(2, entries(first, 1, 1)))
    transaction = store.begin()
    assert transaction.delete("entries", lost.to_bytes(8, "big"))
    transaction.commit()
    with pytest.raises(CorruptLog):
        RaftLog(store).load(0)


def test_a_state_that_does_not_fit_the_log_is_noticed(store: OrderedStore) -> None:
    started(store).save(persist(2, entries(1, 1, 1)))
    with pytest.raises(CorruptLog, match="applied 3"):
        RaftLog(store).load(3)


def write(store: OrderedStore, table: str, key: bytes, value: bytes) -> None:
    transaction = store.begin()
    transaction.put(table, key, value)
    transaction.commit()


Batches = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6), st.binary(max_size=3)), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=Batches)
def test_any_sequence_of_saves_and_compactions_equals_a_list(steps: list[tuple[int, int, bytes]]) -> None:
    store = MemoryStore(TABLES)
    log, model, mark = started(store), list[Entry](), START
    for term, (size, back, data) in enumerate(steps, 1):
        first = max(mark.index, mark.index + len(model) - back) + 1
        batch = tuple(Entry(first + i, term, EntryKind.COMMAND, data) for i in range(size))
        log.save(persist(term, batch, HardState(term, 0)))
        model[first - mark.index - 1 :] = batch
        if back == 0:
            cut = len(model) // 2
            mark = SnapshotMark(model[cut].index, model[cut].term, START.configuration)
            log.compact(mark, b"")
            model = model[cut + 1 :]
    restored = RaftLog(store).load(mark.index)
    assert restored is not None
    assert (restored.snapshot, list(restored.entries)) == (mark, model)


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(EntryKind), st.binary(max_size=9)), max_size=30))
def test_packed_entries_come_back(given_entries: list[tuple[int, EntryKind, bytes]]) -> None:
    whole = tuple(Entry(7 + i, *fields) for i, fields in enumerate(given_entries))
    assert unpack_entries(7, pack_entries(whole)) == whole
