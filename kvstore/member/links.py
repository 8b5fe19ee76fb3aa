"""The sending side of the peer transport: a link to one member, and a stream for one snapshot."""

import asyncio
import logging
import ssl
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from kvstore.pb import raft_pb2 as pb
from kvstore.rpc import Channel, ClientCall, RpcError

logger = logging.getLogger("kvstore.member")

QUEUE_MESSAGES = 512  # while there is no connection
PENDING_LIMIT_BYTES = 64 << 20  # what a slow peer may leave unread before messages to it are dropped
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5
SETTLED_SECONDS = 2.0  # a stream that lived so long was a good one: the next pause is short again
SNAPSHOT_WINDOW_BYTES = 4 << 20
REMOVED = "the member has been permanently removed from the cluster"  # what the others answer one that was


class Link:
    """Batches to one member. `lost(member, has_gone)` is told when what was sent may not have arrived.

    `has_gone`: nobody listens there any more. `removed()` is told when the other says that this member was removed.
    """

    def __init__(self, source: int, to: int, urls: Sequence[str], path: str, metadata: Mapping[str, str],
                 random: Random, lost: Callable[[int, bool], None], removed: Callable[[], None],
                 ssl_context: ssl.SSLContext | None, sent_bytes: dict[int, int]) -> None:
        self.urls = tuple(urls)
        self._source, self._to, self._path, self._metadata = source, to, path, metadata
        self._random, self._lost, self._removed, self._ssl_context = random, lost, removed, ssl_context
        self._sent_bytes = sent_bytes  # by member
        self._messages: deque[pb.Message] = deque(maxlen=QUEUE_MESSAGES)
        self._asks: deque[pb.Ask] = deque(maxlen=QUEUE_MESSAGES)
        self.told_commit = 0
        self.hurry_until = 0.0  # loop time: the other's clients wait for what is committed
        self._url_number = 0
        self.channel = self._next_channel()
        self._call: ClientCall | None = None
        self._runner: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    def _next_channel(self) -> Channel:
        url = self.urls[self._url_number % len(self.urls)]
        self._url_number += 1
        context = self._ssl_context if url.startswith("https://") else None
        return Channel(url, context, connect_timeout_seconds=2.0)

    def add(self, message: pb.Message) -> None:
        """Queue one message. A notice of commits that still waits is worth nothing once a newer one follows."""
        messages = self._messages
        if messages and messages[-1].kind == pb.COMMIT_NOTICE and message.kind in (pb.COMMIT_NOTICE, pb.APPEND):
            messages.pop()
        messages.append(message)

    @property
    def has_waiting(self) -> bool:
        """Whether a flush would send something."""
        return bool(self._messages or self._asks)

    def add_ask(self, ask: pb.Ask) -> None:
        self._asks.append(ask)

    def flush(self, *, is_urgent: bool = False) -> None:
        """Send what was added, or see to it that there is a connection; urgent: before anything else is done."""
        call = self._call
        if call is None:
            if self._runner is None:
                self._runner = asyncio.get_running_loop().create_task(self._run())
            return
        if call.pending_bytes > PENDING_LIMIT_BYTES:
            self._messages.clear()
            self._lost(self._to, False)
            return
        batch = pb.Batch(source=self._source, to=self._to, messages=self._messages, asks=self._asks)
        self._messages.clear()
        self._asks.clear()
        data = batch.SerializeToString()
        self._sent_bytes[self._to] += len(data)
        call.send(data)
        if is_urgent:
            self.channel.flush()

    async def _run(self) -> None:
        """Keep one stream open, for as long as the link lives."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE_SECONDS
        while True:
            self._ended.clear()
            started = loop.time()
            try:
                self._call = await self.channel.open(self._path, self._metadata, self)
                if self._messages or self._asks:
                    self.flush()
                await self._ended.wait()
            except RpcError as error:
                if isinstance(error.__context__, ConnectionRefusedError):
                    self._lost(self._to, True)
            was_settled = loop.time() - started > SETTLED_SECONDS
            pause = FIRST_PAUSE_SECONDS if was_settled else min(2 * pause, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause * (0.5 + self._random.random()))
            if len(self.urls) > 1:
                await self.channel.close()
                self.channel = self._next_channel()

    def on_message(self, message: bytes) -> None:
        """The peer says nothing on this stream."""

    def on_end(self, error: RpcError | None) -> None:
        """The stream is over; the runner opens another."""
        self._call = None
        self._ended.set()
        logger.debug("the stream from %x to %x ended: %s", self._source, self._to, error)
        self._lost(self._to, False)
        if error is not None and error.text == REMOVED:
            self._removed()

    def close(self) -> None:
        """Send nothing more."""
        if self._runner is not None:
            self._runner.cancel()
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    async def closed(self) -> None:
        """Return when nothing of the link is left."""
        if self._runner is not None:
            await asyncio.gather(self._runner, return_exceptions=True)
        await self.channel.close()


class SnapshotStream:
    """One snapshot on its way; `done(complete)` is called once."""

    def __init__(self, channel: Channel, path: str, metadata: Mapping[str, str], header: bytes,
                 chunks: Iterator[bytes], done: Callable[[bool], None]) -> None:
        self._chunks, self._header, self._done = chunks, header, done
        self._is_complete = False
        self._ended = asyncio.Event()
        self._room = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(channel, path, metadata))

    async def _run(self, channel: Channel, path: str, metadata: Mapping[str, str]) -> None:
        try:
            call = await channel.open(path, metadata, self)
            try:
                await self._send_all(call)
                call.half_close()
                await self._ended.wait()
            finally:
                call.cancel()
        except RpcError as error:
            logger.info("a snapshot was not sent: %s", error)
        finally:
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()
            self._done(self._is_complete)

    async def _send_all(self, call: ClientCall) -> None:
        header = pb.SnapshotHeader.FromString(self._header)
        call.send(pb.SnapshotPart(header=header, checksum=zlib.crc32(b"")).SerializeToString())
        for chunk in self._chunks:
            while call.pending_bytes > SNAPSHOT_WINDOW_BYTES and not self._ended.is_set():
                self._room.clear()
                call.on_drain(self._room.set)
                await self._room.wait()
            if self._ended.is_set():
                return
            call.send(pb.SnapshotPart(chunk=chunk, checksum=zlib.crc32(chunk)).SerializeToString())
            await asyncio.sleep(0)
        call.send(pb.SnapshotPart(checksum=zlib.crc32(b""), is_last=True).SerializeToString())

    def on_message(self, message: bytes) -> None:
        """The peer has all of it."""
        self._is_complete = True

    def on_end(self, error: RpcError | None) -> None:
        if error is not None:
            self._is_complete = False
        self._ended.set()
        self._room.set()

    def cancel(self) -> None:
        self._task.cancel()
