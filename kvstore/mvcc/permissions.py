"""Who may do what: the permissions of a user's roles as one set of intervals, and the check of each command.

    Identity                who asks, and the revision of the users and roles at which that was found out
    encode_identity         what stands before a command that a client proposes while auth is on
    Guard(working)          refuse(identity, command, payload), and the checks of what does not go through the log

A check is made where the request is admitted, and again when its entry is applied: what is in force then counts.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from kvstore.mvcc import commands, errors, layout, leases
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.working import Permissions, Working
from kvstore.pb.auth_pb2 import Permission, Role, User
from kvstore.pb.rpc_pb2 import (
    DeleteRangeRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

__all__ = ["ROOT", "Granted", "Guard", "Identity", "decode_identity", "encode_identity"]

ROOT = "root"  # the user who must exist for auth to be on, and the role that may do everything
_HEAD = struct.Struct(">QH")  # revision of the users and roles, length of the user's name
MAX_CACHED_USERS = 10_000


class Identity(NamedTuple):
    """A user, and the revision of the users and roles when the request's token was read (or made, for a JWT)."""

    user: str
    revision: int


def encode_identity(identity: Identity | None) -> bytes:
    """Return the bytes that say who proposes; None: a client that said nothing."""
    user = b"" if identity is None else identity.user.encode()
    return _HEAD.pack(0 if identity is None else identity.revision, len(user)) + user


def decode_identity(data: bytes) -> tuple[Identity | None, bytes]:
    """Return who proposes, and the command after it."""
    revision, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    return (Identity(data[_HEAD.size : end].decode(), revision) if revision else None), data[end:]


class _Intervals:
    """A union of ranges `start <= key < end` (None: no end), those that touch joined."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[bytes, bytes | None]]) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []
        for start, end in sorted(ranges, key=lambda one: one[0]):
            last = self._ends[-1] if self._ends else b""
            if self._ends and (last is None or start <= last):
                self._ends[-1] = None if last is None or end is None else max(last, end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def cover(self, start: bytes, end: bytes | None) -> bool:
        place = bisect_right(self._starts, start) - 1
        if place < 0:
            return False
        last = self._ends[place]
        return last is None or (start < last and end is not None and end <= last)


@dataclass(frozen=True, slots=True)
class Granted:
    """What the roles of a user add up to."""

    is_root: bool
    readable: _Intervals
    writable: _Intervals

    def may_read(self, key: bytes, range_end: bytes = b"") -> bool:
        """Tell whether the whole range may be read."""
        return self.is_root or self.readable.cover(*layout.bounds(key, range_end))

    def may_write(self, key: bytes, range_end: bytes = b"") -> bool:
        """Tell whether the whole range may be written."""
        return self.is_root or self.writable.cover(*layout.bounds(key, range_end))


def granted_to(working: Working, name: str) -> Permissions | None:
    """Return what the user may do; None when there is no such user."""
    known = working.permissions.get(name)
    if known is not None:
        return known
    stored = working.transaction.get(layout.AUTH_USERS, name.encode()) if name else None
    if stored is None:
        return None
    granted = _add_up(working, User.FromString(stored))
    if len(working.permissions) >= MAX_CACHED_USERS:
        working.permissions.clear()
    working.permissions[name] = granted
    return granted


def _add_up(working: Working, user: User) -> Granted:
    readable: list[tuple[bytes, bytes | None]] = []
    writable: list[tuple[bytes, bytes | None]] = []
    for name in user.roles:
        stored = working.transaction.get(layout.AUTH_ROLES, name.encode())
        for permission in Role.FromString(stored).keyPermission if stored is not None else ():
            interval = layout.bounds(permission.key, permission.range_end)
            if permission.permType != Permission.WRITE:
                readable.append(interval)
            if permission.permType != Permission.READ:
                writable.append(interval)
    return Granted(ROOT in user.roles, _Intervals(readable), _Intervals(writable))


def _may_put(working: Working, granted: Permissions, request: PutRequest) -> bool:
    """Whoever attaches a key to a lease must be able to end it, and with it the keys that it holds already."""
    return (
        granted.may_write(request.key)
        and (not request.prev_kv or granted.may_read(request.key))
        and (not request.lease or _may_end_lease(working, granted, request.lease))
    )


def _may_delete(granted: Permissions, request: DeleteRangeRequest) -> bool:
    return granted.may_write(request.key, request.range_end) and (
        not request.prev_kv or granted.may_read(request.key, request.range_end)
    )


def _may_end_lease(working: Working, granted: Permissions, lease: int) -> bool:
    return all(granted.may_write(key) for key in leases.keys_of(working, lease))


def _may_run(working: Working, granted: Permissions, request: TxnRequest) -> bool:
    """Both branches must be allowed, whichever is taken: its outcome must tell nothing."""
    return all(granted.may_read(compare.key, compare.range_end) for compare in request.compare) and all(
        _may_operate(working, granted, operation)
        for branch in (request.success, request.failure)
        for operation in branch
    )


def _may_operate(working: Working, granted: Permissions, operation: RequestOp) -> bool:
    kind = operation.WhichOneof("request")
    if kind == "request_range":
        return granted.may_read(operation.request_range.key, operation.request_range.range_end)
    if kind == "request_put":
        return _may_put(working, granted, operation.request_put)
    if kind == "request_delete_range":
        return _may_delete(granted, operation.request_delete_range)
    return kind is None or _may_run(working, granted, operation.request_txn)


_Check = Callable[[Working, Permissions, bytes], bool]

_BY_KEYS: dict[bytes, _Check] = {
    commands.PUT: lambda working, granted, data: _may_put(working, granted, PutRequest.FromString(data)),
    commands.DELETE_RANGE: lambda working, granted, data: _may_delete(granted, DeleteRangeRequest.FromString(data)),
    commands.TXN: lambda working, granted, data: _may_run(working, granted, TxnRequest.FromString(data)),
}
_BY_ROOT = frozenset((commands.COMPACT, commands.AUTH, commands.DOWNGRADE))  # an alarm may be the server's own
_BY_USERS = frozenset((commands.LEASE_GRANT, commands.LEASE_REVOKE))


class Guard:
    """The checks on the state that `working()` returns; every one lets all pass while auth is off."""

    def __init__(self, working: Callable[[], Working]) -> None:
        self._working = working

    @property
    def is_on(self) -> bool:
        """Whether auth is enabled."""
        return self._working().is_auth_enabled

    @property
    def revision(self) -> int:
        """How often users and roles have changed, from 1."""
        return self._working().auth_revision

    def refuse(self, identity: Identity | None, command: bytes, payload: bytes) -> Failure | None:
        """Return why `identity` may not propose the command; a server's own commands are not asked about."""
        if not self.is_on:
            return None
        if command in _BY_ROOT:
            return self.refuse_admin(identity)
        if command in _BY_USERS:
            return self._refuse_lease(identity, command, payload)
        check = _BY_KEYS.get(command)
        if check is None:
            return None
        granted = self._granted(identity)
        if isinstance(granted, Failure):
            return granted
        return None if granted.is_root or check(self._working(), granted, payload) else errors.PERMISSION_DENIED

    def _granted(self, identity: Identity | None) -> Permissions | Failure:
        working = self._working()
        if identity is None:
            return errors.USER_EMPTY
        if identity.revision < working.auth_revision:
            return errors.AUTH_OLD_REVISION
        return granted_to(working, identity.user) or errors.PERMISSION_DENIED

    def _refuse_lease(self, identity: Identity | None, command: bytes, payload: bytes) -> Failure | None:
        granted = self._granted(identity)
        if isinstance(granted, Failure):
            return granted
        if command == commands.LEASE_GRANT or granted.is_root:
            return None
        lease = LeaseRevokeRequest.FromString(payload).ID
        return None if _may_end_lease(self._working(), granted, lease) else errors.PERMISSION_DENIED

    def refuse_admin(self, identity: Identity | None) -> Failure | None:
        """Return why `identity` may not do what only holders of the role root may."""
        if not self.is_on:
            return None
        if identity is None or not identity.user:
            return errors.USER_EMPTY
        granted = granted_to(self._working(), identity.user)
        return None if granted is not None and granted.is_root else errors.PERMISSION_DENIED

    def refuse_stranger(self, identity: Identity | None) -> Failure | None:
        """Return why `identity` may not do what every user may."""
        granted = self._granted(identity) if self.is_on else None
        return granted if isinstance(granted, Failure) else None

    def refuse_range(self, identity: Identity | None, request: RangeRequest) -> Failure | None:
        """Return why `identity` may not read a range."""
        return self.refuse_keys(identity, [(request.key, request.range_end)])

    def refuse_keys(self, identity: Identity | None, ranges: Iterable[tuple[bytes, bytes]]) -> Failure | None:
        """Return why `identity` may not read one of `ranges`, each a key and etcd's range_end."""
        granted = self._granted(identity) if self.is_on else None
        if granted is None or isinstance(granted, Failure):
            return granted
        allowed = all(granted.may_read(key, range_end) for key, range_end in ranges)
        return None if allowed else errors.PERMISSION_DENIED

    def refuse_txn(self, identity: Identity | None, request: TxnRequest) -> Failure | None:
        """Return why `identity` may not run a transaction that only reads."""
        granted = self._granted(identity) if self.is_on else None
        if granted is None or isinstance(granted, Failure):
            return granted
        return None if _may_run(self._working(), granted, request) else errors.PERMISSION_DENIED
