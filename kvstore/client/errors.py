"""etcd's failures as types: one table from the text that servers send to the class and the code it should have.

Clients of etcd match texts, because a few codes on the wire are wrong (two are Unknown by a bug of etcd's); so do we. A text
that is not in the table falls back to its gRPC code, so every failure of a call is an `EtcdError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kvstore.rpc import Code, RpcError

_NO_ANSWER: Final = frozenset(
    (Code.CANCELLED, Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS)
)


class EtcdError(Exception):
    """A request failed. `sent` is False when it certainly never reached a server; else a write may have happened."""

    def __init__(self, code: int, text: str, *, sent: bool = True) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.sent = sent

    @property
    def is_unknown(self) -> bool:
        """Whether a write may or may not have been carried out: nobody answered whose word that would be."""
        return self.sent and self.code in _NO_ANSWER

    def __str__(self) -> str:
        return self.text


class InvalidRequest(EtcdError):
    """The request itself is wrong (InvalidArgument)."""


class KeyNotFound(InvalidRequest):
    """ignore_value or ignore_lease on a key that does not exist."""


class RequestTooLarge(InvalidRequest):
    """The request is larger than the cluster takes."""


class AuthenticationFailed(InvalidRequest):
    """Unknown user or wrong password."""


class StaleAuthRevision(InvalidRequest):
    """The token is older than the cluster's users and roles."""


class NotFound(EtcdError):
    """What the request names does not exist."""


class LeaseNotFound(NotFound):
    """The lease never was, was revoked, or expired."""


class MemberNotFound(NotFound):
    """No such member."""


class OutOfRange(EtcdError):
    """A number of the request is out of range."""


class Compacted(OutOfRange):
    """The revision is compacted; `compact_revision` is the oldest that can be read, 0 when the server did not tell."""

    def __init__(self, code: int, text: str, *, sent: bool = True, compact_revision: int = 0) -> None:
        super().__init__(code, text, sent=sent)
        self.compact_revision = compact_revision


class FutureRevision(OutOfRange):
    """The revision does not exist yet."""


class ResourceExhausted(EtcdError):
    """A limit of the server."""


class NoSpace(ResourceExhausted):
    """The database reached its quota."""


class TooManyRequests(ResourceExhausted):
    """The server applies slower than it commits."""


class FailedPrecondition(EtcdError):
    """The state of the cluster does not allow the request."""


class LeaseExists(FailedPrecondition):
    """The lease id is taken."""


class NotLeader(FailedPrecondition):
    """Only the leader can do this."""


class NotSupportedByLearner(FailedPrecondition):
    """A learner does not serve this request."""


class PermissionDenied(EtcdError):
    """The user lacks the permission."""


class Unauthenticated(EtcdError):
    """The token is not valid (any more)."""


class Unavailable(EtcdError):
    """No server could take the request now, or the connection broke. A write may have happened when `sent`."""


class NoLeader(Unavailable):
    """The server knows no leader."""


class LeaderChanged(Unavailable):
    """The leader changed while the request waited."""


class RequestTimedOut(Unavailable):
    """The cluster did not answer in time. A write may have happened."""


class DeadlineExceeded(EtcdError):
    """The caller's timeout passed. A write may have happened."""


class Cancelled(EtcdError):
    """The call was cancelled."""


class CorruptCluster(EtcdError):
    """The members' data differ."""


class Unimplemented(EtcdError):
    """The server does not know the method or the option."""


class Conflict(EtcdError):
    """A transaction met others at each of its attempts; nothing was written."""


class BrokenSnapshot(EtcdError):
    """A snapshot arrived cut or altered; nothing was kept of it."""


class LockLost(EtcdError):
    """The lease under a lock or a leadership ended while it was wanted."""


BY_CODE: Final[Mapping[int, type[EtcdError]]] = {
    Code.CANCELLED: Cancelled,
    Code.INVALID_ARGUMENT: InvalidRequest,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    Code.NOT_FOUND: NotFound,
    Code.PERMISSION_DENIED: PermissionDenied,
    Code.RESOURCE_EXHAUSTED: ResourceExhausted,
    Code.FAILED_PRECONDITION: FailedPrecondition,
    Code.OUT_OF_RANGE: OutOfRange,
    Code.UNIMPLEMENTED: Unimplemented,
    Code.UNAVAILABLE: Unavailable,
    Code.DATA_LOSS: CorruptCluster,
    Code.UNAUTHENTICATED: Unauthenticated,
}

# Text (after "etcdserver: ") -> class, where the class says more than the code; and the code, where the wire's is wrong.
_BY_TEXT: Final[Mapping[str, tuple[Code, type[EtcdError]]]] = {
    "key is not provided": (Code.INVALID_ARGUMENT, InvalidRequest),
    "key not found": (Code.INVALID_ARGUMENT, KeyNotFound),
    "value is provided": (Code.INVALID_ARGUMENT, InvalidRequest),
    "lease is provided": (Code.INVALID_ARGUMENT, InvalidRequest),
    "too many operations in txn request": (Code.INVALID_ARGUMENT, InvalidRequest),
    "duplicate key given in txn request": (Code.INVALID_ARGUMENT, InvalidRequest),
    "invalid sort option": (Code.INVALID_ARGUMENT, InvalidRequest),
    "request is too large": (Code.INVALID_ARGUMENT, RequestTooLarge),
    "given member URLs are invalid": (Code.INVALID_ARGUMENT, InvalidRequest),
    "invalid client api version": (Code.INVALID_ARGUMENT, InvalidRequest),
    "user name is empty": (Code.INVALID_ARGUMENT, InvalidRequest),
    "role name is empty": (Code.INVALID_ARGUMENT, InvalidRequest),
    "authentication failed, invalid user ID or password": (Code.INVALID_ARGUMENT, AuthenticationFailed),
    "permission not given": (Code.INVALID_ARGUMENT, InvalidRequest),
    "invalid auth management": (Code.INVALID_ARGUMENT, InvalidRequest),
    "revision of auth store is old": (Code.INVALID_ARGUMENT, StaleAuthRevision),
    "wrong downgrade target version format": (Code.INVALID_ARGUMENT, InvalidRequest),
    "invalid downgrade target version": (Code.INVALID_ARGUMENT, InvalidRequest),
    "requested lease not found": (Code.NOT_FOUND, LeaseNotFound),
    "member not found": (Code.NOT_FOUND, MemberNotFound),
    "mvcc: required revision has been compacted": (Code.OUT_OF_RANGE, Compacted),
    "mvcc: required revision is a future revision": (Code.OUT_OF_RANGE, FutureRevision),
    "too large lease TTL": (Code.OUT_OF_RANGE, OutOfRange),
    "mvcc: database space exceeded": (Code.RESOURCE_EXHAUSTED, NoSpace),
    "too many requests": (Code.RESOURCE_EXHAUSTED, TooManyRequests),
    "lease already exists": (Code.FAILED_PRECONDITION, LeaseExists),
    "member ID already exist": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "Peer URLs already exists": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "re-configuration failed due to not enough started members": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "can only promote a learner member": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "can only promote a learner member which is in sync with leader": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "too many learner members in cluster": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "cluster ID mismatch": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "root user does not exist": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "root user does not have root role": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "user name already exists": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "user name not found": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "role name already exists": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "role name not found": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "role is not granted to the user": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "permission is not granted to the role": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "authentication is not enabled": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "not leader": (Code.FAILED_PRECONDITION, NotLeader),
    "bad leader transferee": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "rpc not supported for learner": (Code.FAILED_PRECONDITION, NotSupportedByLearner),
    "not capable": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "cluster version not found during downgrade": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "cluster has a downgrade job in progress": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "no inflight downgrade job": (Code.FAILED_PRECONDITION, FailedPrecondition),
    "permission denied": (Code.PERMISSION_DENIED, PermissionDenied),
    "invalid auth token": (Code.UNAUTHENTICATED, Unauthenticated),
    "no leader": (Code.UNAVAILABLE, NoLeader),
    "leader changed": (Code.UNAVAILABLE, LeaderChanged),
    "server stopped": (Code.UNAVAILABLE, Unavailable),
    "request timed out": (Code.UNAVAILABLE, RequestTimedOut),
    "request timed out, possibly due to previous leader failure": (Code.UNAVAILABLE, RequestTimedOut),
    "request timed out, possibly due to connection lost": (Code.UNAVAILABLE, RequestTimedOut),
    "request timed out, waiting for the applied index took too long": (Code.UNAVAILABLE, RequestTimedOut),
    "unhealthy cluster": (Code.UNAVAILABLE, Unavailable),
    "corrupt cluster": (Code.DATA_LOSS, CorruptCluster),
    "request canceled": (Code.CANCELLED, Cancelled),
    "watch canceled": (Code.CANCELLED, Cancelled),
    "context deadline exceeded": (Code.DEADLINE_EXCEEDED, DeadlineExceeded),
}
_PREFIX: Final = "etcdserver: "
_GO_ERROR: Final = re.compile(r"rpc error: code = (\w+) desc = (.*)", re.DOTALL)


def from_status(code: int, text: str, *, sent: bool = True) -> EtcdError:
    """The typed error of a gRPC status."""
    known = _BY_TEXT.get(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) else None
    if known is not None:
        right_code, kind = known
        return kind(right_code, text, sent=sent)
    return BY_CODE.get(code, EtcdError)(code, text, sent=sent)


def from_rpc(error: RpcError) -> EtcdError:
    """The typed error of a call that failed."""
    return from_status(error.code, error.text, sent=error.sent)


def from_cancel_reason(reason: str) -> EtcdError:
    """The typed error of a watch that the server cancelled; its reason may be Go's rendering of a status."""
    rendered = _GO_ERROR.fullmatch(reason)
    if rendered is None:
        return from_status(Code.UNKNOWN, reason or "etcdserver: watch canceled")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", rendered[1]).upper()
    code = Code[name] if name in Code.__members__ else Code.CANCELLED if name == "CANCELED" else Code.UNKNOWN
    return from_status(code, rendered[2])
