"""The contract of the OrderedStore port, run on every implementation."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvstore.storage.lmdb_store import LmdbStore
from kvstore.storage.memory import MemoryStore
from kvstore.storage.port import OrderedStore, StoreFull

TABLES = ("one", "two")
LONG = b"k" * 511


@pytest.fixture(params=["memory", "lmdb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., OrderedStore]]:
    opened: list[OrderedStore] = []

    def build(**options: Any) -> OrderedStore:
        path = tmp_path / str(len(opened))
        store = MemoryStore(TABLES, **options) if request.param == "memory" else LmdbStore(path, TABLES, **options)
        opened.append(store)
        return store

    yield build
    for store in opened:
        store.close()


@pytest.fixture
def store(make: Callable[..., OrderedStore]) -> OrderedStore:
    return make()


def fill(store: OrderedStore, *keys: bytes, table: str = "one") -> None:
    transaction = store.begin()
    for key in keys:
        transaction.put(table, key, b"=" + key)
    transaction.commit()


def test_a_transaction_reads_its_own_writes_and_others_see_them_after_the_commit(store: OrderedStore) -> None:
    transaction = store.begin()
    transaction.put("one", b"a", b"1")
    assert transaction.get("one", b"a") == b"1"
    before = store.view()
    assert before.get("one", b"a") is None
    transaction.commit()
    after = store.view()
    assert after.get("one", b"a") == b"1"
    assert before.get("one", b"a") is None
    before.close()
    after.close()


def test_an_abort_forgets_everything(store: OrderedStore) -> None:
    fill(store, b"a", b"b")
    transaction = store.begin()
    transaction.delete("one", b"a")
    transaction.put("one", b"c", b"")
    transaction.abort()
    transaction.abort()
    view = store.view()
    assert list(view.keys("one")) == [b"a", b"b"]
    view.close()


def test_tables_are_apart(store: OrderedStore) -> None:
    fill(store, b"a", table="one")
    fill(store, b"b", table="two")
    view = store.view()
    assert list(view.keys("one")) == [b"a"]
    assert list(view.keys("two")) == [b"b"]
    view.close()
    assert store.tables == TABLES


def test_a_second_write_transaction_is_a_bug(store: OrderedStore) -> None:
    transaction = store.begin()
    with pytest.raises(AssertionError):
        store.begin()
    transaction.abort()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_covers_start_and_stops_before_end(store: OrderedStore, reverse: bool) -> None:
    fill(store, b"a", b"b", b"b\0", b"c", b"\xff\xff")
    view = store.view()

    def scan(start: bytes, end: bytes | None) -> list[bytes]:
        found = [key for key, value in view.scan("one", start, end, reverse=reverse) if value == b"=" + key]
        return found[::-1] if reverse else found

    assert scan(b"", None) == [b"a", b"b", b"b\0", b"c", b"\xff\xff"]
    assert scan(b"b", b"c") == [b"b", b"b\0"]
    assert scan(b"b", b"b") == []
    assert scan(b"c", b"a") == []
    assert scan(b"bb", b"zz") == [b"c"]
    assert scan(b"d", None) == [b"\xff\xff"]
    assert scan(b"", b"a") == []
    view.close()


def test_an_append_is_a_put_at_the_end(store: OrderedStore) -> None:
    transaction = store.begin()
    transaction.append("one", b"a", b"1")
    transaction.append("one", b"b", b"2")
    with pytest.raises(AssertionError):
        transaction.append("one", b"a", b"3")
    assert list(transaction.scan("one")) == [(b"a", b"1"), (b"b", b"2")]
    transaction.abort()


def test_keys_longer_than_the_engine_knows_keep_their_order(store: OrderedStore) -> None:
    keys = sorted([LONG, LONG + b"a", LONG + b"\0", LONG[:-1], LONG[:-1] + b"l", LONG + b"b" * 5000, b"k", b"l"])
    fill(store, *keys)
    view = store.view()
    assert list(view.keys("one")) == keys
    assert [key for key, _ in view.scan("one", reverse=True)] == keys[::-1]
    assert [view.get("one", key) for key in keys] == [b"=" + key for key in keys]
    assert view.get("one", LONG + b"c") is None
    assert list(view.keys("one", LONG + b"a", LONG + b"b" * 5000)) == [LONG + b"a"]
    assert view.last("one", LONG, LONG + b"a") == (LONG + b"\0", b"=" + LONG + b"\0")
    assert view.count("one", LONG) == 6
    view.close()


def test_a_durable_commit_is_there_after_reopening(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "db", TABLES)
    fill(store, b"a")
    left_open = store.begin()
    left_open.put("one", b"b", b"")
    store.close()
    store.close()
    again = LmdbStore(tmp_path / "db", TABLES)
    view = again.view()
    assert list(view.keys("one")) == [b"a"]
    view.close()
    again.close()


def test_a_crash_of_the_memory_store_undoes_what_was_not_durable() -> None:
    store = MemoryStore(TABLES)
    fill(store, b"a")
    transaction = store.begin()
    transaction.put("one", b"b", b"")
    transaction.commit(durable=False)
    store.begin().put("one", b"c", b"")
    store.crash()
    assert list(store.view().keys("one")) == [b"a"]
    transaction = store.begin()
    transaction.put("one", b"d", b"")
    transaction.commit(durable=False)
    store.sync()
    store.crash()
    assert list(store.view().keys("one")) == [b"a", b"d"]


def test_a_full_store_says_so_and_goes_on_after_the_abort(make: Callable[..., OrderedStore]) -> None:
    store = make(limit_bytes=1 << 20)
    fill(store, b"a")
    transaction = store.begin()
    with pytest.raises(StoreFull):
        for number in range(100):
            transaction.put("one", b"key %d" % number, bytes(64 << 10))
    transaction.abort()
    fill(store, b"b")
    view = store.view()
    assert list(view.keys("one")) == [b"a", b"b"]
    view.close()
    size = store.size()
    assert 0 < size.used <= size.allocated <= size.limit == 1 << 20


def test_used_bytes_fall_when_keys_go(store: OrderedStore) -> None:
    fill(store, *(b"key %04d" % number + bytes(300) for number in range(500)))
    full = store.size().used
    transaction = store.begin()
    assert transaction.delete_range("one", b"key 0100", b"key 0500") == 400
    assert store.size().used < full / 2
    transaction.commit()
    assert store.size().used < full / 2


def test_clear_empties_one_table(store: OrderedStore) -> None:
    fill(store, b"a", LONG + b"b", table="one")
    fill(store, b"c", table="two")
    transaction = store.begin()
    transaction.clear("one")
    assert transaction.count("one") == 0
    transaction.put("one", b"d", b"")
    transaction.commit()
    view = store.view()
    assert list(view.keys("one")) == [b"d"]
    assert list(view.keys("two")) == [b"c"]
    view.close()


KEYS = st.one_of(st.sampled_from([b"a", b"b", b"ab", b"a\0", b"\xff", LONG, LONG + b"a", LONG + b"b", LONG[:-1]]))
ENDS = st.one_of(st.none(), KEYS)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=4)),
        st.tuples(st.just("delete"), KEYS, st.none()),
        st.tuples(st.just("delete_range"), KEYS, ENDS),
        st.tuples(st.just("scan"), KEYS, ENDS),
        st.tuples(st.sampled_from(["commit", "abort"]), st.none(), st.none()),
    ),
    max_size=40,
)


@given(operations=OPERATIONS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_operations_agrees_with_a_dict(
    make: Callable[..., OrderedStore], operations: list[tuple[str, Any, Any]]
) -> None:
    store = make()
    committed: dict[bytes, bytes] = {}
    model: dict[bytes, bytes] = {}
    transaction = store.begin()
    for name, first, second in operations:
        within = [key for key in sorted(model) if first is not None and first <= key and (not second or key < second)]
        if name == "put":
            transaction.put("one", first, second)
            model[first] = second
        elif name == "delete":
            assert transaction.delete("one", first) == (model.pop(first, None) is not None)
        elif name == "delete_range":
            assert transaction.delete_range("one", first, second) == len(within)
            model = {key: value for key, value in model.items() if key not in within}
        elif name == "scan":
            expected = [(key, model[key]) for key in within]
            assert list(transaction.scan("one", first, second)) == expected
            assert list(transaction.scan("one", first, second, reverse=True)) == expected[::-1]
            assert list(transaction.keys("one", first, second)) == within
            assert transaction.count("one", first, second) == len(within)
            assert transaction.last("one", first, second) == (expected[-1] if expected else None)
        else:
            getattr(transaction, name)()
            model = dict(model if name == "commit" else committed)
            committed = dict(model)
            transaction = store.begin()
    assert dict(transaction.scan("one")) == model
    store.close()
