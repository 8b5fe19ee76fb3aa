"""One Watch stream: control messages in their order apart from events, which are kept by watch."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Channel

Event = bytes
FENCE_ID = 7_000_000
FENCE_KEY = b"~fence"
PROGRESS_ID = -1


class Stream:
    """Reads as fast as the server sends; `tell` is called after each message."""

    def __init__(self, channel: Channel, tell: Callable[[], None], metadata: dict[str, str] | None = None) -> None:
        self._tell = tell
        self._stream = channel.stream("/etcdserverpb.Watch/Watch", metadata)
        self.control: list[rpc.WatchResponse] = []
        self.batches: dict[tuple[int, int], list[rpc.WatchResponse]] = defaultdict(list)  # by watch, and use of its id
        self._uses: dict[int, int] = defaultdict(int)
        self.live: set[int] = set()
        self.spent: set[int] = set()  # ended by a compaction
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda reader: self._changed.set())

    async def _read(self) -> None:
        async for message in self._stream:
            response = rpc.WatchResponse.FromString(message)
            is_control = response.created or response.canceled or response.watch_id == PROGRESS_ID
            watch = response.watch_id
            self._uses[watch] += response.created
            (self.control if is_control else self.batches[watch, self._uses[watch]]).append(response)
            if response.created and not response.canceled:
                self.live.add(watch)
            elif response.canceled:
                self.live.discard(watch)
            self._changed.set()
            self._tell()

    def send(self, request: rpc.WatchRequest) -> None:
        self._stream.send(request.SerializeToString())

    async def next_control(self, count: int) -> rpc.WatchResponse:
        """Return control message number `count`, as soon as it is there."""
        while len(self.control) <= count:
            await self._wait()
        return self.control[count]

    async def fence(self, revision: int) -> None:
        """Return when the fence's event of this revision has come."""
        while not any(
            event.kv.mod_revision >= revision for batch in self.batches[FENCE_ID, 1] for event in batch.events
        ):
            await self._wait()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
        if self._reader.done():
            self._reader.result()
            raise AssertionError("the server ended the stream")

    async def close(self) -> None:
        self._stream.cancel()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
