"""What is wrong with one direction between two ends; several faults may hold the same one at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["CLIENTS", "Condition", "Rules"]

CLIENTS: Final = "clients"


@dataclass(slots=True)
class Condition:
    """From `source` to `destination`. `touched` counts the pieces of data (packets, on a switch) that met it.

    delay_seconds       added to every piece, and up to `jitter_seconds` more
    bytes_per_second    0: as fast as it goes
    truncate            the next piece is cut in half and the connection reset, once for each connection
    loss, duplicate, reorder, corrupt   shares of the packets; a proxy of streams cannot do these
    """

    source: str
    destination: str
    cut: bool = False
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    bytes_per_second: float = 0.0
    truncate: bool = False
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    touched: int = 0


class Rules:
    """The conditions in force."""

    def __init__(self) -> None:
        self._rules: list[Condition] = []

    def add(self, condition: Condition) -> None:
        self._rules.append(condition)

    def remove(self, condition: Condition) -> None:
        """Forget it; nothing happens when it is not there."""
        self._rules = [rule for rule in self._rules if rule is not condition]

    def between(self, source: str, destination: str) -> Iterator[Condition]:
        """Those that hold from `source` to `destination`."""
        return (rule for rule in self._rules if rule.source == source and rule.destination == destination)

    @property
    def is_calm(self) -> bool:
        return not self._rules
