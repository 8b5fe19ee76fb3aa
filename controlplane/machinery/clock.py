"""What time it is, as a value that can be injected.

Waiting goes through the running event loop; a clock only *tells* the time: `now()` for what is written into objects and
compared with what is written there, `monotonic()` for durations that must not jump when the wall clock is set.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "FakeClock", "SystemClock"]


class Clock(Protocol):
    """The port: the time of day and a count of seconds."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back; the running loop's time where a loop runs."""


class SystemClock:
    """The machine's clock; durations are those of the running event loop."""

    __slots__ = ()

    def now(self) -> datetime:
        """The machine's time of day in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The running loop's seconds. RuntimeError outside a loop."""
        return asyncio.get_running_loop().time()


class FakeClock:
    """A clock that stands still until it is told to move."""

    __slots__ = ("_monotonic", "_now")

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        """The time it was set to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds it was advanced since it was made."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both faces forward by `seconds` (>= 0)."""
        assert seconds >= 0, "time does not go back"
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
