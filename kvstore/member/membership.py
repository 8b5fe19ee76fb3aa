"""The table of members: names and URLs. It changes only by entries of the log, so all members come to the same table.

It is saved with the log's snapshot mark and travels with snapshots. Rows are replaced whole, so applying an entry twice
changes nothing.
"""

from collections.abc import Iterable

from kvstore.member.ports import MemberInfo
from kvstore.raft.configuration import Configuration
from kvstore.storage import codec


class Membership:
    """Rows by member id."""

    def __init__(self, members: Iterable[MemberInfo]) -> None:
        self._rows = {info.member_id: info for info in members}

    def get(self, member_id: int) -> MemberInfo | None:
        return self._rows.get(member_id)

    def put(self, info: MemberInfo) -> None:
        self._rows[info.member_id] = info

    def listed(self, configuration: Configuration) -> tuple[MemberInfo, ...]:
        """The members of the configuration, by id; one that has no row yet has only its id."""
        rows = []
        for member in configuration.members():
            info = self._rows.get(member) or MemberInfo(member, "", (), ())
            is_learner = member in configuration.learners
            rows.append(MemberInfo(member, info.name, info.peer_urls, info.client_urls, is_learner))
        return tuple(rows)

    def encode(self) -> bytes:
        return codec.pack([_row(self._rows[member]) for member in sorted(self._rows)])


def decode_membership(data: bytes) -> Membership:
    """The inverse of Membership.encode; empty bytes are an empty table."""
    return Membership(_info(row) for row in codec.unpack(data)) if data else Membership(())


def encode_info(info: MemberInfo) -> bytes:
    return codec.pack(_row(info))


def decode_info(data: bytes) -> MemberInfo:
    return _info(codec.unpack(data))


def _row(info: MemberInfo) -> list[object]:
    return [info.member_id, info.name, list(info.peer_urls), list(info.client_urls)]


def _info(row: list[object]) -> MemberInfo:
    member_id, name, peer_urls, client_urls = row
    assert isinstance(member_id, int) and isinstance(name, str)
    assert isinstance(peer_urls, list) and isinstance(client_urls, list)
    return MemberInfo(member_id, name, tuple(peer_urls), tuple(client_urls))
