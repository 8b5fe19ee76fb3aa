"""Alarms: NOSPACE refuses what takes room, CORRUPT refuses all but reads, on every member, until they are disarmed.

An alarm that the server raised by itself may be disarmed by it too, when its reason is gone; one that an operator raised
stays until an operator disarms it. `downgrade` is kept here as well: the version a cluster is being taken down to.
"""

import re
from collections.abc import Iterator

from kvstore.mvcc import commands, errors, layout, wire
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.working import Alarm, Working
from kvstore.pb.rpc_pb2 import (
    CORRUPT,
    NONE,
    NOSPACE,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    DowngradeRequest,
    TxnRequest,
)

__all__ = ["change", "change_downgrade", "encode_change", "listed", "load", "needs_room", "refuse"]

_BY_HAND, _BY_SERVER = b"", b"\1"
_CORRUPT_STOPS = frozenset(
    (
        commands.PUT,
        commands.DELETE_RANGE,
        commands.TXN,
        commands.COMPACT,
        commands.AUTO_COMPACT,
        commands.LEASE_GRANT,
        commands.LEASE_REVOKE,
    )
)
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
SERVED_VERSION = (3, 7)


def load(working: Working) -> None:
    """Fill `working.alarms` from the table."""
    working.alarms.clear()
    for stored, origin in working.transaction.scan(layout.ALARMS):
        member = AlarmMember.FromString(stored)
        if member.alarm in (NOSPACE, CORRUPT):  # what a later version knows is nothing to this one
            working.alarms[member.memberID, member.alarm] = origin == _BY_SERVER


def encode_change(request: AlarmRequest, *, by_server: bool) -> bytes:
    """Return the payload of an alarm command."""
    return (b"\1" if by_server else b"\0") + request.SerializeToString()


def change(working: Working, payload: bytes) -> bytes:
    """Raise or disarm; return the encoded AlarmResponse without its header."""
    by_server, request = payload[:1] == b"\1", AlarmRequest.FromString(payload[1:])
    member = AlarmMember(memberID=request.memberID, alarm=request.alarm)
    name: Alarm = (request.memberID, request.alarm)
    if request.alarm not in (NOSPACE, CORRUPT) or request.action == AlarmRequest.GET:
        return b""
    if request.action == AlarmRequest.ACTIVATE:
        if name not in working.alarms:
            working.alarms[name] = by_server
            working.transaction.put(layout.ALARMS, member.SerializeToString(), _BY_SERVER if by_server else _BY_HAND)
    elif name not in working.alarms:
        return b""
    else:
        del working.alarms[name]
        working.transaction.delete(layout.ALARMS, member.SerializeToString())
    return AlarmResponse(alarms=[member]).SerializeToString()


def listed(working: Working, alarm: int) -> Iterator[AlarmMember]:
    """Yield those raised, of one type or (NONE) all, by type and member."""
    for member_id, kind in sorted(working.alarms, key=lambda one: (one[1], one[0])):
        if alarm in (NONE, kind):
            yield AlarmMember(memberID=member_id, alarm=AlarmType.Name(kind))


def is_raised(working: Working, alarm: int) -> bool:
    """Tell whether any member has raised it."""
    return any(kind == alarm for _, kind in working.alarms)


def refuse(working: Working, command: bytes, payload: bytes) -> Failure | None:
    """Return why the alarms that are raised forbid a command."""
    if is_raised(working, CORRUPT) and command in _CORRUPT_STOPS:
        return errors.CORRUPT
    if is_raised(working, NOSPACE) and (
        command in (commands.PUT, commands.LEASE_GRANT)
        or (command == commands.TXN and needs_room(TxnRequest.FromString(payload)))
    ):
        return errors.NO_SPACE
    return None


def needs_room(request: TxnRequest) -> bool:
    """Tell whether a transaction may put something."""
    return any(
        operation.HasField("request_put")
        or (operation.HasField("request_txn") and needs_room(operation.request_txn))
        for branch in (request.success, request.failure)
        for operation in branch
    )


def check_downgrade(working: Working, request: DowngradeRequest) -> Failure | None:
    """Return what is wrong with a request: the target must be one minor version below ours."""
    target = working.transaction.get(layout.META, layout.DOWNGRADE_KEY)
    if request.action == DowngradeRequest.CANCEL:
        return errors.NO_DOWNGRADE if target is None else None
    if request.action not in DowngradeRequest.DowngradeAction.values():
        return errors.UNKNOWN_METHOD
    matched = _VERSION.fullmatch(request.version)
    if matched is None:
        return errors.WRONG_DOWNGRADE_FORMAT
    if (int(matched[1]), int(matched[2])) != (SERVED_VERSION[0], SERVED_VERSION[1] - 1):
        return errors.INVALID_DOWNGRADE_TARGET
    return errors.DOWNGRADE_IN_PROGRESS if target is not None else None


def change_downgrade(working: Working, payload: bytes) -> tuple[bytes, Failure | None]:
    """Note the target, or forget it. What is stored does not depend on the version: there is nothing else to do."""
    request = DowngradeRequest.FromString(payload)
    failure = check_downgrade(working, request)
    if failure is not None:
        return b"", failure
    if request.action == DowngradeRequest.CANCEL:
        working.transaction.delete(layout.META, layout.DOWNGRADE_KEY)
    elif request.action == DowngradeRequest.ENABLE:
        working.transaction.put(layout.META, layout.DOWNGRADE_KEY, request.version.encode())
    return wire.message_field(b"\x12", b"%d.%d.0" % SERVED_VERSION), None
