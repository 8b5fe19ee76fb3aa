"""Where a process may die: between any two effects. A process that is armed dies when its countdown ends."""

from collections import Counter

__all__ = ["Boundaries", "SimulatedCrash"]


class SimulatedCrash(BaseException):
    """The process ends here, in the middle of what it does. Not an Exception: nothing in the product may catch it."""


class Boundaries:
    """The effect boundaries that one host's processes pass: `passed("log saved")` counts down to a death."""

    def __init__(self, seen: Counter[str], died: Counter[str]) -> None:
        self.seen, self.died = seen, died
        self.count = 0  # of all that were passed
        self.first: dict[str, int] = {}  # name -> the count at which it was passed first
        self._left = 0

    def arm(self, passes: int) -> None:
        """Die at the `passes`-th boundary from now (1: the next); 0: do not."""
        self._left = passes

    def passed(self, name: str) -> None:
        """Raise SimulatedCrash when the countdown ends here."""
        self.seen[name] += 1
        self.count += 1
        self.first.setdefault(name, self.count)
        if self._left:
            self._left -= 1
            if not self._left:
                self.died[name] += 1
                raise SimulatedCrash(name)
