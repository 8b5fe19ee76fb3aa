"""The table of members: who is wanted, with names and URLs. It changes only by entries of the log, so all members come
to the same table; what may not be is refused while it is applied, by all alike.

The table says what is wanted, Raft's configuration what is: a leader brings the second to the first (changes.py).
It is saved with the log's snapshot mark and travels with snapshots. `index` is the entry through which it has been
applied; entries up to there change nothing, so it does no harm to apply them again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from kvstore.member.ports import FAILED_PRECONDITION, NOT_FOUND, UNKNOWN, Failed, MemberInfo
from kvstore.raft.configuration import Configuration
from kvstore.storage import codec

MEMBER_NOT_FOUND = Failed(NOT_FOUND, "etcdserver: member not found", certain=True)
MEMBER_EXISTS = Failed(FAILED_PRECONDITION, "etcdserver: member ID already exist", certain=True)
URLS_EXIST = Failed(FAILED_PRECONDITION, "etcdserver: Peer URLs already exists", certain=True)
NOT_A_LEARNER = Failed(FAILED_PRECONDITION, "etcdserver: can only promote a learner member", certain=True)
TOO_MANY_LEARNERS = Failed(FAILED_PRECONDITION, "etcdserver: too many learner members in cluster", certain=True)
NOT_ENOUGH_STARTED = Failed(  # the code is etcd's, by an old slip
    UNKNOWN, "etcdserver: re-configuration failed due to not enough started members", certain=True
)


class ChangeKind(IntEnum):
    """ISOLATE leaves one member only (--force-new-cluster); REPLACE gives a member that lost its log a new id; the others
    are requests of clients."""

    ADD = 1
    REMOVE = 2
    UPDATE = 3
    PROMOTE = 4
    ISOLATE = 5
    REPLACE = 6


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the table. `max_learners` travels with it, so that all members judge alike. `new_id`: of a REPLACE."""

    kind: ChangeKind
    member_id: int
    peer_urls: tuple[str, ...] = ()
    is_learner: bool = False
    max_learners: int = 1
    new_id: int = 0


class Membership:
    """Rows by member id; an id that was removed never comes back."""

    def __init__(self, members: Iterable[MemberInfo], removed: Iterable[MemberInfo] = (), index: int = 0) -> None:
        self._rows = {info.member_id: info for info in members}
        self._removed = {info.member_id: info for info in removed}
        self.index = index

    def get(self, member_id: int) -> MemberInfo | None:
        return self._rows.get(member_id)

    def is_removed(self, member_id: int) -> bool:
        return member_id in self._removed

    def removed_ids(self) -> Iterable[int]:
        return self._removed.keys()

    def successor(self, member_id: int) -> MemberInfo | None:
        """Who took the place of a member that was replaced, and has not run yet."""
        former = self._removed.get(member_id)
        if former is None:
            return None
        return next((row for row in self._rows.values() if row.peer_urls == former.peer_urls and not row.name), None)

    def is_learner(self, member_id: int) -> bool:
        row = self._rows.get(member_id)
        return row is not None and row.is_learner

    def voters(self) -> frozenset[int]:
        return frozenset(member for member, row in self._rows.items() if not row.is_learner)

    def learners(self) -> frozenset[int]:
        return frozenset(member for member, row in self._rows.items() if row.is_learner)

    def listed(self) -> tuple[MemberInfo, ...]:
        """All members, by id."""
        return tuple(self._rows[member] for member in sorted(self._rows))

    def peers(self, configuration: Configuration) -> tuple[MemberInfo, ...]:
        """Whom to keep links to: all members, and who was removed but is still in Raft's configuration."""
        leaving = [self._removed[member] for member in configuration.members() if member in self._removed]
        return (*self.listed(), *leaving)

    def publish(self, index: int, info: MemberInfo) -> None:
        """A member tells its name and client URLs; its peer URLs are what MemberAdd and MemberUpdate said."""
        row = self._rows.get(info.member_id)
        if index > self.index:
            self.index = index
            if row is not None:
                self._rows[info.member_id] = replace(row, name=info.name, client_urls=info.client_urls)

    def apply(self, index: int, change: Change) -> Failed | None:
        """Carry out the entry `index`, or say why not; one that was applied before does nothing."""
        if index <= self.index:
            return None
        self.index = index
        refusal = self._refusal(change)
        if refusal is None:
            self._carry_out(change)
        return refusal

    def _refusal(self, change: Change) -> Failed | None:
        member_id, kind = change.member_id, change.kind
        row = self._rows.get(member_id)
        if kind is not ChangeKind.ADD:
            if row is None:
                return MEMBER_NOT_FOUND
            if kind is ChangeKind.PROMOTE:
                return None if row.is_learner else NOT_A_LEARNER
            if kind is ChangeKind.REPLACE and (change.new_id in self._rows or self.is_removed(change.new_id)):
                return MEMBER_EXISTS
            if kind in (ChangeKind.REMOVE, ChangeKind.REPLACE):
                return NOT_ENOUGH_STARTED if self.voters() == {member_id} else None
        elif row is not None or member_id in self._removed:
            return MEMBER_EXISTS if row is not None else MEMBER_NOT_FOUND
        taken = {url for other in self._rows.values() if other.member_id != member_id for url in other.peer_urls}
        if taken.intersection(change.peer_urls):
            return URLS_EXIST
        if kind is ChangeKind.ADD and change.is_learner and len(self.learners()) >= change.max_learners:
            return TOO_MANY_LEARNERS
        return None

    def _carry_out(self, change: Change) -> None:
        member_id, rows = change.member_id, self._rows
        if change.kind is ChangeKind.ADD:
            rows[member_id] = MemberInfo(member_id, "", change.peer_urls, (), change.is_learner)
        elif change.kind is ChangeKind.REMOVE:
            self._removed[member_id] = rows.pop(member_id)
        elif change.kind is ChangeKind.REPLACE:
            former = self._removed[member_id] = rows.pop(member_id)
            rows[change.new_id] = MemberInfo(change.new_id, "", former.peer_urls, (), former.is_learner)
        elif change.kind is ChangeKind.UPDATE:
            rows[member_id] = replace(rows[member_id], peer_urls=change.peer_urls)
        else:
            rows[member_id] = replace(rows[member_id], is_learner=False)
        if change.kind is ChangeKind.ISOLATE:
            self._removed |= {other: row for other, row in rows.items() if other != member_id}
            self._rows = {member_id: rows[member_id]}

    def encode(self) -> bytes:
        rows, removed = self._rows, self._removed
        return codec.pack([
            self.index,
            [_row(rows[member]) for member in sorted(rows)],
            [_row(removed[member]) for member in sorted(removed)],
        ])  # fmt: skip


def decode_membership(data: bytes) -> Membership:
    """The inverse of Membership.encode; empty bytes are an empty table."""
    if not data:
        return Membership(())
    index, rows, removed = codec.unpack(data)
    assert isinstance(index, int)
    return Membership(map(_info, rows), map(_info, removed), index)


def encode_info(info: MemberInfo) -> bytes:
    return codec.pack(_row(info))


def decode_info(data: bytes) -> MemberInfo:
    return _info(codec.unpack(data))


def encode_change(change: Change) -> bytes:
    fields = [int(change.kind), change.member_id, list(change.peer_urls), change.is_learner, change.max_learners]
    return codec.pack([*fields, change.new_id] if change.new_id else fields)


def decode_change(data: bytes) -> Change:
    kind, member_id, peer_urls, is_learner, max_learners, *new_id = codec.unpack(data)
    return Change(ChangeKind(kind), member_id, tuple(peer_urls), is_learner, max_learners, *new_id)


def _row(info: MemberInfo) -> list[object]:
    return [info.member_id, info.name, list(info.peer_urls), list(info.client_urls), info.is_learner]


def _info(row: list[object]) -> MemberInfo:
    member_id, name, peer_urls, client_urls, is_learner = row
    assert isinstance(member_id, int) and isinstance(name, str) and isinstance(is_learner, bool)
    assert isinstance(peer_urls, list) and isinstance(client_urls, list)
    return MemberInfo(member_id, name, tuple(peer_urls), tuple(client_urls), is_learner)
