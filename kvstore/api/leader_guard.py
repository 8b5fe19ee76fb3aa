"""Streams whose client asked for a leader (`hasleader: true`): cut when there is none for three election time-outs."""

from collections.abc import Callable
from typing import Protocol

from kvstore.api import errors
from kvstore.api.node import Node
from kvstore.rpc import Call

__all__ = ["LeaderGuard"]

PATIENCE_ELECTIONS = 3


class Timer(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None: ...


class LeaderGuard:
    """`later(seconds, function)` is the loop's call_later."""

    def __init__(self, node: Node, later: Callable[[float, Callable[[], None]], Timer]) -> None:
        self._node = node
        self._later = later
        self._calls: dict[Call, None] = {}
        self._timer: Timer | None = None
        node.member.on_leadership(self._on_leadership)

    def add(self, call: Call) -> None:
        """Watch over `call`, if its client asked for a leader."""
        if call.metadata.get("hasleader") == "true":
            self._calls[call] = None

    def remove(self, call: Call) -> None:
        """Forget `call`; it is over."""
        self._calls.pop(call, None)

    def _on_leadership(self, leader: int, term: int) -> None:
        if self._timer is not None and leader:
            self._timer.cancel()
            self._timer = None
        elif self._timer is None and not leader:
            patience_seconds = PATIENCE_ELECTIONS * self._node.limits.election_timeout_seconds
            self._timer = self._later(patience_seconds, self._cut)

    def _cut(self) -> None:
        self._timer = None
        if not self._node.member.leader:
            for call in list(self._calls):
                errors.refuse(call, errors.NO_LEADER)
            self._calls.clear()
