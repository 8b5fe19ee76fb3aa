"""WorkQueue: keys to work on, each at most once at a time, however often they are added.

A key that is added while it is being worked on is handed out again after `done`. Failed keys come back after a delay that
doubles per failure. All waiting goes through the running loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from random import Random
from typing import Generic, TypeVar

__all__ = ["WorkQueue"]

K = TypeVar("K", bound=Hashable)

INITIAL_DELAY_SECONDS = 0.01
MAXIMUM_DELAY_SECONDS = 60.0


class WorkQueue(Generic[K]):
    """`add` from anywhere on the loop; one or more tasks `get`, work, and `done`."""

    def __init__(
        self,
        random: Random,
        *,
        initial_delay_seconds: float = INITIAL_DELAY_SECONDS,
        maximum_delay_seconds: float = MAXIMUM_DELAY_SECONDS,
    ) -> None:
        self._random = random
        self._initial_delay_seconds = initial_delay_seconds
        self._maximum_delay_seconds = maximum_delay_seconds
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()  # waiting in _ready, or to be put there by done()
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._getters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """How many keys are ready to be handed out."""
        return len(self._ready)

    def add(self, key: K) -> None:
        """Have the key worked on soon."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key worked on in `seconds`; the earliest of several delays counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if pending is not None:
            if pending.when() <= loop.time() + seconds:
                return
            pending.cancel()
        self._timers[key] = loop.call_later(seconds, self._on_timer, key)

    def add_rate_limited(self, key: K) -> float:
        """Count a failure of the key and have it worked on after its delay, which is returned (seconds)."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._maximum_delay_seconds, self._initial_delay_seconds * 2.0 ** min(failures, 32))
        delay *= 0.75 + self._random.random() / 2
        self.add_after(key, delay)
        return delay

    def failures(self, key: K) -> int:
        """How often the key failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """It worked: the next failure of the key is the first again."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; the caller owes a `done`."""
        while not self._ready:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake()  # the wake-up was ours: pass it on
                elif getter in self._getters:
                    self._getters.remove(getter)
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on the key has ended, well or badly."""
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake()

    def close(self) -> None:
        """Cancel all delayed adds, so that nothing of the queue stays behind in the loop."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _on_timer(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
