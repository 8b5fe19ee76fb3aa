"""Names that a sequence uses in place of what differs between servers: members' ids and versions.

A member is known by a number: 1 is the server itself, 2 the learner that the session has added.
A version `3.-1` is one minor version below the server's own.
"""

import re

from google.protobuf.message import Message

from kvstore.pb import rpc_pb2 as rpc

_BY_MEMBER = (rpc.MemberRemoveRequest, rpc.MemberUpdateRequest, rpc.MemberPromoteRequest)
_UNKNOWN = 1 << 60
_OFFSET = re.compile(r"3\.([+-]\d)")


class Names:
    """Those of one server. `members` are their numbers by id, `minor` is that of the server's version."""

    def __init__(self, members: dict[int, int], minor: int) -> None:
        self.members = members
        self._minor = minor

    def to_server(self, request: Message) -> None:
        """Put the server's own in place of the names."""
        if isinstance(request, _BY_MEMBER):
            request.ID = self._member(request.ID)
        if isinstance(request, rpc.MoveLeaderRequest):
            request.targetID = self._member(request.targetID)
        if isinstance(request, rpc.DowngradeRequest):
            request.version = _OFFSET.sub(lambda found: f"3.{self._minor + int(found[1])}", request.version)

    def _member(self, number: int) -> int:
        return next((known for known, other in self.members.items() if other == number), number and number + _UNKNOWN)

    def to_sequence(self, answer: Message) -> None:
        """Put the version's name back into an answer. Members' ids: see comparable.py."""
        if isinstance(answer, rpc.DowngradeResponse) and answer.version:
            answer.version = answer.version.replace(f"3.{self._minor}.", "3.+0.")
