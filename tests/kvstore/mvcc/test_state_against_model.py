"""Random commands, restarts, snapshots and scrubs: the state machine and its dumb twin agree on every answer."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvstore.mvcc import checks, commands, layout
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.leases import LeaseRecord, encode_expiry
from kvstore.mvcc.model import Model
from kvstore.mvcc.state import StateMachine
from kvstore.mvcc.working import Outcome, Turn
from kvstore.pb import rpc_pb2 as rpc
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.storage.lmdb_store import LmdbStore
from kvstore.storage.memory import MemoryStore
from kvstore.storage.port import OrderedStore
from tests.kvstore.mvcc.strategies import deletes, puts, ranges, txns

TERM = 7


def whole(outcome: Outcome | Iterator[Outcome | None]) -> Outcome:
    """Return what a read comes to, in one go or in steps."""
    return outcome if isinstance(outcome, Outcome) else next(step for step in outcome if step is not None)


class _Comparison(RuleBasedStateMachine):
    """Commands go to both; the log is kept so that a crash can be replayed."""

    def make_store(self) -> OrderedStore:
        raise NotImplementedError

    def crash(self) -> None:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.store = self.make_store()
        self.state = StateMachine(self.store)
        self.state.on_turn(self.on_turn)
        self.model = Model()
        self.log: list[tuple[int, int, bytes]] = []
        self.index = 0
        self.told: list[Turn] = []

    def on_turn(self, turn: Turn) -> None:
        self.told.append(turn)

    def apply(self, command: bytes, request: object) -> Outcome:
        self.index += 1
        payload = request if isinstance(request, bytes) else request.SerializeToString()  # type: ignore[attr-defined]
        self.log.append((self.index, TERM, command + payload))
        return self.state.apply(*self.log[-1])

    def agree(self, outcome: Outcome, expected: object, response: Callable[[], object]) -> None:
        assert outcome.revision == self.model.revision
        if isinstance(expected, Failure):
            assert outcome.failure == expected
        else:
            assert outcome.failure is None
            assert response() == expected

    @rule(request=puts())
    def put(self, request: rpc.PutRequest) -> None:
        expected = self.model.put(request)
        outcome = self.apply(commands.PUT, request)
        self.agree(outcome, expected, lambda: rpc.PutResponse.FromString(outcome.body))

    @rule(request=deletes())
    def delete(self, request: rpc.DeleteRangeRequest) -> None:
        expected = self.model.delete_range(request)
        outcome = self.apply(commands.DELETE_RANGE, request)
        self.agree(outcome, expected, lambda: rpc.DeleteRangeResponse.FromString(outcome.body))

    @rule(request=txns())
    def txn(self, request: rpc.TxnRequest) -> None:
        if checks.check_txn(request) is not None:
            return
        expected = self.model.txn(request)
        if checks.is_read_only(request):
            outcome = whole(self.state.read_txn(request))
        else:
            outcome = self.apply(commands.TXN, request)
        self.agree(outcome, expected, lambda: rpc.TxnResponse.FromString(outcome.body))

    @rule(request=ranges())
    def range(self, request: rpc.RangeRequest) -> None:
        expected = self.model.range(request)
        found = self.state.range(request)
        if isinstance(found, Failure):
            assert found == expected
        else:
            assert rpc.RangeResponse.FromString(found.body()) == expected

    @rule(revision=st.integers(0, 40))
    def compact(self, revision: int) -> None:
        expected = self.model.compact(revision)
        assert self.apply(commands.COMPACT, rpc.CompactionRequest(revision=revision)).failure == expected

    @rule(slice_events=st.integers(1, 5))
    def scrub(self, slice_events: int) -> None:
        before = self.state.hash_key_values(0)
        self.state.scrub(slice_events)
        assert self.state.hash_key_values(0) == before

    @rule(lease=st.integers(1, 3))
    def grant(self, lease: int) -> None:
        expected = self.model.grant(lease, 60)
        outcome = self.apply(commands.LEASE_GRANT, rpc.LeaseGrantRequest(ID=lease, TTL=60))
        assert outcome.failure == expected
        if expected is None:
            assert rpc.LeaseGrantResponse.FromString(outcome.body) == rpc.LeaseGrantResponse(ID=lease, TTL=60)

    @rule(lease=st.integers(1, 3))
    def revoke(self, lease: int) -> None:
        expected = self.model.revoke(lease)
        assert self.apply(commands.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease)).failure == expected

    @rule(lease=st.integers(1, 3), term=st.sampled_from([TERM, TERM, TERM - 1]), stale=st.booleans())
    def expire(self, lease: int, term: int, stale: bool) -> None:
        record = self.state.lease(lease)
        if record is None:
            return
        generation = record.granted_index - stale
        if term == TERM and not stale:
            self.model.revoke(lease)
        payload = encode_expiry(term, [LeaseRecord(lease, 60, generation)])
        assert self.apply(commands.LEASE_EXPIRE, payload).failure is None

    @rule()
    def end_turn(self) -> None:
        self.state.end_of_turn()

    @rule()
    def commit(self) -> None:
        assert self.state.commit() == self.index

    @rule()
    def restart_after_a_crash(self) -> None:
        self.crash()
        self.state = StateMachine(self.store)
        for entry in self.log[self.state.applied_index :]:
            self.state.apply(*entry)
        self.state.end_of_turn()
        self.told.clear()
        self.state.on_turn(self.on_turn)

    @rule()
    def move_to_another_store(self) -> None:
        self.state.end_of_turn()
        self.state.commit()
        other = StateMachine(MemoryStore(layout.TABLES))
        other.restore(self.state.snapshot())
        assert other.hash_key_values(0) == self.state.hash_key_values(0)
        assert (other.revision, other.compacted, other.applied_index, other.applied_term) == (
            self.state.revision,
            self.state.compacted,
            self.state.applied_index,
            self.state.applied_term,
        )

    @invariant()
    def leases_agree(self) -> None:
        if not hasattr(self, "state"):
            return
        assert {one.lease: one.ttl_seconds for one in self.state.leases()} == self.model.lease_ttls
        for lease in self.model.lease_ttls:
            assert self.state.lease_keys(lease) == self.model.lease_keys(lease)

    @invariant()
    def events_agree(self) -> None:
        if not hasattr(self, "state"):
            return
        first = max(self.model.compacted, 2)
        past = dict(self.state.events(first, self.model.revision))
        expected = {revision: self.model.events[revision] for revision in range(first, self.model.revision + 1)}
        assert {revision: list(names) for revision, names in past.items()} == expected
        for revision, names in past.items():
            for is_delete, key in names:
                self.check_change(revision, is_delete, key)

    def check_change(self, revision: int, is_delete: bool, key: bytes) -> None:
        change = self.state.change(revision, is_delete, key, with_previous=True)
        alive = self.model.states[revision].get(key)
        if not is_delete and alive is not None:
            assert KeyValue.FromString(change.key_value) == alive
        if is_delete:
            assert KeyValue.FromString(change.key_value) == KeyValue(key=key, mod_revision=revision)
        before = self.model.states[revision - 1].get(key)
        is_creation = not is_delete and KeyValue.FromString(change.key_value).version == 1
        if before is None or is_creation or revision - 1 < self.model.compacted:
            assert change.previous is None
        else:
            assert change.previous == before.SerializeToString()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.check_turns()
            self.store.close()

    def check_turns(self) -> None:
        """What listeners were told is what the past says."""
        self.state.end_of_turn()
        for turn in self.told:
            for revision, changes in turn.revisions:
                assert [(one.is_delete, one.key) for one in changes] == self.model.events[revision]
                if revision - 1 >= max(self.model.compacted, 1):
                    again = [self.state.change(revision, *one[:2], with_previous=True) for one in changes]
                    assert again == list(changes)


class OnMemory(_Comparison):
    def make_store(self) -> OrderedStore:
        self.memory = MemoryStore(layout.TABLES)
        return self.memory

    def crash(self) -> None:
        self.memory.crash()


class OnLmdb(_Comparison):
    def make_store(self) -> OrderedStore:
        self.directory = Path(tempfile.mkdtemp(prefix="mvcc-"))
        return LmdbStore(self.directory, layout.TABLES)

    def crash(self) -> None:
        self.store.close()
        self.store = LmdbStore(self.directory, layout.TABLES)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory)


OnMemory.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
OnLmdb.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


class TestTheStateMachineAgreesWithItsModelInMemory(OnMemory.TestCase):  # type: ignore[misc]
    pass


class TestTheStateMachineAgreesWithItsModelOnLmdb(OnLmdb.TestCase):  # type: ignore[misc]
    pass


@pytest.mark.slow
def test_many_more_random_histories_agree() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(OnMemory, settings=settings(max_examples=400, stateful_step_count=50, deadline=None))
