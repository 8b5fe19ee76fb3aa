"""The state through etcd's format and back: nothing that a client can ask for differs."""

import hashlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kvstore.mvcc import checks, commands, layout
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.state import StateMachine
from kvstore.pb import rpc_pb2 as rpc
from kvstore.storage import etcd_snapshot
from kvstore.storage.bbolt import BoltFile
from kvstore.storage.etcd_restore import Bump, check_hash, restore_state
from kvstore.storage.etcd_snapshot import EtcdSnapshot
from kvstore.storage.memory import MemoryStore
from tests.kvstore.mvcc.strategies import deletes, puts, txns


def exported(store: MemoryStore) -> bytes:
    snapshot = EtcdSnapshot(store.view())
    for _ in snapshot.prepare():
        pass
    *pieces, checksum = snapshot.pieces()
    snapshot.close()
    content = b"".join(pieces)
    assert len(content) == snapshot.size_bytes
    assert checksum == hashlib.sha256(content).digest()
    return content + checksum


def imported(content: bytes, bump: Bump | None = None) -> StateMachine:
    check_hash(content)
    store = MemoryStore(layout.TABLES)
    restore_state(BoltFile(content), store, index=1, term=1, bump=bump or Bump())
    return StateMachine(store)


def everything(revision: int = 0) -> rpc.RangeRequest:
    return rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)


def answer(state: StateMachine, request: rpc.RangeRequest) -> bytes | Failure:
    found = state.range(request)
    return found if isinstance(found, Failure) else found.body()


class RoundTrip(RuleBasedStateMachine):
    """Random commands; at any moment a copy through a snapshot answers as the state itself."""

    @initialize()
    def begin(self) -> None:
        self.store = MemoryStore(layout.TABLES)
        self.state = StateMachine(self.store)
        self.index = 0

    def apply(self, command: bytes, request: object) -> None:
        self.index += 1
        self.state.apply(self.index, 3, command + request.SerializeToString())  # type: ignore[attr-defined]

    @rule(request=puts())
    def put(self, request: rpc.PutRequest) -> None:
        if checks.check_put(request) is None:
            self.apply(commands.PUT, request)

    @rule(request=deletes())
    def delete(self, request: rpc.DeleteRangeRequest) -> None:
        self.apply(commands.DELETE_RANGE, request)

    @rule(request=txns())
    def txn(self, request: rpc.TxnRequest) -> None:
        if checks.check_txn(request, 128) is None:
            self.apply(commands.TXN, request)

    @rule(lease=st.integers(1, 3), ttl=st.integers(2, 1 << 40))
    def grant(self, lease: int, ttl: int) -> None:
        self.apply(commands.LEASE_GRANT, rpc.LeaseGrantRequest(ID=lease, TTL=ttl))

    @rule(lease=st.integers(1, 3))
    def revoke(self, lease: int) -> None:
        self.apply(commands.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease))

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        self.apply(commands.COMPACT, rpc.CompactionRequest(revision=self.state.revision - back))

    @rule(slice_events=st.integers(1, 4))
    def scrub(self, slice_events: int) -> None:
        self.state.scrub(slice_events)

    @rule()
    def copy(self) -> None:
        self.state.commit()
        content = exported(self.store)
        copy = imported(content)
        assert (copy.revision, copy.compacted) == (self.state.revision, self.state.compacted)
        assert copy.is_scrubbed
        for revision in range(self.state.compacted, self.state.revision + 1):
            assert answer(copy, everything(revision)) == answer(self.state, everything(revision))
        first = self.state.compacted + 1
        assert list(copy.events(first, copy.revision)) == list(self.state.events(first, copy.revision))
        for lease in self.state.leases():
            assert copy.lease_keys(lease.lease) == self.state.lease_keys(lease.lease)
        assert [(one.lease, one.ttl_seconds) for one in copy.leases()] == [
            (one.lease, one.ttl_seconds) for one in self.state.leases()
        ]
        assert exported_again(copy) == list(BoltFile(content).records(b"key"))
        assert copy.hash_key_values(0) == self.state.hash_key_values(0)


def exported_again(state: StateMachine) -> list[tuple[bytes, bytes]]:
    store = state._store
    assert isinstance(store, MemoryStore)
    state.commit()
    return list(BoltFile(exported(store)).records(b"key"))


TestRoundTrip = RoundTrip.TestCase
TestRoundTrip.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def written(*requests: tuple[bytes, object]) -> tuple[MemoryStore, StateMachine]:
    store = MemoryStore(layout.TABLES)
    state = StateMachine(store)
    for number, (command, request) in enumerate(requests, 1):
        state.apply(number, 1, command + request.SerializeToString())  # type: ignore[attr-defined]
    state.commit()
    return store, state


def put(key: bytes, value: bytes = b"v") -> tuple[bytes, rpc.PutRequest]:
    return commands.PUT, rpc.PutRequest(key=key, value=value)


def test_restored_revisions_start_far_above_the_snapshot_and_all_below_is_compacted() -> None:
    store, state = written(put(b"a"), put(b"a", b"2"), put(b"b"))
    copy = imported(exported(store), Bump(1000, marks_compacted=True))
    assert copy.revision == state.revision + 1000
    assert copy.compacted == copy.revision
    assert answer(copy, everything()) == answer(state, everything())
    outcome = copy.apply(2, 1, commands.PUT + rpc.PutRequest(key=b"c").SerializeToString())
    assert outcome.revision == state.revision + 1001


def test_survivors_of_a_compaction_are_sorted_by_revision_in_runs_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_snapshot, "RUN_ROWS", 7)
    monkeypatch.setattr(etcd_snapshot, "RUN_BUFFER_BYTES", 64)
    names = [b"%d" % (number * 7919 % 1000) + b"x" * (number % 90) for number in range(1000)]
    store, state = written(*map(put, names))
    state.apply(2000, 1, commands.COMPACT + rpc.CompactionRequest(revision=900).SerializeToString())
    state.commit()
    records = list(BoltFile(exported(store)).records(b"key"))
    assert [key for key, _ in records] == sorted(key for key, _ in records)
    assert len(records) == 1000
    assert answer(imported(exported(store)), everything()) == answer(state, everything())


def test_a_snapshot_shows_one_moment_whatever_is_written_while_it_is_read() -> None:
    store, state = written(*(put(b"%04d" % number, b"x" * 100) for number in range(300)))
    before = answer(state, everything())
    snapshot = EtcdSnapshot(store.view())
    pieces: list[bytes] = []
    writes = iter(range(10_000))

    def write() -> None:
        number = next(writes)
        state.apply(1000 + number, 1, commands.PUT + rpc.PutRequest(key=b"%04d" % number).SerializeToString())
        state.commit()

    for _ in snapshot.prepare():
        write()
    for piece in snapshot.pieces():
        write()
        pieces.append(piece)
    snapshot.close()
    copy = imported(b"".join(pieces))
    assert answer(copy, everything()) == before
    assert copy.revision == 301
