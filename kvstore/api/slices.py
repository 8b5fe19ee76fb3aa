"""Long work in slices of a few milliseconds, with other work of the loop between them.

A job is a generator that yields None where it may be interrupted, and its result last. It is closed when the member stops,
so that the view it reads from is closed before the store is.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

__all__ = ["Slices", "Steps"]

SLICE_SECONDS = 0.002
PAUSE_SECONDS = 0.001

_Result = TypeVar("_Result")
Steps = Generator[_Result | None, None, None]


class Slices:
    """`clock()` is the loop's time, `later(seconds, function)` its call_later."""

    def __init__(self, clock: Callable[[], float], later: Callable[[float, Callable[[], None]], object]) -> None:
        self._clock = clock
        self._later = later
        self._jobs: dict[Steps[Any], None] = {}

    def run(
        self,
        steps: Steps[_Result],
        done: Callable[[_Result], None],
        is_held: Callable[[Callable[[], None]], bool] | None = None,
    ) -> Callable[[], None]:
        """Work on `steps`, beginning now; hand their result to `done`. Call what is returned to give up.

        `is_held(resume)` is asked before each further slice: True when it will call `resume` by itself.
        """
        self._jobs[steps] = None
        self._slice(steps, done, is_held)
        return lambda: self._end(steps)

    def _end(self, steps: Steps[Any]) -> None:
        if steps in self._jobs:
            del self._jobs[steps]
            steps.close()

    def _slice(
        self,
        steps: Steps[_Result],
        done: Callable[[_Result], None],
        is_held: Callable[[Callable[[], None]], bool] | None,
    ) -> None:
        if steps not in self._jobs:
            return
        end = self._clock() + SLICE_SECONDS
        try:
            for result in steps:
                if result is not None:
                    self._end(steps)
                    done(result)
                    return
                if self._clock() >= end:
                    break
        except BaseException:
            self._end(steps)
            raise

        def resume() -> None:
            self._slice(steps, done, is_held)

        if is_held is None or not is_held(resume):
            self._later(PAUSE_SECONDS, resume)

    def stop(self) -> None:
        """Give up what is under way."""
        for steps in list(self._jobs):
            self._end(steps)
