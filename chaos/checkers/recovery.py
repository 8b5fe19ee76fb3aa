"""Liveness: after a fault is healed, a write succeeds within a bound."""

from collections.abc import Sequence

from chaos.observed import Episode

__all__ = ["LIMIT_SECONDS", "check", "times"]

LIMIT_SECONDS = 30.0


def times(episodes: Sequence[Episode]) -> list[float]:
    """Seconds from each heal to the first write, in ascending order, where it was waited for."""
    return sorted(max(0.0, each.recovered - each.healed) for each in episodes if each.recovered is not None)


def check(episodes: Sequence[Episode], *, limit_seconds: float = LIMIT_SECONDS) -> list[str]:
    """Return a line per fault from which the store took too long to come back."""
    return [
        f"SLOW: {each.fault} of {', '.join(each.victims) or 'nobody'} was healed at {each.healed:.3f}, "
        f"the next write succeeded {each.recovered - each.healed:.2f} s later"
        for each in episodes
        if each.recovered is not None and each.recovered - each.healed > limit_seconds
    ]
