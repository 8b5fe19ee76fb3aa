"""Virtual time: a heap of callbacks, taken in order of their time and of their number."""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["Heap", "Timer"]


class Timer:
    """A callback that waits for its time; `cancel` makes it nothing."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], object] | None) -> None:
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        """Forget the callback. Harmless when it has run."""
        self.callback = None


class Heap:
    """Seconds of virtual time since the world began, and what is to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._entries: list[tuple[float, int, Timer]] = []
        self._count = 0

    def at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call back at `when` (at once, but after what is due now, where that is past)."""
        timer = Timer(max(when, self.now), callback)
        self._count += 1
        heapq.heappush(self._entries, (timer.when, self._count, timer))
        return timer

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back `seconds` from now."""
        return self.at(self.now + seconds, callback)

    def run_until(self, when: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let everything happen that is due by `when`, in order; return whether `stop` said so before."""
        entries = self._entries
        while entries and entries[0][0] <= when:
            due, _, timer = heapq.heappop(entries)
            callback = timer.callback
            if callback is None:
                continue
            self.now = due
            self.steps += 1
            callback()
            if stop is not None and stop():
                return True
        self.now = max(self.now, when)
        return False
