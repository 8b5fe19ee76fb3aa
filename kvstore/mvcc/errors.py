"""The client's faults as values: gRPC code and etcd's exact text, which clients compare literally."""

from dataclasses import dataclass

__all__ = ["Failure"]

_INVALID_ARGUMENT = 3
_NOT_FOUND = 5
_RESOURCE_EXHAUSTED = 8
_FAILED_PRECONDITION = 9
_OUT_OF_RANGE = 11


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request was refused. `code` is a gRPC status code."""

    code: int
    text: str


KEY_NOT_PROVIDED = Failure(_INVALID_ARGUMENT, "etcdserver: key is not provided")
KEY_NOT_FOUND = Failure(_INVALID_ARGUMENT, "etcdserver: key not found")
VALUE_PROVIDED = Failure(_INVALID_ARGUMENT, "etcdserver: value is provided")
LEASE_PROVIDED = Failure(_INVALID_ARGUMENT, "etcdserver: lease is provided")
TOO_MANY_OPERATIONS = Failure(_INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
DUPLICATE_KEY = Failure(_INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
INVALID_SORT_OPTION = Failure(_INVALID_ARGUMENT, "etcdserver: invalid sort option")
COMPACTED = Failure(_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = Failure(_OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
NO_SPACE = Failure(_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
LEASE_NOT_FOUND = Failure(_NOT_FOUND, "etcdserver: requested lease not found")
LEASE_EXISTS = Failure(_FAILED_PRECONDITION, "etcdserver: lease already exists")
