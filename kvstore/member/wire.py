"""Messages between members as bytes and back (proto/kvstore/pb/raft.proto)."""

from collections.abc import Callable
from typing import Any

from kvstore.pb import raft_pb2 as pb
from kvstore.raft import types as raft
from kvstore.raft.configuration import decode_configuration
from kvstore.raft.packing import pack_entries, unpack_entries
from kvstore.raft.types import Entry


class Encoder:
    """Messages to protobuf. Remembers the last packed entries: a leader sends the same to each follower."""

    def __init__(self) -> None:
        self._key = (0, 0, 0)
        self._packed = b""

    def message(self, message: raft.Message) -> pb.Message:
        """One message, without source and target (the batch names them)."""
        if type(message) is raft.Append:
            return self._append(message)
        return _ENCODERS[type(message)](message)

    def _append(self, message: raft.Append) -> pb.Message:
        return pb.Message(
            kind=pb.APPEND,
            term=message.term,
            index=message.previous_index,
            log_term=message.previous_term,
            commit=message.commit,
            entries=self._pack(message.entries) if message.entries else b"",
        )

    def _pack(self, entries: tuple[Entry, ...]) -> bytes:
        key = (entries[0].index, entries[-1].index, entries[-1].term)  # (index, term) names an entry and all before it
        if key != self._key:
            self._packed = pack_entries(entries)
            self._key = key
        return self._packed


_ENCODERS: dict[type[object], Callable[[Any], pb.Message]] = {
    raft.VoteRequest: lambda m: pb.Message(
        kind=pb.VOTE_REQUEST, term=m.term, index=m.last_index, log_term=m.last_term, pre=m.pre, forced=m.forced
    ),
    raft.VoteReply: lambda m: pb.Message(kind=pb.VOTE_REPLY, term=m.term, yes=m.granted, pre=m.pre),
    raft.AppendReply: lambda m: pb.Message(
        kind=pb.APPEND_REPLY, term=m.term, index=m.index, yes=m.rejected, hint_index=m.hint_index, hint_term=m.hint_term
    ),
    raft.Heartbeat: lambda m: pb.Message(kind=pb.HEARTBEAT, term=m.term, commit=m.commit, number=m.round),
    raft.HeartbeatReply: lambda m: pb.Message(kind=pb.HEARTBEAT_REPLY, term=m.term, number=m.round),
    raft.CommitNotice: lambda m: pb.Message(kind=pb.COMMIT_NOTICE, term=m.term, commit=m.commit),
    raft.Forward: lambda m: pb.Message(kind=pb.FORWARD, term=m.term, number=m.number, batch=m.batch),
    raft.ReadRequest: lambda m: pb.Message(kind=pb.READ_REQUEST, term=m.term, number=m.context),
    raft.ReadReply: lambda m: pb.Message(kind=pb.READ_REPLY, term=m.term, number=m.context, index=m.index),
    raft.TimeoutNow: lambda m: pb.Message(kind=pb.TIMEOUT_NOW, term=m.term),
}


def _append(s: int, to: int, m: pb.Message) -> raft.Append:
    entries = unpack_entries(m.index + 1, m.entries) if m.entries else ()
    return raft.Append(s, to, m.term, m.index, m.log_term, entries, m.commit)


_DECODERS: dict[int, Callable[[int, int, pb.Message], raft.Message]] = {
    pb.VOTE_REQUEST: lambda s, to, m: raft.VoteRequest(s, to, m.term, m.index, m.log_term, m.pre, m.forced),
    pb.VOTE_REPLY: lambda s, to, m: raft.VoteReply(s, to, m.term, m.yes, m.pre),
    pb.APPEND: _append,
    pb.APPEND_REPLY: lambda s, to, m: raft.AppendReply(s, to, m.term, m.index, m.yes, m.hint_index, m.hint_term),
    pb.HEARTBEAT: lambda s, to, m: raft.Heartbeat(s, to, m.term, m.commit, m.number),
    pb.HEARTBEAT_REPLY: lambda s, to, m: raft.HeartbeatReply(s, to, m.term, m.number),
    pb.COMMIT_NOTICE: lambda s, to, m: raft.CommitNotice(s, to, m.term, m.commit),
    pb.FORWARD: lambda s, to, m: raft.Forward(s, to, m.term, m.number, tuple(m.batch)),
    pb.READ_REQUEST: lambda s, to, m: raft.ReadRequest(s, to, m.term, m.number),
    pb.READ_REPLY: lambda s, to, m: raft.ReadReply(s, to, m.term, m.number, m.index),
    pb.TIMEOUT_NOW: lambda s, to, m: raft.TimeoutNow(s, to, m.term),
}


def decode_message(source: int, to: int, message: pb.Message) -> raft.Message:
    """One message of a batch; raises KeyError, ValueError or struct.error where it cannot be read."""
    return _DECODERS[message.kind](source, to, message)


def encode_header(install: raft.InstallSnapshot, membership: bytes) -> bytes:
    """What travels before a snapshot's chunks."""
    mark = install.mark
    return pb.SnapshotHeader(
        source=install.source,
        to=install.to,
        term=install.term,
        index=mark.index,
        log_term=mark.term,
        configuration=mark.configuration.encode(),
        membership=membership,
    ).SerializeToString()


def decode_header(data: bytes) -> tuple[raft.InstallSnapshot, bytes]:
    """The inverse of encode_header: the message for the core, and the members as of then."""
    header = pb.SnapshotHeader.FromString(data)
    mark = raft.SnapshotMark(header.index, header.log_term, decode_configuration(header.configuration))
    return raft.InstallSnapshot(header.source, header.to, header.term, mark), header.membership
