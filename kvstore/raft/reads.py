"""ReadIndex (dissertation, 6.4): one quorum round of heartbeats confirms all reads that waited when it started.

Rounds are numbered; an answer to a later round confirms the earlier ones, because it was sent later. A round is started
only by a leader that has committed an entry of its own term. Nothing survives a change of role.
"""

from collections import deque
from dataclasses import dataclass

from kvstore.raft.configuration import Configuration
from kvstore.raft.quorum import has_quorum


@dataclass(frozen=True, slots=True)
class Waiting:
    """One read: where it came from (the leader itself or a follower) and its unique context."""

    source: int
    context: int


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Reads that are linearizable at `index`."""

    index: int
    reads: tuple[Waiting, ...]


class ReadRounds:
    """The reads of one leader in one term."""

    __slots__ = ("_acknowledged", "_open", "_waiting", "round")

    def __init__(self) -> None:
        self.round = 0  # never falls in one life of the member, so that an old answer cannot look like a new one
        self._waiting: list[Waiting] = []
        self._open: deque[tuple[int, Confirmed]] = deque()
        self._acknowledged: dict[int, int] = {}

    def clear(self) -> list[Waiting]:
        """Forget all; returns the reads that got no answer."""
        lost = [read for _, confirmed in self._open for read in confirmed.reads] + self._waiting
        self._waiting = []
        self._open.clear()
        self._acknowledged.clear()
        return lost

    def add(self, read: Waiting) -> None:
        self._waiting.append(read)

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def has_open(self) -> bool:
        return bool(self._open)

    def start(self, commit: int) -> int:
        """Open a round at this commit index for all that wait; returns its number for the heartbeats."""
        self.round += 1
        self._open.append((self.round, Confirmed(commit, tuple(self._waiting))))
        self._waiting = []
        return self.round

    def acknowledge(self, member: int, number: int) -> None:
        """`member` answered a heartbeat of round `number` in this leader's term."""
        if number > self._acknowledged.get(member, 0):
            self._acknowledged[member] = number

    def take_confirmed(self, configuration: Configuration, leader: int) -> list[Confirmed]:
        """Rounds that a quorum has answered, oldest first. The leader agrees with itself."""
        confirmed: list[Confirmed] = []
        acknowledged = self._acknowledged
        while self._open:
            number, reads = self._open[0]
            agreeing = {member for member, newest in acknowledged.items() if newest >= number}
            agreeing.add(leader)
            if not has_quorum(configuration, agreeing.__contains__):
                break
            confirmed.append(reads)
            self._open.popleft()
        return confirmed
