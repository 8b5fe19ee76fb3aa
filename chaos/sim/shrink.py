"""The smallest part of a schedule of faults that still breaks the same promise: delta debugging (Zeller, Hildebrandt 2002)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from chaos.sim.run import Options, Report, simulate

__all__ = ["minimize", "shrink"]


def minimize(items: Sequence[int], is_failing: Callable[[tuple[int, ...]], bool]) -> tuple[int, ...]:
    """Return a part of `items`, in order, that still fails, and no longer does without any one of it."""
    kept, pieces = tuple(items), 2
    if not kept or is_failing(()):
        return ()
    while len(kept) > 1:
        size = -(-len(kept) // pieces)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if is_failing(rest):
                kept, pieces = rest, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces = min(len(kept), 2 * pieces)
    return kept


def shrink(seed: int, options: Options, told: Callable[[str], None] = lambda text: None) -> tuple[Options, Report]:
    """Return the options of the smallest schedule found, and its report. `told` hears how it goes on.

    Where nothing fails, both are as they were.
    """
    report = simulate(seed, options)
    if not report.broken:
        return options, report
    broken = report.broken

    def is_failing(numbers: tuple[int, ...]) -> bool:
        nonlocal report
        found = simulate(seed, replace(options, only=numbers))
        is_same = bool(found.broken & broken)
        told(f"{len(numbers)} faults: {'fails' if is_same else 'holds'}")
        if is_same:
            report = found
        return is_same

    kept = minimize([planned[0] for planned in report.schedule], is_failing)
    return replace(options, only=kept), report
