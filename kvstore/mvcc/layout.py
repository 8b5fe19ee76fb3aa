r"""Tables of the state and the keys in them.  All integers are big-endian, so that byte order is their order.

    current      user key                                    -> KeyValue: the newest version of every living key
    history      escaped key, revision (8), kind (1)         -> KeyValue of a superseded version (kind 0); b"" for a
                                                                tombstone (kind 1), at the revision of the deletion
    events       revision (8), place within it (4)           -> kind (1), user key: what happened, in order
    leases       lease id (8)                                -> granted TTL in seconds (8), index of the grant (8), and
                                                                seconds left (8) where there is a checkpoint
    lease_keys   lease id (8), user key                      -> b""
    auth         b"authEnabled" -> b"\1" or b"\0"; b"authRevision" -> 8 bytes   (these three and alarms as in etcd's file)
    auth_users   user name                                    -> authpb.User
    auth_roles   role name                                    -> authpb.Role
    alarms       AlarmMember                                  -> b"", or b"\1" when the server may disarm it by itself
    meta         b"downgrade"                                 -> version that the cluster is being downgraded to
    meta         b"state"                                    -> applied index and term, revision, compacted, scrubbed

A version is stored once: in `current` until it is superseded, then in `history`; `events` point to it. Within one
revision a key is put at most once; it may be deleted after that (then there is a tombstone too) or before (then none).
"""

import struct

__all__ = ["TABLES"]

CURRENT = "current"
HISTORY = "history"
EVENTS = "events"
LEASES = "leases"
LEASE_KEYS = "lease_keys"
META = "meta"
AUTH = "auth"
AUTH_USERS = "auth_users"
AUTH_ROLES = "auth_roles"
ALARMS = "alarms"
TABLES = (CURRENT, HISTORY, EVENTS, LEASES, LEASE_KEYS, META, AUTH, AUTH_USERS, AUTH_ROLES, ALARMS)  # a snapshot numbers them

PUT = 0
DELETE = 1
KIND_PUT = b"\0"
KIND_DELETE = b"\1"
AFTER_KINDS = b"\xff"

STATE_KEY = b"state"
DOWNGRADE_KEY = b"downgrade"
AUTH_ENABLED_KEY = b"authEnabled"
AUTH_REVISION_KEY = b"authRevision"
STATE = struct.Struct(">QQQQQ")  # applied index, its term, revision, compacted revision, scrubbed revision
LEASE = struct.Struct(">qQ")  # TTL in seconds, raft index of the grant
REMAINING = struct.Struct(">q")  # seconds
_REVISION = struct.Struct(">Q")
_EVENT = struct.Struct(">QI")
_LEASE_ID = struct.Struct(">q")

_TERMINATOR = b"\0\1"  # below \0\xff, the escape of a zero byte: a key sorts before every longer one it begins


def escape(key: bytes) -> bytes:
    """Return `key` so that what follows cannot be taken for part of it, in the order of the keys."""
    if b"\0" in key:
        key = key.replace(b"\0", b"\0\xff")
    return key + _TERMINATOR


def unescape(escaped: bytes) -> bytes:
    """Undo `escape`."""
    return escaped[:-2].replace(b"\0\xff", b"\0")


def history_key(key: bytes, revision: int, kind: bytes) -> bytes:
    """Return where `history` keeps the version of `key` written (or deleted) at `revision`."""
    if b"\0" in key:
        key = key.replace(b"\0", b"\0\xff")
    return key + _TERMINATOR + _REVISION.pack(revision) + kind


def history_owner(stored: bytes) -> bytes:
    """Return the escaped user key of a key of `history`."""
    return stored[:-9]


def history_revision(stored: bytes) -> int:
    """Return the revision of a key of `history`."""
    return int.from_bytes(stored[-9:-1], "big")


def revision_key(revision: int) -> bytes:
    """Return the lower bound of `events` at `revision`."""
    return _REVISION.pack(revision)


def event_key(revision: int, place: int) -> bytes:
    """Return where `events` keeps the event number `place` of `revision`."""
    return _EVENT.pack(revision, place)


def event_revision(stored: bytes) -> int:
    """Return the revision of a key of `events`."""
    return int.from_bytes(stored[:8], "big")


def lease_key(lease: int) -> bytes:
    """Return the key of `leases`, and the prefix of the lease's keys in `lease_keys`."""
    return _LEASE_ID.pack(lease)


def lease_of(stored: bytes) -> int:
    """Return the lease id of a key of `leases`."""
    return int(_LEASE_ID.unpack_from(stored)[0])


def bounds(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """Return (start, end) of etcd's key and range_end: empty end = the one key, one zero byte = to the last key."""
    if not range_end:
        return key, key + b"\0"
    return key, None if range_end == b"\0" else range_end
