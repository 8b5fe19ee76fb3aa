"""Auto-compaction, named as etcd's flags: the leader alone proposes it, every member keeps count so as to take over.

    periodic, retention 1h        the history of the last hour is kept; looked at as often as the retention, hourly at most
    revision, retention 1000      the last thousand revisions are kept; looked at every five minutes
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from kvstore.api.node import Node
from kvstore.member.ports import Result
from kvstore.mvcc import commands
from kvstore.pb.rpc_pb2 import CompactionRequest

__all__ = ["AutoCompactor", "Retention", "parse_retention"]

REVISION_MODE_SECONDS = 300.0
LONGEST_INTERVAL_SECONDS = 3600.0
SAMPLES_PER_INTERVAL = 10
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history is kept: `seconds` of it, or `revisions`; 0 of both: all of it."""

    seconds: float = 0.0
    revisions: int = 0


def parse_retention(mode: str, retention: str) -> Retention:
    """Read --auto-compaction-mode and --auto-compaction-retention; a bare number of periodic mode is hours.

    Raises ValueError.
    """
    text = retention.strip() or "0"
    if mode == "revision" and text.isdecimal():
        return Retention(revisions=int(text))
    if mode in ("", "periodic"):
        if text.isdecimal():
            return Retention(seconds=int(text) * 3600.0)
        for unit, seconds in _UNIT_SECONDS.items():
            number = text.removesuffix(unit)
            if number != text and number.replace(".", "", 1).isdigit():
                return Retention(seconds=float(number) * seconds)
    raise ValueError(f"--auto-compaction-mode={mode} with --auto-compaction-retention={retention} makes no sense")


class AutoCompactor:
    """`clock()` is the loop's time, `later(seconds, function)` its call_later."""

    def __init__(
        self,
        node: Node,
        retention: Retention,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._node = node
        self._retention = retention
        self._clock = clock
        self._later = later
        self._interval_seconds = min(retention.seconds, LONGEST_INTERVAL_SECONDS)
        self._samples: deque[tuple[float, int]] = deque()  # (time, revision), the oldest first
        self._next_seconds = clock() + self._interval_seconds
        self._is_stopped = False
        if retention.seconds:
            self._sample()
        elif retention.revisions:
            later(REVISION_MODE_SECONDS, self._keep_revisions)

    def stop(self) -> None:
        """Compact nothing from now on."""
        self._is_stopped = True

    def _keep_revisions(self) -> None:
        if not self._is_stopped:
            self._later(REVISION_MODE_SECONDS, self._keep_revisions)
            self._compact(self._node.state.revision - self._retention.revisions)

    def _sample(self) -> None:
        if self._is_stopped:
            return
        self._later(self._interval_seconds / SAMPLES_PER_INTERVAL, self._sample)
        now = self._clock()
        self._samples.append((now, self._node.state.revision))
        while len(self._samples) > 1 and self._samples[1][0] <= now - self._retention.seconds:
            self._samples.popleft()
        taken, revision = self._samples[0]
        if now >= self._next_seconds and taken <= now - self._retention.seconds:
            self._next_seconds = now + self._interval_seconds
            self._compact(revision)

    def _compact(self, revision: int) -> None:
        state = self._node.state
        if self._node.member.is_leader and state.compacted < revision <= state.revision:
            request = CompactionRequest(revision=revision)
            self._node.member.propose(commands.AUTO_COMPACT + request.SerializeToString(), _ignore)


def _ignore(result: Result) -> None:
    """What failed is tried again when it is due again."""
