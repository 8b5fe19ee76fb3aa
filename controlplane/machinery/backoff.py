"""Exponential back-off with jitter: how long to wait before the next try."""

from __future__ import annotations

from random import Random

__all__ = ["Backoff"]


class Backoff:
    """Delays that double from `initial_seconds` to `maximum_seconds`, each spread over [1/2, 1] of itself by chance."""

    __slots__ = ("_failures", "_initial_seconds", "_maximum_seconds", "_random")

    def __init__(self, random: Random, *, initial_seconds: float = 0.1, maximum_seconds: float = 5.0) -> None:
        self._random = random
        self._initial_seconds = initial_seconds
        self._maximum_seconds = maximum_seconds
        self._failures = 0

    def next_delay(self) -> float:
        """Count one more failure; seconds to wait before the next try."""
        delay = min(self._maximum_seconds, self._initial_seconds * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return delay * (0.5 + self._random.random() / 2)

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self._failures = 0
