"""The values that the state machine's functions pass to each other.

Change and Outcome are made for every write: as NamedTuples they cost a third of a frozen dataclass.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from kvstore.mvcc.errors import Failure
from kvstore.storage.port import Transaction

__all__ = ["Alarm", "Change", "LeaseChange", "Outcome", "Permissions", "TokenChange", "Turn", "Working"]

Alarm = tuple[int, int]  # member id, etcdserverpb.AlarmType


class Change(NamedTuple):
    """One event: a put or a delete of one key."""

    is_delete: bool
    key: bytes
    key_value: bytes  # encoded KeyValue; of a delete it holds key and mod_revision
    previous: bytes | None  # encoded KeyValue before the change; None: there was none, or it is compacted


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """A lease was granted (`ttl_seconds` > 0) or is gone (`ttl_seconds` 0).

    `remaining_seconds` is None then; else the lease stays, and a new leader is to give it so much (0: the full TTL).
    """

    lease: int
    ttl_seconds: int
    granted_index: int
    remaining_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class TokenChange:
    """`token` was issued to `user`; without a token: those of `user` are void; without a user too: all are."""

    user: str = ""
    token: str = ""


class Permissions(Protocol):
    """What one user may do, worked out of the roles: kvstore.mvcc.permissions.Granted."""

    @property
    def is_root(self) -> bool: ...
    def may_read(self, key: bytes, range_end: bytes = b"") -> bool: ...
    def may_write(self, key: bytes, range_end: bytes = b"") -> bool: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did: `revisions` in order, each with its changes in order."""

    revision: int  # of the store after the turn
    revisions: tuple[tuple[int, tuple[Change, ...]], ...]
    leases: tuple[LeaseChange, ...]
    compacted: int  # of the store after the turn
    tokens: tuple[TokenChange, ...] = ()
    restored: bool = False  # the whole state was replaced: what listeners remember is void


class Outcome(NamedTuple):
    """What a command did. `body` is the encoded response without its header (field 1), which only the server knows."""

    revision: int
    body: bytes = b""
    failure: Failure | None = None


@dataclass(slots=True)
class Working:
    """The state as the open transaction has it. `changes` are those of the command that runs now."""

    transaction: Transaction
    applied_index: int = 0
    applied_term: int = 0
    revision: int = 1
    compacted: int = 0  # reads below it are refused; 0: never compacted
    scrubbed: int = 0  # what compaction made garbage is gone up to here
    changes: list[Change] = field(default_factory=list)
    lease_changes: list[LeaseChange] = field(default_factory=list)
    token_changes: list[TokenChange] = field(default_factory=list)
    is_auth_enabled: bool = False
    auth_revision: int = 1  # grows with each change of users and roles
    permissions: dict[str, Permissions] = field(default_factory=dict)  # a cache by user, void when a role changes
    alarms: dict[Alarm, bool] = field(default_factory=dict)  # those raised; True: by the server, which may disarm it

    @property
    def seen_revision(self) -> int:
        """The revision that a read within the running command sees."""
        return self.revision + 1 if self.changes else self.revision
