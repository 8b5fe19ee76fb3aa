"""StateMachine: commands in, outcomes out; reads; commit, snapshot and restore.

One write transaction of the store is always open. Commands change it, reads look through it (so a read sees every
applied command at once), `commit` makes it durable together with the index of the newest command and opens the next.
What a crash loses, the log replays: `applied_index` is that of the last commit then.

The map of the store is meant never to fill: the server refuses writes by its quota first. Should it fill nevertheless,
the transaction is rebuilt from the commands applied since the last commit, and the command that did not fit is refused.
A disk that is full at the commit is another matter: StoreFull leaves `commit`, the member stops, the log has everything.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from kvstore.mvcc import alarms, auth, commands, compaction, errors, events, layout, leases, permissions, writes
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.hashing import HashSteps, hash_everything, hash_key_values
from kvstore.mvcc.history import closing
from kvstore.mvcc.leases import LeaseRecord
from kvstore.mvcc.long_ranges import Pieces, read_in_pieces
from kvstore.mvcc.ranges import Found, find, is_long
from kvstore.mvcc.txns import read_txn, run_txn
from kvstore.mvcc.working import Alarm, Change, Outcome, Turn, Working
from kvstore.pb.auth_pb2 import User
from kvstore.pb.rpc_pb2 import (
    AlarmMember,
    CompactionRequest,
    DeleteRangeRequest,
    DowngradeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)
from kvstore.storage.port import OrderedStore, Size, StoreFull, View
from kvstore.storage.snapshots import read_snapshot, write_snapshot

__all__ = ["StateMachine"]

_Command = Callable[["StateMachine", int, int, bytes], tuple[bytes, Failure | None]]


class StateMachine:
    """etcd's key-value state on `store`, whose tables are `layout.TABLES`. Not for several threads."""

    def __init__(self, store: OrderedStore) -> None:
        self._store = store
        self._listeners: list[Callable[[Turn], None]] = []
        self._batch: list[tuple[int, int, bytes]] = []  # commands since the last commit
        self._revisions: list[tuple[int, tuple[Change, ...]]] = []  # of this turn
        self._working = self._open()
        self._committed_index = self._working.applied_index
        self._told_compacted = self._working.compacted
        self.guard = permissions.Guard(lambda: self._working)

    def _open(self) -> Working:
        working = Working(self._store.begin())
        stored = working.transaction.get(layout.META, layout.STATE_KEY)
        if stored is not None:
            fields = layout.STATE.unpack(stored)
            working.applied_index, working.applied_term = fields[:2]
            working.revision, working.compacted, working.scrubbed = fields[2:]
        auth.load(working)
        alarms.load(working)
        return working

    # ---- the log's side -------------------------------------------------------------------------------------------

    @property
    def applied_index(self) -> int:
        """Index of the newest applied entry; after a restart that of the last commit."""
        return self._working.applied_index

    @property
    def applied_term(self) -> int:
        """Raft term of the newest applied entry."""
        return self._working.applied_term

    def apply(self, index: int, term: int, data: bytes) -> Outcome:
        """Apply the command of entry `index`; the client's faults are values in the Outcome."""
        assert index > self._working.applied_index, "an entry is applied once, in order"
        try:
            outcome = self._run(index, term, data)
        except StoreFull:
            return self._refuse_for_space(index, term)
        self._batch.append((index, term, data))
        return outcome

    def _run(self, index: int, term: int, data: bytes) -> Outcome:
        working = self._working
        command, payload = data[:1], data[1:]
        failure: Failure | None = None
        if working.is_auth_enabled or working.alarms or command == commands.AS_USER:
            command, payload, failure = self._admit(command, payload)
        body = b""
        if failure is None:
            body, failure = _COMMANDS[command](self, index, term, payload)
        changes = working.changes
        if changes:
            working.revision += 1
            self._revisions.append((working.revision, tuple(changes)))
            changes.clear()
        working.applied_index, working.applied_term = index, term
        return Outcome(working.revision, body, failure)

    def _admit(self, command: bytes, payload: bytes) -> tuple[bytes, bytes, Failure | None]:
        """Take off who proposes; return the command, and why users, roles or alarms as they are now refuse it."""
        identity = None
        if command == commands.AS_USER:
            identity, inner = permissions.decode_identity(payload)
            command, payload = inner[:1], inner[1:]
        is_login = command == commands.AUTH and payload[:1] == auth.LOGIN
        failure = None if is_login else self.guard.refuse(identity, command, payload)
        return command, payload, failure or alarms.refuse(self._working, command, payload)

    def _replay(self) -> None:
        """The transaction is lost: apply what was in it once more, without telling it twice."""
        told, former = list(self._revisions), self._working
        former.transaction.abort()
        self._working = self._open()
        for entry in self._batch:
            self._run(*entry)
        self._revisions = told
        self._working.lease_changes, self._working.token_changes = former.lease_changes, former.token_changes
        self.skip(former.applied_index, former.applied_term)

    def _refuse_for_space(self, index: int, term: int) -> Outcome:
        self._replay()
        self.skip(index, term)
        self.commit()  # now, so that a replay cannot find room for what was refused
        return Outcome(self._working.revision, failure=errors.NO_SPACE)

    def skip(self, index: int, term: int) -> None:  # an entry that holds no command
        self._working.applied_index, self._working.applied_term = index, term

    def is_quick(self, data: bytes) -> bool:
        """Whether applying this command surely takes no time: a Put, whatever it holds."""
        return data.startswith(commands.PUT)

    def end_of_turn(self) -> None:
        """Tell the listeners what the entries since the last turn did, if anything."""
        working = self._working
        is_quiet = not self._revisions and not working.lease_changes and not working.token_changes
        if is_quiet and working.compacted == self._told_compacted:
            return
        self._told_compacted = working.compacted
        turn = Turn(
            working.revision,
            tuple(self._revisions),
            tuple(working.lease_changes),
            working.compacted,
            tuple(working.token_changes),
        )
        self._revisions = []
        working.lease_changes, working.token_changes = [], []
        for listener in self._listeners:
            listener(turn)

    def on_turn(self, listener: Callable[[Turn], None]) -> None:
        """Call `listener` at the end of each turn that changed a key or a lease or compacted, and after a restore."""
        self._listeners.append(listener)

    def commit(self) -> int:
        """Make what is applied durable in one transaction; return the index of the newest entry in it.

        Raises StoreFull where the disk has no room: everything is as it was before, and the same may be tried again.
        """
        working = self._working
        marks = (working.applied_index, working.applied_term, working.revision, working.compacted, working.scrubbed)
        working.transaction.put(layout.META, layout.STATE_KEY, layout.STATE.pack(*marks))
        try:
            working.transaction.commit()
        except StoreFull:
            self._replay()
            raise
        self._batch.clear()
        self._committed_index = working.applied_index
        working.transaction = self._store.begin()
        return working.applied_index

    def view(self) -> View:
        """Commit, and return a consistent picture of all that is applied, which later commands do not change.

        Close it soon: the pages that it holds cannot be reused.
        """
        if self._working.applied_index != self._committed_index:
            self.commit()
        return self._store.view()

    def snapshot(self) -> Iterator[bytes]:
        """Return chunks of the state as of the last commit; the view is opened now, not at the first chunk."""
        return write_snapshot(self._store.view(), layout.TABLES)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the whole state, durably; raise BadSnapshot and change nothing when the stream is not whole."""
        self._working.transaction.abort()
        transaction = self._store.begin()
        try:
            read_snapshot(transaction, layout.TABLES, chunks)
            transaction.commit()
        except BaseException:
            transaction.abort()
            self._working = self._open()
            for entry in self._batch:
                self._run(*entry)
            raise
        self._batch.clear()
        self._revisions = []
        self._working = self._open()
        self._committed_index = self._working.applied_index
        turn = Turn(self._working.revision, (), (), self._working.compacted, restored=True)
        for listener in self._listeners:
            listener(turn)

    def scrub(self, max_events: int) -> bool:
        """Remove a slice of what compaction made garbage; return whether more is left. Invisible to reads."""
        return compaction.scrub(self._working, max_events)

    def close(self) -> None:
        """Commit and let go of the transaction; the store stays open."""
        self.commit()
        self._working.transaction.abort()

    # ---- commands -------------------------------------------------------------------------------------------------

    def _put(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        request = PutRequest.FromString(payload)
        failure = writes.refuse_put(self._working, request, in_txn=False)
        return (b"", failure) if failure is not None else (writes.put(self._working, request), None)

    def _delete_range(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        return writes.delete_range(self._working, DeleteRangeRequest.FromString(payload)), None

    def _txn(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        return run_txn(self._working, TxnRequest.FromString(payload))

    def _compact(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        return b"", compaction.compact(self._working, CompactionRequest.FromString(payload).revision)

    def _lease_grant(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        request = LeaseGrantRequest.FromString(payload)
        granted = leases.grant(self._working, request.ID, request.TTL, index)
        return (b"", granted) if isinstance(granted, Failure) else (granted, None)

    def _lease_revoke(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        return b"", writes.revoke_lease(self._working, LeaseRevokeRequest.FromString(payload).ID)

    def _lease_expire(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        writes.expire_leases(self._working, term, payload)
        return b"", None

    def _lease_checkpoint(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        leases.checkpoint(self._working, term, payload)
        return b"", None

    def _auth(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        return auth.run(self._working, index, payload)

    def _alarm(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        return alarms.change(self._working, payload), None

    def _downgrade(self, index: int, term: int, payload: bytes) -> tuple[bytes, Failure | None]:
        return alarms.change_downgrade(self._working, payload)

    # ---- reads, of all that is applied ----------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """Revision of the newest change; 1 in a new store."""
        return self._working.revision

    @property
    def compacted(self) -> int:
        """Reads and watches below this revision are refused; 0 when nothing was compacted."""
        return self._working.compacted

    @property
    def is_scrubbed(self) -> bool:
        """Whether compaction has left no garbage."""
        return self._working.scrubbed >= self._working.compacted

    def newest(self, key: bytes) -> bytes | None:
        """Return the encoded KeyValue of a living key."""
        return self._working.transaction.get(layout.CURRENT, key)

    def range(self, request: RangeRequest) -> Found | Failure:
        """Answer a Range that has passed `checks.check_range`."""
        return find(self._working, request)

    def range_or_pieces(self, request: RangeRequest) -> Found | Failure | Pieces:
        """Answer a Range that has passed `checks.check_range`, or return `range_pieces` where that would take long."""
        if 0 < request.revision < self._working.compacted or request.revision > self._working.revision:
            return find(self._working, request)  # that is refused
        return self.range_pieces(request) if is_long(self._working, request) else find(self._working, request)

    def range_pieces(self, request: RangeRequest) -> Pieces:
        """Return the answer to a range whose revision can be read piece by piece, as of now, from a view of its own."""
        newest = self.revision
        return closing(self.view(), lambda view: read_in_pieces(view, request, newest))

    def read_txn(self, request: TxnRequest) -> Outcome | Generator[Outcome | None, None, None]:
        """Run a Txn that `checks.is_read_only`; one with long ranges in steps, which yield the outcome last."""
        return read_txn(self._working, request, self.view)

    def events(self, first: int, last: int) -> Iterator[events.Past]:
        """Yield the names of what changed in the revisions `first` to `last` (see `kvstore.mvcc.events`)."""
        return events.read_events(self._working.transaction, first, last)

    def change(self, revision: int, is_delete: bool, key: bytes, *, with_previous: bool) -> Change:
        """Return one change that `events` named, which must not be compacted."""
        above = self._working.compacted if with_previous else None
        return events.load(self._working.transaction, revision, is_delete, key, above)

    def lease(self, lease: int) -> LeaseRecord | None:
        """Return a granted lease."""
        return leases.find(self._working, lease)

    def leases(self) -> Iterator[LeaseRecord]:
        """Yield every granted lease."""
        return leases.all_leases(self._working)

    def lease_keys(self, lease: int) -> list[bytes]:
        """Return the keys attached to a lease, in order."""
        return leases.keys_of(self._working, lease)

    def lease_key_batches(self, lease: int) -> Generator[list[bytes], None, None]:
        """Yield them some at a time, as of now; where they are many, from a view: close the generator."""
        return leases.key_batches(self._working.transaction, lease, self.view)

    def hash_steps(self, revision: int, *, whole: bool = False) -> HashSteps | Failure:
        """Return a generator of the hash over the history up to `revision` (0: the newest), equal on every member.

        It yields None where it may be interrupted and the hash last; it reads a view of its own, closed at its end.
        `whole`: over leases, users, roles and alarms too.
        """
        if revision > self.revision:
            return errors.FUTURE_REVISION
        if 0 < revision < self.compacted:
            return errors.COMPACTED
        hash_of = hash_everything if whole else hash_key_values
        hashed, compacted = revision or self.revision, self.compacted
        return closing(self.view(), lambda view: hash_of(view, hashed, compacted))

    def hash_key_values(self, revision: int) -> int | Failure:
        """Return that hash at once."""
        steps = self.hash_steps(revision)
        return steps if isinstance(steps, Failure) else next(step for step in steps if step is not None)

    def ask_auth(self, request: Any) -> Any:
        """Answer one of `auth.ask`'s questions, or return a Failure."""
        return auth.ask(self._working, request)

    def user(self, name: str) -> User | None:
        """Return a user, with the hash of the password."""
        return auth.find_user(self._working, name)

    @property
    def is_guarded(self) -> bool:
        """Whether auth is on or an alarm is raised: else no request needs a second look."""
        return self._working.is_auth_enabled or bool(self._working.alarms)

    @property
    def alarms(self) -> dict[Alarm, bool]:
        """The alarms that are raised, by (member id, type); True for one that the server may disarm. Read only."""
        return self._working.alarms

    def listed_alarms(self, alarm: int = 0) -> list[AlarmMember]:
        """Return the alarms of one type, or all."""
        return list(alarms.listed(self._working, alarm))

    @property
    def downgrade_target(self) -> str:
        """The version that the cluster is being taken down to; "" for none."""
        return (self._working.transaction.get(layout.META, layout.DOWNGRADE_KEY) or b"").decode()

    def check_downgrade(self, request: DowngradeRequest) -> Failure | None:
        """Return what is wrong with a request to validate, start or end a downgrade."""
        return alarms.check_downgrade(self._working, request)

    def size(self) -> Size:
        """Return the size of the store in bytes."""
        return self._store.size()


_COMMANDS: dict[bytes, _Command] = {
    commands.PUT: StateMachine._put,
    commands.DELETE_RANGE: StateMachine._delete_range,
    commands.TXN: StateMachine._txn,
    commands.COMPACT: StateMachine._compact,
    commands.LEASE_GRANT: StateMachine._lease_grant,
    commands.LEASE_REVOKE: StateMachine._lease_revoke,
    commands.LEASE_EXPIRE: StateMachine._lease_expire,
    commands.LEASE_CHECKPOINT: StateMachine._lease_checkpoint,
    commands.AUTH: StateMachine._auth,
    commands.ALARM: StateMachine._alarm,
    commands.AUTO_COMPACT: StateMachine._compact,
    commands.DOWNGRADE: StateMachine._downgrade,
}
