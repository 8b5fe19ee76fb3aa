"""A promise that was broken, and by which requests one sees it."""

from dataclasses import dataclass

__all__ = ["Violation"]


@dataclass(frozen=True, slots=True)
class Violation:
    """`involved`: positions of the transactions that cannot all be right."""

    text: str
    involved: tuple[int, ...] = ()
