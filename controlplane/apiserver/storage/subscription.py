"""One watcher of a watch cache: what it wants to see, and what waits to be sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from controlplane.apiserver.storage.entry import Entry, FieldsOf

if TYPE_CHECKING:
    from controlplane.apiserver.storage.cache import Event

MAX_PENDING_EVENTS: Final = 20_000

Pin = tuple[str, str] | None
"""A field that must have one value, so that events of other values need not be offered at all."""


class Matcher(Protocol):
    """What a selector decides; `None` in place of a matcher lets everything pass."""

    def __call__(self, entry: Entry) -> bool: ...


class Subscription:
    """Events of one prefix that pass a matcher, in order, as (type, entry), until `ended`."""

    __slots__ = (
        "_is_awake",
        "_matches",
        "_prefix",
        "_waiting",
        "after_revision",
        "ended",
        "on_overflow",
        "pending",
        "pin",
    )

    def __init__(self, prefix: bytes, matches: Matcher | None = None, pin: Pin = None) -> None:
        self._prefix = prefix
        self._matches = matches
        self._is_awake = False
        self._waiting: asyncio.Future[None] | None = None
        self.pin = pin
        self.pending: list[tuple[str, Entry]] = []
        self.after_revision = 0
        self.ended = False
        self.on_overflow: Callable[[], None] | None = None  # called when it is ended because nobody takes its events

    def offer(self, event: Event) -> None:
        """Queue the event if it is for this watcher; a selector that starts or stops to match makes ADDED or DELETED."""
        if self.ended or event.revision <= self.after_revision or not event.entry.key.startswith(self._prefix):
            return
        matches = self._matches
        previous = event.previous
        now = not event.deleted and (matches is None or matches(event.entry))
        before = previous is not None and (matches is None or matches(previous))
        if now:
            self._push("MODIFIED" if before else "ADDED", event.entry)
        elif before:
            gone = event.entry if event.deleted else previous.at_revision(event.revision)  # type: ignore[union-attr]
            self._push("DELETED", gone)

    def _push(self, kind: str, entry: Entry) -> None:
        self.pending.append((kind, entry))
        if len(self.pending) > MAX_PENDING_EVENTS:
            self.pending = []  # the client begins anew from what it has seen
            self.end()
            if self.on_overflow is not None:
                self.on_overflow()
        self.wake()

    def end(self) -> None:
        """No more events: the client begins anew."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Let `wait` return."""
        self._is_awake = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def wait(self) -> None:
        """Return when something is pending, when it ended, or when `wake` was called."""
        if not self._is_awake:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        self._is_awake = False

    def take(self) -> list[tuple[str, Entry]]:
        """Everything that is pending."""
        taken, self.pending = self.pending, []
        return taken


def field_matcher(fields_of: FieldsOf, name: str, value: str) -> Matcher:
    """A matcher on one field, used where no whole selector is at hand."""
    return lambda entry: entry.fields(fields_of).get(name) == value
