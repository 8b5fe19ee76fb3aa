"""The Transport port on the simulated network, and the Snapshots port in memory.

Messages travel as the bytes that the real transport sends. A process that is gone refuses what reaches its host, and the
sender hears of it; what a network loses is noticed after `LOST_SECONDS`, as a missing acknowledgement would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from kvstore.member.ports import MemberInfo
from kvstore.member.wire import Encoder, decode_header, decode_message
from kvstore.pb import raft_pb2
from kvstore.raft.types import Message

if TYPE_CHECKING:
    from chaos.sim.host import Host, Process
    from chaos.sim.store import StoreWorld

__all__ = ["MemorySnapshots", "PeerPort"]

LOST_SECONDS = 1.0
ASK_SECONDS = 2.0


class MemorySnapshots:
    """Incoming snapshots, one at a time for each sender."""

    def __init__(self) -> None:
        self._chunks: dict[int, list[bytes]] = {}

    def begin(self, sender: int) -> None:
        self._chunks[sender] = []

    def add(self, sender: int, chunk: bytes) -> None:
        self._chunks[sender].append(chunk)

    def take(self, sender: int) -> Iterable[bytes]:
        return self._chunks.pop(sender)

    def discard(self, sender: int) -> None:
        self._chunks.pop(sender, None)


class PeerPort:
    """How one process reaches the other members."""

    def __init__(self, world: StoreWorld, process: Process) -> None:
        self._world, self._process = world, process
        self._name = process.host.name
        self._encoder = Encoder()
        self._noticing: set[int] = set()  # peers whose loss is about to be noticed

    def send(self, messages: Sequence[Message]) -> None:
        """One packet for each row of messages to the same member."""
        batches: dict[int, list[bytes]] = {}
        for message in messages:
            batches.setdefault(message.to, []).append(self._encoder.message(message).SerializeToString())
        for to, packed in batches.items():
            self._process.boundaries.passed("messages sent")
            self._send(to, "messages", partial(self._deliver, to, packed))

    def _send(self, to: int, what: str, deliver: Callable[[Host], None]) -> None:
        target = self._world.by_id.get(to)
        if target is None or not self._world.network.send(self._name, target.name, what, partial(self._reach, to, deliver)):
            self._notice_later(to)

    def _reach(self, to: int, deliver: Callable[[Host], None]) -> None:
        host = self._world.by_id[to]
        if host.process is None:
            self._world.network.send(host.name, self._name, "refused", lambda: self._lost(to, has_gone=True))
        else:
            host.process.run(lambda: deliver(host))

    def _deliver(self, to: int, packed: list[bytes], host: Host) -> None:
        assert host.process is not None
        member = host.process.member
        source = self._process.member.member_id
        if member.member_id == to:
            member.deliver([decode_message(source, to, raft_pb2.Message.FromString(one)) for one in packed])

    def _notice_later(self, to: int) -> None:
        if to not in self._noticing:
            self._noticing.add(to)
            self._process.call_later(LOST_SECONDS, lambda: self._lost(to, has_gone=False))

    def _lost(self, to: int, *, has_gone: bool) -> None:
        self._noticing.discard(to)
        self._process.run(lambda: self._process.member.on_lost(to, has_gone=has_gone))

    def send_snapshot(self, to: int, header: bytes, chunks: Iterator[bytes], done: Callable[[bool], None]) -> None:
        """The whole of it in one packet, some time after the first byte was read."""
        copied = list(chunks)
        source, is_open = self._process.member.member_id, True

        def arrive(host: Host) -> None:
            assert host.process is not None
            snapshots = host.process.snapshots
            snapshots.begin(source)
            for chunk in copied:
                snapshots.add(source, chunk)
            host.process.member.deliver_snapshot(*decode_header(header))
            self._world.network.send(host.name, self._name, "snapshot taken", lambda: finish(True))

        def finish(is_complete: bool) -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                self._process.run(lambda: done(is_complete))

        self._process.call_later(LOST_SECONDS, lambda: finish(False))
        self._send(to, "snapshot", arrive)

    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None:
        """One question; None after ASK_SECONDS without an answer."""
        is_open = True

        def finish(answer: bytes | None) -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                self._process.run(lambda: done(answer))

        def arrive(host: Host) -> None:
            assert host.process is not None
            host.process.member.on_ask(subject, payload, partial(reply, host))

        def reply(host: Host, answer: bytes) -> None:
            self._world.network.send(host.name, self._name, "answer", lambda: finish(answer))

        self._process.call_later(ASK_SECONDS, lambda: finish(None))
        self._send(to, f"question {subject}", arrive)

    def set_peers(self, peers: Sequence[MemberInfo]) -> None:
        """The world knows where everybody is."""
