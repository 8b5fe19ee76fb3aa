"""The one table: why a request failed -> gRPC code and etcd's exact text.  The state's own refusals: kvstore.mvcc.errors."""

from kvstore.mvcc.errors import Failure
from kvstore.rpc import Call, Code

__all__ = ["refuse"]

MALFORMED = Failure(Code.INTERNAL, "grpc: error unmarshalling request")
REQUEST_TOO_LARGE = Failure(Code.INVALID_ARGUMENT, "etcdserver: request is too large")
UNKNOWN_ALARM = Failure(Code.INVALID_ARGUMENT, "etcdserver: unknown alarm or action")
LEASE_NOT_FOUND = Failure(Code.NOT_FOUND, "etcdserver: requested lease not found")
NO_LEADER = Failure(Code.UNAVAILABLE, "etcdserver: no leader")
TIMED_OUT = Failure(Code.UNAVAILABLE, "etcdserver: request timed out")
STOPPED = Failure(Code.UNAVAILABLE, "etcdserver: server stopped")
TOO_MANY_REQUESTS = Failure(Code.UNKNOWN, "etcdserver: too many requests")  # the code is etcd's, by an old slip
NOT_LEADER = Failure(Code.FAILED_PRECONDITION, "etcdserver: not leader")
BAD_TRANSFEREE = Failure(Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
NOT_FOR_LEARNER = Failure(Code.FAILED_PRECONDITION, "etcdserver: rpc not supported for learner")
CANNOT_ISSUE = Failure(Code.UNKNOWN, "auth: this member has no private key to sign tokens with")
UNKNOWN_HEALTH_SERVICE = Failure(Code.NOT_FOUND, "unknown service")

# Reasons in a WatchResponse that cancels; they are text, not status
DUPLICATE_WATCH_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_WATCH_RANGE = "mvcc: watcher range is empty"
NEGATIVE_WATCH_START = "etcdserver: mvcc: required revision has been compacted"


_GO_NAMES = {
    Code.INVALID_ARGUMENT: "InvalidArgument",
    Code.PERMISSION_DENIED: "PermissionDenied",
    Code.UNAUTHENTICATED: "Unauthenticated",
}


def as_watch_reason(failure: Failure) -> str:
    """Return why a watch is refused, in the words of Go's gRPC, as clients know it."""
    return f"rpc error: code = {_GO_NAMES.get(Code(failure.code), 'Unknown')} desc = {failure.text}"


def refuse(call: Call, failure: Failure) -> None:
    """End `call` with `failure`."""
    call.fail(failure.code, failure.text)
