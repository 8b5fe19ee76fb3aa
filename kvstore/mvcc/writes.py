"""Put, DeleteRange and the end of a lease on the open transaction.  Callers have checked the request (checks.py)."""

from kvstore.mvcc import errors, layout, leases, wire
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.history import version_at
from kvstore.mvcc.working import Change, Working
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.pb.rpc_pb2 import DeleteRangeRequest, PutRequest

__all__ = ["delete_key", "delete_range", "expire_leases", "put", "refuse_put", "revoke_lease"]


def refuse_put(working: Working, request: PutRequest, *, in_txn: bool) -> Failure | None:
    """Return why `request` cannot be applied to the present state, None when it can.

    When both the lease and the key are missing, etcd names the key inside a Txn, and the lease outside.
    """
    no_lease = bool(request.lease) and not leases.exists(working, request.lease)
    if no_lease and not in_txn:
        return errors.LEASE_NOT_FOUND
    if (request.ignore_value or request.ignore_lease) and working.transaction.get(layout.CURRENT, request.key) is None:
        return errors.KEY_NOT_FOUND
    return errors.LEASE_NOT_FOUND if no_lease else None


def put(working: Working, request: PutRequest) -> bytes:
    """Apply a put that `refuse_put` let pass; return the encoded PutResponse without its header."""
    transaction, changes, revision = working.transaction, working.changes, working.revision + 1
    key, value, lease = request.key, request.value, request.lease
    previous = transaction.get(layout.CURRENT, key)
    if previous is None:
        created, version, old_lease = revision, 1, 0
        if changes:  # it may have been deleted by the same transaction: then it never was dead
            transaction.delete(layout.HISTORY, layout.history_key(key, revision, layout.KIND_DELETE))
    else:
        old = KeyValue.FromString(previous)
        created, version, old_lease = old.create_revision, old.version + 1, old.lease
        if request.ignore_value:
            value = old.value
        if request.ignore_lease:
            lease = old_lease
        transaction.put(layout.HISTORY, layout.history_key(key, old.mod_revision, layout.KIND_PUT), previous)
    encoded = wire.encode_key_value(key, created, revision, version, value, lease)
    transaction.put(layout.CURRENT, key, encoded)
    transaction.append(layout.EVENTS, layout.event_key(revision, len(changes)), layout.KIND_PUT + key)
    changes.append(Change(False, key, encoded, previous))
    if lease != old_lease:
        leases.move(working, key, old_lease, lease)
    return wire.message_field(b"\x12", previous) if request.prev_kv and previous is not None else b""


def delete_range(working: Working, request: DeleteRangeRequest) -> bytes:
    """Delete the keys of the range; return the encoded DeleteRangeResponse without its header."""
    start, end = layout.bounds(request.key, request.range_end)
    doomed = list(working.transaction.scan(layout.CURRENT, start, end))
    _bury(working, doomed)
    body = wire.number_field(b"\x10", len(doomed))
    if request.prev_kv:
        body += b"".join(wire.message_field(b"\x1a", previous) for _, previous in doomed)
    return body


def delete_key(working: Working, key: bytes) -> None:
    """Delete one key, if it lives."""
    previous = working.transaction.get(layout.CURRENT, key)
    if previous is not None:
        _bury(working, [(key, previous)])


def revoke_lease(working: Working, lease: int) -> Failure | None:
    """End `lease` and delete its keys, in key order, in one revision; or say that there is none."""
    if not leases.exists(working, lease):
        return errors.LEASE_NOT_FOUND
    for key in leases.keys_of(working, lease):
        delete_key(working, key)
    leases.forget(working, lease)
    return None


def expire_leases(working: Working, term: int, payload: bytes) -> None:
    """End the leases of an expire command that are still to end, each with its keys."""
    for lease in leases.expire(working, term, payload):
        revoke_lease(working, lease)


def _bury(working: Working, doomed: list[tuple[bytes, bytes]]) -> None:
    """Delete living keys, given with their encoded KeyValues. Of all commands this may touch the most keys: no detours."""
    transaction, changes, revision = working.transaction, working.changes, working.revision + 1
    put, append, delete = transaction.put, transaction.append, transaction.delete
    revision_bytes = layout.revision_key(revision)
    modified = wire.number_field(b"\x18", revision)
    for key, previous in doomed:
        old = KeyValue.FromString(previous)
        old_revision = old.mod_revision
        owner = layout.escape(key)
        put(layout.HISTORY, owner + layout.revision_key(old_revision) + layout.KIND_PUT, previous)
        put(layout.HISTORY, owner + revision_bytes + layout.KIND_DELETE, b"")
        delete(layout.CURRENT, key)
        append(layout.EVENTS, layout.event_key(revision, len(changes)), layout.KIND_DELETE + key)
        told: bytes | None = previous
        if old_revision == revision:  # put by the same transaction: what was before it is what watchers are shown
            told = version_at(transaction, key, revision - 1)
        changes.append(Change(True, key, b"\x0a" + wire.varint(len(key)) + key + modified, told))
        if old.lease:
            leases.move(working, key, old.lease, 0)
