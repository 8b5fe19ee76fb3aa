"""The Disk port: a process's durable work in order, one at a time, each with a latency; what has not run is lost in a crash.

What the work writes to is `files.py`; here is only how long it takes, and what waits for room.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from chaos.sim.boundary import Boundaries
from chaos.sim.heap import Heap, Timer
from kvstore.storage.port import StoreFull

__all__ = ["SimulatedDisk", "Speed"]

FSYNC_SECONDS = 0.0005
ROOM_PAUSE_SECONDS = 0.2  # between attempts to write to a full disk
ANSWER_SECONDS = 0.00005

Job = tuple[Callable[[], None], Callable[[], None]]


@dataclass(slots=True)
class Speed:
    """Of one host's disk. `slowness`: times the usual; `stalled_until`: nothing finishes before."""

    slowness: float = 1.0
    stalled_until: float = 0.0


class SimulatedDisk:
    """`run(callback)` is how the owner runs things: not when it is dead, later when it is paused."""

    def __init__(
        self, heap: Heap, random: Random, run: Callable[[Callable[[], None]], None], boundaries: Boundaries, speed: Speed
    ) -> None:
        self.is_full = False  # a job waits for room
        self._heap, self._random, self._run, self._boundaries, self._speed = heap, random, run, boundaries, speed
        self._jobs: deque[Job] = deque()
        self._timer: Timer | None = None

    def submit(self, work: Callable[[], None], done: Callable[[], None], *, is_awaited: bool = False) -> None:
        """Queue `work`."""
        self._boundaries.passed("log asked to save")
        self._jobs.append((work, done))
        if self._timer is None:
            self._start()

    def _start(self) -> None:
        seconds = FSYNC_SECONDS * (0.5 + self._random.random()) * self._speed.slowness
        when = max(self._heap.now + seconds, self._speed.stalled_until)
        self._timer = self._heap.at(when, lambda: self._run(self._finish))

    def _finish(self) -> None:
        if not self._jobs:
            self._timer = None
            return
        if not self._do_first():
            self._timer = self._heap.after(ROOM_PAUSE_SECONDS, lambda: self._run(self._finish))
            return
        _, done = self._jobs.popleft()
        self._boundaries.passed("log saved")
        self._heap.after(ANSWER_SECONDS, lambda: self._run(done))
        self._timer = None
        if self._jobs:
            self._start()

    def _do_first(self) -> bool:
        """Do the oldest work; False: there is no room for it yet."""
        self._boundaries.passed("before the log is saved")
        try:
            self._jobs[0][0]()
        except StoreFull:
            self.is_full = True
        else:
            self.is_full = False
        return not self.is_full

    def drain(self) -> bool:
        """Do at once what waits; False where there is no room for it."""
        while self._jobs and self._do_first():
            _, done = self._jobs.popleft()
            done()
        return not self._jobs
