"""What a leader knows of one follower, and how much it may send it.

    PROBE       the follower's log is not known: one message at a time
    REPLICATE   it is known: messages are pipelined up to a window of messages and bytes
    SNAPSHOT    the entries it lacks are compacted: nothing is appended until the snapshot is there
"""

from collections import deque
from enum import IntEnum


class ProgressState(IntEnum):
    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


class Progress:
    """`match`: the follower holds the log through here, durably; `next`: the next index to send."""

    __slots__ = (
        "_window",
        "_window_bytes",
        "commit_sent",
        "is_active",
        "match",
        "next",
        "probe_sent",
        "snapshot_index",
        "state",
    )

    def __init__(self, next_index: int) -> None:
        self.match = 0
        self.next = next_index
        self.state = ProgressState.PROBE
        self.probe_sent = False
        self.is_active = False
        self.commit_sent = 0
        self.snapshot_index = 0
        self._window: deque[tuple[int, int]] = deque()  # (last index, bytes) of each message in flight
        self._window_bytes = 0

    def become_probe(self) -> None:
        """Forget what is in flight and ask again from the entry after `match`."""
        after_snapshot = self.snapshot_index + 1 if self.state is ProgressState.SNAPSHOT else 0
        self._reset(ProgressState.PROBE)
        self.next = max(self.match + 1, after_snapshot)
        self.commit_sent = self.match

    def become_replicate(self) -> None:
        self._reset(ProgressState.REPLICATE)
        self.next = self.match + 1
        self.commit_sent = min(self.commit_sent, self.match)

    def become_snapshot(self) -> None:
        self._reset(ProgressState.SNAPSHOT)

    def _reset(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.snapshot_index = 0
        self._window.clear()
        self._window_bytes = 0

    def may_send(self, messages: int, limit_bytes: int) -> bool:
        """Whether one more append may leave, with this many messages and bytes allowed in flight."""
        if self.state is ProgressState.REPLICATE:
            return len(self._window) < messages and self._window_bytes < limit_bytes
        return self.state is ProgressState.PROBE and not self.probe_sent

    def on_sent(self, last_index: int, size: int) -> None:
        """An append through `last_index`, of `size` bytes, has left."""
        if self.state is ProgressState.REPLICATE:
            if last_index >= self.next:
                self.next = last_index + 1
                self._window.append((last_index, size))
                self._window_bytes += size
        else:
            self.probe_sent = True

    def on_accepted(self, index: int) -> bool:
        """The follower holds the log through `index`; True when that is news."""
        self.probe_sent = False
        while self._window and self._window[0][0] <= index:
            self._window_bytes -= self._window.popleft()[1]
        self.next = max(self.next, index + 1)
        if index <= self.match:
            return False
        self.match = index
        return True

    def on_rejected(self, rejected: int, candidate: int) -> bool:
        """previous_index `rejected` did not agree, `candidate` may; False when the answer is out of date."""
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.become_probe()
            return True
        if self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, candidate + 1), self.match + 1)
        self.probe_sent = False
        return True

    def relax(self) -> None:
        """A heartbeat was answered: the link lives, so a probe or the oldest message in flight may be tried again."""
        self.probe_sent = False

    @property
    def in_flight(self) -> int:
        return len(self._window)
