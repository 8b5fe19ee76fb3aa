"""The disk of one process's log: work in order, one at a time, each with a latency; what has not run is lost in a crash."""

from collections import deque
from collections.abc import Callable
from random import Random

from chaos.sim.boundary import Boundaries
from chaos.sim.heap import Heap, Timer

__all__ = ["SimulatedDisk"]

FSYNC_SECONDS = 0.0005
ROOM_PAUSE_SECONDS = 0.2  # between attempts to write to a full disk
ANSWER_SECONDS = 0.00005

Job = tuple[Callable[[], None], Callable[[], None]]


class DiskError(OSError):
    """What the simulated kernel answers when it was told to fail."""


class SimulatedDisk:
    """The Disk port. `run(callback)` is how the owner runs things: not when it is dead, later when it is paused."""

    is_full = False

    def __init__(self, heap: Heap, random: Random, run: Callable[[Callable[[], None]], None], boundaries: Boundaries) -> None:
        self.slowness = 1.0  # of every job
        self.stalled_until = 0.0  # nothing finishes before
        self.error_number = 0  # what the next job fails with
        self.has_room = True
        self.is_full = False  # a job waits for room
        self._heap, self._random, self._run, self._boundaries = heap, random, run, boundaries
        self._jobs: deque[Job] = deque()
        self._timer: Timer | None = None

    def submit(self, work: Callable[[], None], done: Callable[[], None], *, is_awaited: bool = False) -> None:
        """Queue `work`."""
        self._boundaries.passed("log asked to save")
        self._jobs.append((work, done))
        if self._timer is None:
            self._start()

    def _start(self) -> None:
        seconds = FSYNC_SECONDS * (0.5 + self._random.random()) * self.slowness
        when = max(self._heap.now + seconds, self.stalled_until)
        self._timer = self._heap.at(when, lambda: self._run(self._finish))

    def _finish(self) -> None:
        if not self._jobs:
            self._timer = None
            return
        self.is_full = not self.has_room
        if self.is_full:
            self._timer = self._heap.after(ROOM_PAUSE_SECONDS, lambda: self._run(self._finish))
            return
        work, done = self._jobs.popleft()
        self._boundaries.passed("before the log is saved")
        if self.error_number:
            raise DiskError(self.error_number, "simulated")
        work()
        self._boundaries.passed("log saved")
        self._heap.after(ANSWER_SECONDS, lambda: self._run(done))
        self._timer = None
        if self._jobs:
            self._start()

    def drain(self) -> bool:
        """Do at once what waits; False where there is no room for it."""
        while self._jobs and self.has_room:
            work, done = self._jobs.popleft()
            work()
            done()
        return not self._jobs
