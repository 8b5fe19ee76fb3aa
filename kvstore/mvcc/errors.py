"""The client's faults as values: gRPC code and etcd's exact text, which clients compare literally."""

from dataclasses import dataclass

__all__ = ["Failure"]

_UNKNOWN = 2
_INVALID_ARGUMENT = 3
_NOT_FOUND = 5
_PERMISSION_DENIED = 7
_RESOURCE_EXHAUSTED = 8
_FAILED_PRECONDITION = 9
_OUT_OF_RANGE = 11
_DATA_LOSS = 15
_UNAUTHENTICATED = 16


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
LEASE_TTL_TOO_LARGE = Failure(_OUT_OF_RANGE, "etcdserver: too large lease TTL")
CORRUPT = Failure(_DATA_LOSS, "etcdserver: corrupt cluster")

# Users and roles
ROOT_USER_NOT_FOUND = Failure(_FAILED_PRECONDITION, "etcdserver: root user does not exist")
ROOT_ROLE_NOT_GRANTED = Failure(_FAILED_PRECONDITION, "etcdserver: root user does not have root role")
USER_EXISTS = Failure(_FAILED_PRECONDITION, "etcdserver: user name already exists")
USER_EMPTY = Failure(_INVALID_ARGUMENT, "etcdserver: user name is empty")
USER_NOT_FOUND = Failure(_FAILED_PRECONDITION, "etcdserver: user name not found")
ROLE_EXISTS = Failure(_FAILED_PRECONDITION, "etcdserver: role name already exists")
ROLE_NOT_FOUND = Failure(_FAILED_PRECONDITION, "etcdserver: role name not found")
ROLE_EMPTY = Failure(_INVALID_ARGUMENT, "etcdserver: role name is empty")
AUTH_FAILED = Failure(_INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password")
NO_PASSWORD_USER = Failure(_UNKNOWN, "auth: authentication failed, password was given for no password user")
PASSWORD_TOO_LONG = Failure(_UNKNOWN, "bcrypt: password length exceeds 72 bytes")
PERMISSION_NOT_GIVEN = Failure(_INVALID_ARGUMENT, "etcdserver: permission not given")
PERMISSION_DENIED = Failure(_PERMISSION_DENIED, "etcdserver: permission denied")
ROLE_NOT_GRANTED = Failure(_FAILED_PRECONDITION, "etcdserver: role is not granted to the user")
PERMISSION_NOT_GRANTED = Failure(_FAILED_PRECONDITION, "etcdserver: permission is not granted to the role")
AUTH_NOT_ENABLED = Failure(_FAILED_PRECONDITION, "etcdserver: authentication is not enabled")
INVALID_AUTH_TOKEN = Failure(_UNAUTHENTICATED, "etcdserver: invalid auth token")
INVALID_AUTH_MANAGEMENT = Failure(_INVALID_ARGUMENT, "etcdserver: invalid auth management")
AUTH_OLD_REVISION = Failure(_INVALID_ARGUMENT, "etcdserver: revision of auth store is old")

# Downgrade
WRONG_DOWNGRADE_FORMAT = Failure(_INVALID_ARGUMENT, "etcdserver: wrong downgrade target version format")
INVALID_DOWNGRADE_TARGET = Failure(_INVALID_ARGUMENT, "etcdserver: invalid downgrade target version")
DOWNGRADE_IN_PROGRESS = Failure(_FAILED_PRECONDITION, "etcdserver: cluster has a downgrade job in progress")
UNKNOWN_METHOD = Failure(_UNKNOWN, "etcdserver: unknown method")
NO_DOWNGRADE = Failure(_FAILED_PRECONDITION, "etcdserver: no inflight downgrade job")
