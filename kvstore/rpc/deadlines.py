"""Deadlines of many calls with few timers: calls whose deadlines fall in the same short slot share one timer."""

import asyncio
from collections.abc import Callable
from typing import Protocol

SLOT_SECONDS = 0.02  # a deadline may be noticed this much late, never early


class Expiring(Protocol):
    """What has a deadline."""

    def on_deadline(self) -> None:
        """The deadline passed and nobody took the call out of its slot."""


Slot = dict[Expiring, None]


class Deadlines:
    """Calls by slot. `add` returns the slot; the owner deletes itself from it when it ends in time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, Slot] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def add(self, item: Expiring, deadline: float) -> Slot:
        """Watch `item` until `deadline` (loop time)."""
        number = int(deadline / SLOT_SECONDS) + 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
            self._timers[number] = self._loop.call_at(number * SLOT_SECONDS, self._expire, number)
        slot[item] = None
        return slot

    def close(self) -> None:
        """Cancel the timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._slots.clear()

    def _expire(self, number: int) -> None:
        slot = self._slots.pop(number)
        del self._timers[number]
        for item in list(slot):
            if item in slot:
                item.on_deadline()


Scheduler = Callable[[Expiring, float], Slot]
