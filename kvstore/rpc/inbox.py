"""What a stream hands to the one who iterates over it: a queue bounded in bytes that holds the sender while it is full."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from kvstore.rpc.client_connection import ClientCall

T = TypeVar("T")


class Inbox(Generic[T]):
    """One producer puts and ends, one consumer takes.

    While more than `limit_bytes` wait, `call` is held: the server gets no window for it. `call` is the owner's to set and to
    clear as streams come and go.
    """

    __slots__ = ("_error", "_items", "_limit_bytes", "_waiter", "call", "is_ended", "queued_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.call: ClientCall | None = None
        self.is_ended = False
        self._limit_bytes = limit_bytes
        self._items: deque[tuple[T, int]] = deque()
        self.queued_bytes = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: T, size_bytes: int) -> None:
        """Queue an item that weighs so much."""
        self._items.append((item, size_bytes))
        self.queued_bytes += size_bytes
        if self.queued_bytes > self._limit_bytes and self.call is not None:
            self.call.hold()
        self._wake()

    def end(self, error: Exception | None) -> None:
        """No more items come: after those that are queued `take` raises `error`, or StopAsyncIteration. The first end counts."""
        if not self.is_ended:
            self.is_ended = True
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> T:
        """Wait for the next item."""
        while not self._items:
            if self.is_ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        item, size_bytes = self._items.popleft()
        self.queued_bytes -= size_bytes
        if self.call is not None and self.queued_bytes * 2 <= self._limit_bytes:
            self.call.release()
        return item
