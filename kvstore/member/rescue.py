"""What a member does for another whose disk has failed it (rejoin.py is the asking side).

    Replace   its log is damaged, so it has forgotten votes and acknowledgements: under its old id it must never speak
              again. One entry of the log removes that id and adds a new one at the same URLs, which then catches up as
              any new voter does. The leader refuses while the old id answers.
    State     its log is whole and its state is not: a picture of ours, from which its log goes on.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping

from kvstore.member.member import Member
from kvstore.member.membership import MEMBER_NOT_FOUND, Change, ChangeKind
from kvstore.member.ports import UNAVAILABLE, Failed, Result
from kvstore.pb import raft_pb2 as pb
from kvstore.rpc import Call, Code, Streaming, Unary
from kvstore.storage import codec

__all__ = ["REMOVED", "REPLACE", "STATE", "routes"]

REPLACE = "/pilothouse.raft.Peer/Replace"
STATE = "/pilothouse.raft.Peer/State"
REMOVED = "the member has been permanently removed from the cluster"
WINDOW_BYTES = 4 << 20


def routes(member: Callable[[], Member]) -> Mapping[str, Streaming | Unary]:
    """For the rpc.Server that listens on the peer URLs. A question is [cluster id, member id], packed."""
    return {
        REPLACE: Unary(lambda call, message: _on_replace(member(), call, message)),
        STATE: Streaming(lambda call: _State(member(), call)),
    }


def _asker(member: Member, call: Call, message: bytes) -> int:
    """The id of who asks; 0 after a refusal."""
    try:
        cluster_id, asker = codec.unpack(message)
    except (ValueError, TypeError):
        call.fail(Code.INVALID_ARGUMENT, "unreadable question")
        return 0
    if cluster_id != member.cluster_id or not isinstance(asker, int):
        call.fail(Code.FAILED_PRECONDITION, "etcdserver: cluster ID mismatch")
        return 0
    return asker


def _on_replace(member: Member, call: Call, message: bytes) -> None:
    asker = _asker(member, call, message)
    if not asker or _answer_successor(member, call, asker):
        return
    if member.changes.table.is_removed(asker):
        call.fail(Code.FAILED_PRECONDITION, REMOVED)
    elif member.changes.table.get(asker) is None:
        call.fail(Code.NOT_FOUND, MEMBER_NOT_FOUND.text)
    else:
        member.change_membership(
            Change(ChangeKind.REPLACE, asker), lambda result: _on_replaced(member, call, asker, result)
        )


def _on_replaced(member: Member, call: Call, asker: int, result: Result) -> None:
    if not _answer_successor(member, call, asker):
        failed = result if isinstance(result, Failed) else Failed(UNAVAILABLE, "another change came between")
        call.fail(failed.code, failed.text)


def _answer_successor(member: Member, call: Call, asker: int) -> bool:
    table = member.changes.table
    successor = table.successor(asker)
    if successor is not None:
        call.reply(codec.pack([successor.member_id, table.encode()]))
    return successor is not None


class _State:
    """One picture of the state on its way: the header first, then chunks, each with its checksum."""

    def __init__(self, member: Member, call: Call) -> None:
        self._member, self._call = member, call
        self._parts: Iterator[pb.SnapshotPart] | None = None
        self._chunks: Iterator[bytes] = iter(())

    def on_message(self, message: bytes) -> None:
        """The question: one for each stream."""
        asker = _asker(self._member, self._call, message)
        if not asker or self._parts is not None:
            return
        upkeep = self._member.upkeep
        if not upkeep.commit():
            self._call.fail(UNAVAILABLE, "there is no room to commit the state")
            return
        _, header, self._chunks = upkeep.picture(self._member.raft, asker, self._member.changes.table)
        self._parts = _parts(pb.SnapshotHeader.FromString(header), self._chunks)
        self._call.send_head()
        self._send()

    def _send(self) -> None:
        while self._parts is not None and self._call.is_open:
            if self._call.pending_bytes > WINDOW_BYTES:
                self._call.on_drain(self._send)
                return
            part = next(self._parts, None)
            if part is None:
                self._call.finish()
                return
            self._call.send(part.SerializeToString())

    def on_half_close(self) -> None:
        """Who asks listens."""

    def on_cancel(self) -> None:
        """Who asked is gone."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


def _parts(header: pb.SnapshotHeader, chunks: Iterator[bytes]) -> Iterator[pb.SnapshotPart]:
    yield pb.SnapshotPart(header=header, checksum=zlib.crc32(b""))
    for chunk in chunks:
        yield pb.SnapshotPart(chunk=chunk, checksum=zlib.crc32(chunk))
    yield pb.SnapshotPart(checksum=zlib.crc32(b""), is_last=True)
