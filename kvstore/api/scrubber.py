"""Removes, in slices between other work, what compaction made garbage; tells those who wait for the end of it."""

from collections.abc import Callable

from kvstore.mvcc.state import StateMachine
from kvstore.mvcc.working import Turn

__all__ = ["Scrubber"]

SLICE_EVENTS = 500  # two milliseconds of work or so
PAUSE_SECONDS = 0.005  # leaves the loop to clients between slices


class Scrubber:
    """`later(seconds, function)` is the loop's call_later."""

    def __init__(self, state: StateMachine, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._state = state
        self._later = later
        self._is_scheduled = False
        self._is_stopped = False
        self._waiting: list[Callable[[], None]] = []
        state.on_turn(self._on_turn)
        self._schedule()

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back once no garbage is left, maybe now."""
        if self._state.is_scrubbed:
            callback()
        else:
            self._waiting.append(callback)
            self._schedule()

    def stop(self) -> None:
        """Do nothing from now on."""
        self._is_stopped = True

    def _on_turn(self, turn: Turn) -> None:
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._state.is_scrubbed:
            self._is_scheduled = True
            self._later(PAUSE_SECONDS, self._slice)

    def _slice(self) -> None:
        self._is_scheduled = False
        if self._is_stopped:
            return
        if self._state.scrub(SLICE_EVENTS):
            self._schedule()
            return
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()
