"""The network: every packet has its own fate, drawn from the seed.

Hosts are named; a link has a direction. A packet on a good link arrives after `delay_seconds` and up to `jitter_seconds`
more, in order, as on a TCP connection. Faults make it late, lose it, send it twice, or let it overtake.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from chaos.sim.heap import Heap
from chaos.sim.trace import Trace

__all__ = ["Network", "Weather"]

DUPLICATE_DELAY_SECONDS = 0.05


@dataclass(slots=True)
class Weather:
    """What packets suffer. Probabilities are of each packet; seconds are of virtual time."""

    delay_seconds: float = 0.0003
    jitter_seconds: float = 0.0003
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    extra_delay_seconds: float = 0.0  # up to so much more, evenly spread


class Network:
    """Carries callbacks between named hosts. `cut` holds the links that carry nothing."""

    def __init__(self, heap: Heap, trace: Trace, random: Random) -> None:
        self.weather = Weather()
        self.cut: set[tuple[str, str]] = set()
        self._heap, self._trace, self._random = heap, trace, random
        self._free_at: dict[tuple[str, str], float] = {}  # when the newest packet in order arrives

    def send(
        self, source: str, target: str, what: str, deliver: Callable[[], None], *, in_order: bool = False
    ) -> bool:
        """Send one packet; `deliver` is called when it arrives, if it does. Return False when it is lost.

        `in_order`: as on one connection, never twice and never overtaking.
        """
        weather, random, counts = self.weather, self._random, self._trace.counts
        if (source, target) in self.cut:
            counts["packet cut off"] += 1
            return False
        if weather.loss and random.random() < weather.loss:
            counts["packet lost"] += 1
            return False
        self._carry(source, target, what, deliver, in_order)
        if weather.duplication and not in_order and random.random() < weather.duplication:
            counts["packet duplicated"] += 1
            self._heap.after(random.random() * DUPLICATE_DELAY_SECONDS, lambda: self._arrive(source, target, what, deliver))
        return True

    def _carry(self, source: str, target: str, what: str, deliver: Callable[[], None], in_order: bool) -> None:
        weather, random = self.weather, self._random
        when = self._heap.now + weather.delay_seconds + random.random() * weather.jitter_seconds
        if weather.extra_delay_seconds:
            self._trace.counts["packet delayed"] += 1
            when += random.random() * weather.extra_delay_seconds
        link = (source, target)
        if weather.reordering and not in_order and random.random() < weather.reordering:
            self._trace.counts["packet overtaken"] += 1
            when += random.random() * DUPLICATE_DELAY_SECONDS
        else:
            when = max(when, self._free_at.get(link, 0.0))
            self._free_at[link] = when
        self._heap.at(when, lambda: self._arrive(source, target, what, deliver))

    def _arrive(self, source: str, target: str, what: str, deliver: Callable[[], None]) -> None:
        if (source, target) in self.cut:  # it was on its way when the link was cut
            self._trace.counts["packet cut off"] += 1
            return
        self._trace.note(self._heap.now, target, what, source)
        deliver()

    # Links ---------------------------------------------------------------------------------------------------------

    def separate(self, left: Iterable[str], right: Iterable[str], *, one_way: bool = False) -> None:
        """Cut the links from each of `left` to each of `right`, and back unless `one_way`."""
        others = sorted(right)
        for source in sorted(left):
            for target in others:
                self.cut.add((source, target))
                if not one_way:
                    self.cut.add((target, source))

    def heal(self) -> None:
        """All links carry again, in good weather."""
        self.cut.clear()
        self.weather = Weather()
