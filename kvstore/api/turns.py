"""A place in the queue under a prefix: what a lock and an election share.

Each contender's key is `prefix/lease in hexadecimal`, put with its lease; the lowest create revision has its turn, and
everyone waits for the key just before its own to go, so that one release wakes one contender. A turn is granted only
while the contender's key is there, at the revision that the answer names: a lease that ended meanwhile loses its place.
"""

from collections.abc import Callable

from kvstore.api import errors
from kvstore.api.local_call import Routes, ask
from kvstore.mvcc.state import StateMachine
from kvstore.mvcc.working import Turn
from kvstore.pb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseGrantResponse,
    PutRequest,
    RangeRequest,
    RequestOp,
    ResponseHeader,
    TxnRequest,
    TxnResponse,
)
from kvstore.rpc import Call, Code

__all__ = ["Contender", "Deletions", "prefix_end", "prefix_of", "still_created_at"]

TXN = "/etcdserverpb.KV/Txn"
_GRANT = "/etcdserverpb.Lease/LeaseGrant"
DEFAULT_TTL_SECONDS = 60  # of the lease that a request without one gets; nobody keeps it alive
MAX_WAITING = 100_000  # contenders of one member


class Deletions:
    """Who waits for which key to go."""

    def __init__(self, state: StateMachine) -> None:
        self._waiting: dict[bytes, dict[Callable[[], None], None]] = {}
        state.on_turn(self._on_turn)

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, key: bytes, callback: Callable[[], None]) -> None:
        """Call back, once, when `key` is deleted, or may have been."""
        self._waiting.setdefault(key, {})[callback] = None

    def forget(self, key: bytes, callback: Callable[[], None]) -> None:
        """Do not call back."""
        callbacks = self._waiting.get(key, {})
        callbacks.pop(callback, None)
        if not callbacks:
            self._waiting.pop(key, None)

    def _on_turn(self, turn: Turn) -> None:
        if not self._waiting:
            return
        if turn.restored:
            gone = list(self._waiting)
        else:
            changes = [change for _, changes in turn.revisions for change in changes]
            gone = [change.key for change in changes if change.is_delete and change.key in self._waiting]
        for key in gone:
            for callback in list(self._waiting.pop(key, ())):
                callback()


class Contender:
    """One call that waits for its turn. `granted(contender, header)` answers it; `lost_text` is for a lost place."""

    def __init__(
        self,
        routes: Routes,
        deletions: Deletions,
        call: Call,
        name: bytes,
        granted: Callable[["Contender", ResponseHeader], None],
        lost_text: str,
    ) -> None:
        self._routes = routes
        self._deletions = deletions
        self._call = call
        self._granted = granted
        self._lost_text = lost_text
        self._prefix = prefix_of(name)
        self._before = b""  # the key that is waited for
        self._is_over = False
        self.value = b""
        self.lease = 0
        self.key = b""
        self.create_revision = 0  # of our key, 0 before it is there
        self.queued = ResponseHeader()  # of the answer that put us into the queue

    def start(self, lease: int, value: bytes = b"") -> None:
        """Queue up."""
        if len(self._deletions) >= MAX_WAITING:
            errors.refuse(self._call, errors.TOO_MANY_REQUESTS)
            return
        self.value = value
        self._call.on_cancel(self._on_cancel)
        if lease:
            self._take(lease)
            return
        request = LeaseGrantRequest(TTL=DEFAULT_TTL_SECONDS)
        ask(self._routes, self._call, _GRANT, request, LeaseGrantResponse, lambda answer: self._take(answer.ID))

    def _take(self, lease: int) -> None:
        self.lease = lease
        self.key = self._prefix + b"%x" % lease
        request = TxnRequest(
            compare=[still_created_at(self.key, 0)],
            success=[RequestOp(request_put=PutRequest(key=self.key, value=self.value, lease=lease))],
            failure=[RequestOp(request_range=RangeRequest(key=self.key))],
        )
        ask(self._routes, self._call, TXN, request, TxnResponse, self._on_taken)

    def _on_taken(self, answer: TxnResponse) -> None:
        self.queued = answer.header
        if answer.succeeded:
            self.create_revision = answer.header.revision
        else:  # the same lease asked before
            found = answer.responses[0].response_range.kvs[0]
            self.create_revision = found.create_revision
            if found.value != self.value:
                self._set_value()
                return
        self._look()

    def _set_value(self) -> None:
        request = TxnRequest(
            compare=[still_created_at(self.key, self.create_revision)],
            success=[RequestOp(request_put=PutRequest(key=self.key, value=self.value, lease=self.lease))],
        )
        ask(self._routes, self._call, TXN, request, TxnResponse, lambda answer: self._look())

    def _look(self) -> None:
        """See, at one revision, whether our key is there and who is before us."""
        if self._is_over:
            self._leave()
            return
        before = RangeRequest(
            key=self._prefix,
            range_end=prefix_end(self._prefix),
            limit=1,
            sort_order=RangeRequest.DESCEND,
            sort_target=RangeRequest.CREATE,
            max_create_revision=self.create_revision - 1,
            keys_only=True,
        )
        reads = [RequestOp(request_range=RangeRequest(key=self.key)), RequestOp(request_range=before)]
        ask(self._routes, self._call, TXN, TxnRequest(success=reads), TxnResponse, self._on_seen, self._on_failed)

    def _on_seen(self, answer: TxnResponse) -> None:
        ours, before = (one.response_range.kvs for one in answer.responses)
        if self._is_over:
            self._leave()
        elif not ours or ours[0].create_revision != self.create_revision:
            self._is_over = True
            self._call.fail(Code.UNKNOWN, self._lost_text)
        elif before:
            self._before = before[0].key
            self._deletions.wait(self._before, self._on_deleted)
            self._deletions.wait(self.key, self._on_deleted)
        else:
            self._is_over = True
            self._granted(self, answer.header)

    def _on_deleted(self) -> None:
        self._stop_waiting()
        self._look()

    def _stop_waiting(self) -> None:
        if self._before:
            self._deletions.forget(self._before, self._on_deleted)
            self._deletions.forget(self.key, self._on_deleted)
            self._before = b""

    def _on_failed(self, text: str) -> None:
        self._is_over = True
        self._leave()
        self._call.fail(Code.UNKNOWN, text)

    def _on_cancel(self) -> None:
        """The client went: give our place to the next one."""
        if not self._is_over:
            self._is_over = True
            if self._before:  # else an answer is on its way, and sees it
                self._leave()

    def _leave(self) -> None:
        self._stop_waiting()
        request = TxnRequest(
            compare=[still_created_at(self.key, self.create_revision)],
            success=[RequestOp(request_delete_range=DeleteRangeRequest(key=self.key))],
        )
        ask(self._routes, self._call, TXN, request, TxnResponse, lambda answer: None, lambda text: None)


def prefix_of(name: bytes) -> bytes:
    """Return where the keys of a lock or an election stand."""
    return name + b"/"


def prefix_end(prefix: bytes) -> bytes:
    """Return the range end of all keys that begin with `prefix`, which ends with a slash."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def still_created_at(key: bytes, revision: int) -> Compare:
    """Return the comparison that `key` was created at `revision`; 0: that it is not there."""
    return Compare(key=key, target=Compare.CREATE, result=Compare.EQUAL, create_revision=revision)
