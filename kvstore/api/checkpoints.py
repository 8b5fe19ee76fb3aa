"""How much of each lease's time is left, as the log knows it: a new leader goes on from there, not from the full TTL.

The leader proposes a checkpoint of a lease once its remaining time is an interval shorter than what the log knows. A
renewal gives the full time again, and must not be shortened by a checkpoint from before: where there is one, or one is
under way, an entry takes it back first, and only then the renewal is answered (kvstore.api.lessor).
"""

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from math import ceil

from kvstore.mvcc.leases import LeaseRecord

__all__ = ["Checkpoints"]


class Checkpoints:
    """Of one member. `interval_seconds` 0: none are proposed; those of other members count nevertheless."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._remaining: dict[int, int] = {}  # seconds, by lease; on every member
        self._proposed: set[int] = set()  # by this leader; what comes of them is not known
        self._queue: list[tuple[float, int]] = []  # (when to look, lease): one entry of each watched lease
        self._watched: set[int] = set()

    def load(self, records: Iterable[LeaseRecord]) -> None:
        """Replace all that the log knows."""
        self._remaining = {one.lease: one.remaining_seconds for one in records if one.remaining_seconds}

    def learn(self, lease: int, remaining_seconds: int) -> None:
        """Take note of what an entry of the log has said; 0: all of its time is left, or the lease is gone."""
        if remaining_seconds:
            self._remaining[lease] = remaining_seconds
        else:
            self._remaining.pop(lease, None)

    def known(self, lease: int, ttl_seconds: int) -> int:
        """Return the seconds that a new leader gives."""
        return self._remaining.get(lease, ttl_seconds)

    def stands_against_renewal(self, lease: int) -> bool:
        """Tell whether a checkpoint must be taken back before a renewal is answered."""
        return lease in self._remaining or lease in self._proposed

    # ---- the leader's side ----------------------------------------------------------------------------------------

    def watch(self, lease: int, ttl_seconds: int, now: float) -> None:
        """Look after a lease that was granted now."""
        if 0 < self._interval_seconds < ttl_seconds and lease not in self._watched:
            self._watched.add(lease)
            heappush(self._queue, (now + self._interval_seconds, lease))

    def watch_all(self, ttls: Mapping[int, int], now: float) -> None:
        """Look after all leases, as a new leader."""
        interval = self._interval_seconds
        if interval > 0:
            self._watched = {lease for lease, ttl_seconds in ttls.items() if self.known(lease, ttl_seconds) > interval}
            self._queue = [(now + interval, lease) for lease in self._watched]
            heapify(self._queue)

    def forget_all(self) -> None:
        """Somebody else leads. What is under way is void by then, or in the log before any renewal by the next leader."""
        self._proposed.clear()
        self._watched.clear()
        self._queue.clear()

    def take_due(
        self, now: float, deadlines: Mapping[int, float], ttls: Mapping[int, int], limit: int
    ) -> list[tuple[int, int]]:
        """Return (lease, seconds left) of at most `limit` leases, which count as proposed from now on."""
        due: list[tuple[int, int]] = []
        while self._queue and self._queue[0][0] <= now and len(due) < limit:
            _, lease = heappop(self._queue)
            deadline, ttl_seconds = deadlines.get(lease), ttls.get(lease)
            if deadline is None or ttl_seconds is None:
                self._watched.discard(lease)  # gone
                continue
            left, known = deadline - now, self.known(lease, ttl_seconds)
            if left <= known - self._interval_seconds and left > 0:
                due.append((lease, ceil(left)))
                self._proposed.add(lease)
                known = ceil(left)
            if known > self._interval_seconds:  # a renewal since gives it more time until it is looked at again
                heappush(self._queue, (max(deadline - known, now) + self._interval_seconds, lease))
            else:
                self._watched.discard(lease)
        return due

    def settle(self, lease: int) -> None:
        """What became of a proposal is known: it is in the log, and was learned, or was taken back."""
        self._proposed.discard(lease)
