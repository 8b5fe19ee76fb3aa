"""The state machine at its edges: a full store, a damaged snapshot, an old revision, keys as long as they like."""

import pytest

from kvstore.mvcc import checks, commands, errors, layout
from kvstore.mvcc.state import StateMachine
from kvstore.mvcc.working import Outcome, Turn
from kvstore.pb import rpc_pb2 as rpc
from kvstore.storage.memory import MemoryStore
from kvstore.storage.snapshots import BadSnapshot


class Driver:
    """Applies requests as entries of a log."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore(layout.TABLES)
        self.state = StateMachine(self.store)
        self.turns: list[Turn] = []
        self.state.on_turn(self.turns.append)

    def apply(self, command: bytes, payload: bytes, term: int = 1) -> Outcome:
        return self.state.apply(self.state.applied_index + 1, term, command + payload)

    def put(self, key: bytes, value: bytes = b"", **fields: int) -> Outcome:
        return self.apply(commands.PUT, rpc.PutRequest(key=key, value=value, **fields).SerializeToString())  # type: ignore[arg-type]

    def txn(self, *success: rpc.RequestOp) -> Outcome:
        request = rpc.TxnRequest(success=success)
        failure = checks.check_txn(request)
        if failure is not None:
            return Outcome(self.state.revision, failure=failure)
        return self.apply(commands.TXN, request.SerializeToString())


@pytest.fixture
def driver() -> Driver:
    return Driver()


def put_operation(key: bytes) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key))


def delete_operation(key: bytes, range_end: bytes = b"") -> rpc.RequestOp:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=range_end))


def nested(*operations: rpc.RequestOp, otherwise: tuple[rpc.RequestOp, ...] = ()) -> rpc.RequestOp:
    return rpc.RequestOp(request_txn=rpc.TxnRequest(success=operations, failure=otherwise))


def test_a_full_store_refuses_the_write_and_keeps_all_before_it() -> None:
    driver = Driver(MemoryStore(layout.TABLES, limit_bytes=100_000))
    outcomes = [driver.put(b"key %03d" % number, bytes(1000)) for number in range(200)]
    refused = [outcome for outcome in outcomes if outcome.failure is not None]
    assert refused
    assert {outcome.failure for outcome in refused} == {errors.NO_SPACE}
    kept = len(outcomes) - len(refused)
    assert driver.state.revision == 1 + kept
    assert driver.state.applied_index == 200
    driver.state.end_of_turn()
    assert [revision for revision, _ in driver.turns[0].revisions] == list(range(2, 2 + kept))
    driver.store.crash()
    assert StateMachine(driver.store).revision == 1 + kept


def test_a_damaged_snapshot_changes_nothing(driver: Driver) -> None:
    driver.put(b"a")
    driver.state.commit()
    driver.put(b"b")
    other = Driver()
    other.put(b"c")
    other.state.commit()
    stream = b"".join(other.state.snapshot())
    with pytest.raises(BadSnapshot):
        driver.state.restore([stream[:-1]])
    assert driver.state.newest(b"a")
    assert driver.state.newest(b"b")
    assert driver.state.newest(b"c") is None
    driver.state.restore([stream])
    assert driver.state.newest(b"b") is None
    assert driver.state.newest(b"c")
    assert driver.turns[-1].restored


def test_a_snapshot_shows_the_moment_it_was_asked_for(driver: Driver) -> None:
    driver.put(b"a", b"before")
    driver.state.commit()
    chunks = driver.state.snapshot()
    driver.put(b"a", b"after")
    driver.state.commit()
    other = Driver()
    other.state.restore(chunks)
    assert other.state.newest(b"a").endswith(b"before")  # type: ignore[union-attr]


def test_a_put_and_a_delete_of_one_key_in_two_nested_transactions_share_a_revision(driver: Driver) -> None:
    outcome = driver.txn(nested(put_operation(b"a")), nested(delete_operation(b"a")))
    assert outcome.failure is None
    assert outcome.revision == 2
    assert list(driver.state.events(2, 2)) == [(2, ((False, b"a"), (True, b"a")))]
    assert driver.state.newest(b"a") is None
    assert driver.state.change(2, False, b"a", with_previous=False).key_value


@pytest.mark.parametrize(
    "operations",
    [
        (put_operation(b"a"), put_operation(b"a")),
        (put_operation(b"b"), delete_operation(b"a", b"c")),
        (delete_operation(b"b"), nested(put_operation(b"b"))),
        (delete_operation(b"a", b"c"), nested(put_operation(b"b"))),
        (put_operation(b"a"), nested(put_operation(b"a"))),
        (nested(put_operation(b"a")), nested(put_operation(b"a"))),
        (nested(delete_operation(b"a")), nested(put_operation(b"a"))),
    ],
)
def test_a_key_that_would_change_twice_is_refused(driver: Driver, operations: tuple[rpc.RequestOp, ...]) -> None:
    assert driver.txn(*operations).failure == errors.DUPLICATE_KEY


@pytest.mark.parametrize(
    "operations",
    [
        (delete_operation(b"a"), delete_operation(b"a", b"c")),
        (delete_operation(b"a", b"\0"), put_operation(b"a")),
        (nested(put_operation(b"a"), otherwise=(put_operation(b"a"),)),),
    ],
)
def test_deletes_may_overlap_and_branches_exclude_each_other(
    driver: Driver, operations: tuple[rpc.RequestOp, ...]
) -> None:
    assert driver.txn(*operations).failure is None


def test_a_key_deleted_and_put_again_in_one_revision_lives_on_as_a_new_one(driver: Driver) -> None:
    driver.put(b"b", b"old")
    assert driver.txn(delete_operation(b"a", b"\0"), put_operation(b"b")).failure is None
    driver.put(b"b", b"newer")
    found = driver.state.range(rpc.RangeRequest(key=b"b", revision=3))
    assert not isinstance(found, errors.Failure)
    (pair,) = rpc.RangeResponse.FromString(found.body()).kvs
    assert (pair.create_revision, pair.version, pair.value) == (3, 1, b"")
    driver.apply(commands.COMPACT, rpc.CompactionRequest(revision=3).SerializeToString())
    while driver.state.scrub(100):
        pass
    assert driver.state.range(rpc.RangeRequest(key=b"b", revision=3)) == found


def test_a_nested_transaction_gets_what_its_parent_leaves_of_the_128_operations(driver: Driver) -> None:
    def many(count: int) -> list[rpc.RequestOp]:
        return [put_operation(b"key %d" % number) for number in range(count)]

    assert driver.txn(*many(128)).failure is None
    assert driver.txn(*many(129)).failure == errors.TOO_MANY_OPERATIONS
    assert driver.txn(*many(126), nested(put_operation(b"one"))).failure is None
    assert driver.txn(*many(127), nested(put_operation(b"one"))).failure == errors.TOO_MANY_OPERATIONS
    assert driver.txn(rpc.RequestOp()).failure == errors.KEY_NOT_FOUND


def test_a_far_past_is_found_without_reading_all_events(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvstore.mvcc.history.MAX_EVENTS_READ_BACK", 0)
    driver.put(b"a", b"1")
    driver.put(b"b\0", b"1")
    then = driver.state.revision
    driver.txn(delete_operation(b"a", b"\0"))
    driver.put(b"b\0", b"2")
    driver.put(b"c", b"2")
    found = driver.state.range(rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=then))
    assert not isinstance(found, errors.Failure)
    answer = rpc.RangeResponse.FromString(found.body())
    assert [(pair.key, pair.value) for pair in answer.kvs] == [(b"a", b"1"), (b"b\0", b"1")]
    assert answer.count == 2


def test_a_turn_without_changes_is_not_told(driver: Driver) -> None:
    driver.state.end_of_turn()
    driver.state.skip(1, 1)
    driver.state.end_of_turn()
    assert driver.turns == []
    assert driver.state.applied_index == 1
