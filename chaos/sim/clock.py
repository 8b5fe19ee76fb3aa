"""A host's clocks: a monotonic one that may run fast or slow, and a wall clock that may also jump."""

from collections.abc import Callable

__all__ = ["HostClock"]

EPOCH_SECONDS = 1_700_000_000.0  # where every world begins


class HostClock:
    """Local time as a function of the world's. `rate` is local seconds for each of the world's."""

    def __init__(self, world: Callable[[], float], rate: float = 1.0) -> None:
        self._world = world
        self._rate = rate
        self._local_base = self._world_base = world()
        self._wall_offset = EPOCH_SECONDS

    def monotonic(self) -> float:
        """Seconds; never goes back."""
        return self._local_base + (self._world() - self._world_base) * self._rate

    def wall(self) -> float:
        """Seconds since 1970, as this host believes."""
        return self.monotonic() + self._wall_offset

    def delay(self, local_seconds: float) -> float:
        """How long that takes in the world's time at the present rate."""
        return local_seconds / self._rate

    def set_rate(self, rate: float) -> None:
        """Run at `rate` from now on."""
        self._local_base, self._world_base, self._rate = self.monotonic(), self._world(), rate

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone."""
        self._wall_offset += seconds
