"""Messages between members over kvstore.rpc: one stream to each peer, one Batch for each `send`.

A link connects when there is something to say, and again after each loss, with a growing pause. What cannot leave is
dropped, the oldest first: Raft sends again what matters. Snapshots travel on streams of their own, so that they never
hold up a heartbeat.

    links.py    the sending side
    here        PeerTransport: what a member uses; the receiving side (`routes()` for an rpc.Server)
"""

import asyncio
import logging
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from random import Random

from google.protobuf.message import DecodeError

from kvstore.member import rescue
from kvstore.member.bootstrap import MEMBERS
from kvstore.member.envelope import HEADER_BYTES
from kvstore.member.figures import Figures
from kvstore.member.links import REMOVED, Link, SnapshotStream
from kvstore.member.member import Member
from kvstore.member.ports import MemberInfo, Snapshots
from kvstore.member.wire import Encoder, decode_header, decode_message
from kvstore.pb import raft_pb2 as pb
from kvstore.raft.types import Append, AppendReply, CommitNotice, Entry, Forward, Message
from kvstore.rpc import Call, Code, Receiver, Streaming, Unary
from kvstore.storage import codec

logger = logging.getLogger("kvstore.member")

MESSAGES = "/pilothouse.raft.Peer/Messages"
SNAPSHOT = "/pilothouse.raft.Peer/Snapshot"
ASK_TIMEOUT_SECONDS = 5.0
URGENT = frozenset((Append, AppendReply, CommitNotice))  # they leave before the loop does anything else
FEW_ENTRIES = 8
NOTICE_SECONDS = 0.001  # how long a notice of commits may wait for an append that carries it
HURRY_SECONDS = 1.0  # after a forwarded request its sender gets notices at once: its clients wait for them
UNREADABLE = (DecodeError, KeyError, ValueError, IndexError)


class StrangerRefused(Exception):
    """The sender was removed from the cluster; it is told so, and stops."""


class PeerTransport:
    """The Transport port over kvstore.rpc. Belongs to the running loop; `attach` the member before the first turn."""

    def __init__(self, cluster_id: int, member_id: int, snapshots: Snapshots, random: Random,
                 ssl_context: ssl.SSLContext | None = None, is_quick: Callable[[bytes], bool] = lambda data: False,
                 note_peers: Callable[[Sequence[str]], None] = lambda urls: None,
                 figures: Figures | None = None) -> None:
        """`is_quick`: whether a command takes so little time to apply that its followers may hear of it later.

        `note_peers` is told the URLs of the other members whenever the members change.
        """
        self.member_id = member_id
        self._metadata = {"cluster-id": f"{cluster_id:x}", "member-id": f"{member_id:x}"}
        self._note_peers = note_peers
        self.figures = figures or Figures()
        self._snapshots, self._random, self._ssl_context = snapshots, random, ssl_context
        self._loop = asyncio.get_running_loop()
        self._encoder = Encoder()
        self._notice_timer: asyncio.TimerHandle | None = None
        self._is_quick, self._slow_index = is_quick, 0  # the newest entry sent that is not quick
        self._links: dict[int, Link] = {}
        self._streams: set[SnapshotStream] = set()
        self._asks: dict[int, tuple[Callable[[bytes | None], None], asyncio.TimerHandle]] = {}
        self._ask_number = 0
        self._member: Member | None = None

    def attach(self, member: Member) -> None:
        """Where messages of the others go."""
        self._member = member

    def routes(self) -> Mapping[str, Streaming | Unary]:
        """For the rpc.Server that listens on the peer URLs."""
        return {
            MESSAGES: Streaming(self._on_messages),
            SNAPSHOT: Streaming(self._on_snapshot),
            MEMBERS: Unary(self._on_members),
            **rescue.routes(self._attached),
        }

    # The Transport port ------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message]) -> None:
        """Queue messages to their targets; never blocks."""
        touched: dict[int, Link] = {}
        is_urgent = has_notice = False
        for message in messages:
            link = self._links.get(message.to)
            if link is not None:
                link.add(self._encoder.message(message))
                kind = type(message)
                if isinstance(message, CommitNotice) and self._may_wait(message, link):
                    has_notice = True
                else:
                    touched[message.to] = link
                    is_urgent = is_urgent or kind in URGENT
                if isinstance(message, Append) and message.entries and not self._are_quick(message.entries):
                    self._slow_index = message.entries[-1].index
        for link in touched.values():
            link.flush(is_urgent=is_urgent)
        self._set_notice_timer(has_notice)

    def _are_quick(self, entries: Sequence[Entry]) -> bool:
        return len(entries) <= FEW_ENTRIES and all(self._is_quick(entry.data[HEADER_BYTES:]) for entry in entries)

    def _may_wait(self, notice: CommitNotice, link: Link) -> bool:
        """Whether an append may carry it: nobody waits for it, and the loop will not be busy for long."""
        is_slow, link.told_commit = self._slow_index > link.told_commit, notice.commit
        return not is_slow and self._loop.time() >= link.hurry_until

    def _set_notice_timer(self, has_notice: bool) -> None:
        if has_notice and self._notice_timer is None:
            self._notice_timer = self._loop.call_later(NOTICE_SECONDS, self._flush_notices)
        elif self._notice_timer is not None and not any(link.has_waiting for link in self._links.values()):
            self._notice_timer.cancel()
            self._notice_timer = None

    def _flush_notices(self) -> None:
        """No append came to carry them."""
        self._notice_timer = None
        for link in self._links.values():
            if link.has_waiting:
                link.flush()

    def send_snapshot(self, to: int, header: bytes, chunks: Iterator[bytes], done: Callable[[bool], None]) -> None:
        """Stream one snapshot beside the messages."""
        link = self._links.get(to)
        if link is None:
            self._loop.call_soon(done, False)
            return

        def on_done(complete: bool) -> None:
            self._streams.discard(stream)
            done(complete)

        stream = SnapshotStream(link.channel, SNAPSHOT, self._metadata, header, chunks, on_done)
        self._streams.add(stream)

    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None:
        """One question; `done(None)` when no answer came within ASK_TIMEOUT_SECONDS."""
        self._ask_number += 1
        number = self._ask_number
        timer = self._loop.call_later(ASK_TIMEOUT_SECONDS, self._end_ask, number, None)
        self._asks[number] = (done, timer)
        if to == self.member_id:
            self._loop.call_soon(self._attached().on_ask, subject, payload, lambda a: self._end_ask(number, a))
            return
        link = self._links.get(to)
        if link is None:
            self._loop.call_soon(self._end_ask, number, None)
        else:
            link.add_ask(pb.Ask(number=number, subject=subject, payload=payload))
            link.flush()

    def _end_ask(self, number: int, payload: bytes | None) -> None:
        done, timer = self._asks.pop(number, (None, None))
        if done is not None and timer is not None:
            timer.cancel()
            done(payload)

    def set_peers(self, peers: Sequence[MemberInfo]) -> None:
        """Open links to new members, close those to members that left."""
        wanted = {peer.member_id: peer for peer in peers if peer.member_id != self.member_id and peer.peer_urls}
        self._note_peers([url for peer in wanted.values() for url in peer.peer_urls])
        for member_id in sorted(self._links.keys() - wanted.keys()):
            self._links.pop(member_id).close()
        for member_id, peer in wanted.items():
            link = self._links.get(member_id)
            if link is None or link.urls != peer.peer_urls:
                if link is not None:
                    link.close()
                self._links[member_id] = Link(self.member_id, member_id, peer.peer_urls, MESSAGES, self._metadata,
                                              self._random, self._on_lost, self._on_removed, self._ssl_context,
                                              self.figures.sent_bytes)

    async def close(self) -> None:
        """Close all links and streams."""
        if self._notice_timer is not None:
            self._notice_timer.cancel()
        for stream in list(self._streams):
            stream.cancel()
        links, self._links = self._links, {}
        for link in links.values():
            link.close()
        for link in links.values():
            await link.closed()
        for number in list(self._asks):
            self._end_ask(number, None)

    def _on_lost(self, member_id: int, has_gone: bool) -> None:
        self.figures.lost[member_id] += 1
        if self._member is not None:
            self._member.on_lost(member_id, has_gone=has_gone)

    def _on_removed(self) -> None:
        if self._member is not None:
            self._member.changes.leave()

    # The receiving side ------------------------------------------------------------------------------------------

    def _attached(self) -> Member:
        assert self._member is not None, "a member is attached before anything is received"
        return self._member

    def _on_messages(self, call: Call) -> Receiver:
        return _Messages(self, call) if self._admits(call) else _Refused()

    def _on_members(self, call: Call, message: bytes) -> None:
        """Someone who wants to join asks for the cluster's id and members; it cannot know the id yet."""
        member = self._attached()
        call.reply(codec.pack([member.cluster_id, member.changes.table.encode()]))

    def _on_snapshot(self, call: Call) -> Receiver:
        return _Snapshot(self._attached(), self._snapshots, call) if self._admits(call) else _Refused()

    def _admits(self, call: Call) -> bool:
        """A member of another cluster must not be listened to."""
        if call.metadata.get("cluster-id") == self._metadata["cluster-id"]:
            return True
        logger.warning("refused %s: it belongs to cluster %s", call.peer, call.metadata.get("cluster-id"))
        call.fail(Code.FAILED_PRECONDITION, "etcdserver: cluster ID mismatch")
        return False

    def on_batch(self, batch: pb.Batch) -> None:
        """Hand on what one message of a peer's stream holds; raises one of UNREADABLE."""
        member, source, to = self._attached(), batch.source, batch.to
        if to != self.member_id:
            raise ValueError(f"a batch for {to:x} came to {self.member_id:x}")
        if source in member.changes.gone:
            raise StrangerRefused(f"{source:x} was removed")
        messages = [decode_message(source, to, message) for message in batch.messages]
        member.deliver(messages)
        if any(type(message) is Forward for message in messages) and source in self._links:
            self._links[source].hurry_until = self._loop.time() + HURRY_SECONDS
        for ask in batch.asks:
            if ask.is_answer:
                self._end_ask(ask.number, ask.payload)
            else:
                member.on_ask(ask.subject, ask.payload, partial(self._answer, source, ask.number))

    def _answer(self, to: int, number: int, payload: bytes) -> None:
        link = self._links.get(to)
        if link is not None:
            link.add_ask(pb.Ask(number=number, payload=payload, is_answer=True))
            link.flush()


class _Refused:
    """The call has failed already."""

    def on_message(self, message: bytes) -> None:
        pass

    def on_half_close(self) -> None:
        pass

    def on_cancel(self) -> None:
        pass


class _Messages(_Refused):
    """One peer's stream of batches."""

    def __init__(self, transport: PeerTransport, call: Call) -> None:
        self._transport, self._call = transport, call
        call.send_head()

    def on_message(self, message: bytes) -> None:
        try:
            batch = pb.Batch.FromString(message)
            self._transport.figures.received_bytes[batch.source] += len(message)
            self._transport.on_batch(batch)
        except StrangerRefused:
            self._call.fail(Code.FAILED_PRECONDITION, REMOVED)
        except UNREADABLE as error:
            logger.warning("cannot read a batch from %s: %r", self._call.peer, error)
            self._call.fail(Code.INVALID_ARGUMENT, "unreadable batch")

    def on_half_close(self) -> None:
        self._call.finish()


class _Snapshot(_Refused):
    """One incoming snapshot: kept until its last chunk is here, then handed to the member."""

    def __init__(self, member: Member, snapshots: Snapshots, call: Call) -> None:
        self._member, self._snapshots, self._call = member, snapshots, call
        self._header = b""
        self._source = 0

    def on_message(self, message: bytes) -> None:
        try:
            self._on_part(pb.SnapshotPart.FromString(message))
        except UNREADABLE as error:
            logger.warning("cannot read a snapshot from %s: %r", self._call.peer, error)
            self._call.fail(Code.INVALID_ARGUMENT, "unreadable snapshot")

    def _on_part(self, part: pb.SnapshotPart) -> None:
        if part.HasField("header"):
            self._header, self._source = part.header.SerializeToString(), part.header.source
            self._snapshots.begin(self._source)
        if zlib.crc32(part.chunk) != part.checksum:
            raise ValueError("a chunk does not match its checksum")
        if part.chunk:
            self._snapshots.add(self._source, part.chunk)
        if part.is_last:
            install, membership = decode_header(self._header)
            self._member.deliver_snapshot(install, membership)
            self._call.reply(b"")

    def on_cancel(self) -> None:
        if self._source:
            self._snapshots.discard(self._source)
