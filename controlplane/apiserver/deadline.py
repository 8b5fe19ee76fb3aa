"""How long a request may take: `--request-timeout`, or less by `?timeout=`; watches and streams have their own ends."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from controlplane.apiserver.context import Context
from controlplane.apiserver.fairness.fairness import UNLIMITED
from controlplane.machinery.command import parse_duration
from controlplane.objects import status

MOST_PERIOD_SECONDS: Final = 1.0  # between two looks at what takes too long
MESSAGE: Final = "request did not complete within the allotted timeout"


def limit_seconds(context: Context) -> float:
    """The limit of a request; 0: none. Raises 400 for a timeout that is no duration."""
    info, most = context.info, context.services.config.request_timeout_seconds
    if info.verb == "watch" or info.path.subresource in UNLIMITED:
        return 0.0
    given = context.query.get("timeout")
    if not given:
        return most
    try:
        wanted = parse_duration(given)
    except ValueError:
        why = f'invalid timeout specified in the request URL - time: invalid duration "{given}"'
        raise status.bad_request(why) from None
    return min(wanted, most) if wanted > 0 else most


class Deadlines:
    """The requests of a server that have a limit; those over it are cancelled, and their context says why.

    Almost all have the same limit, so that the oldest comes first, and one timer a second looks at the front: a timer for
    each request would cost more than most of what it guards. Requests with a limit of their own have one.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._period_seconds = min(MOST_PERIOD_SECONDS, limit_seconds / 4)
        self._running: dict[asyncio.Task[Any], tuple[float, Context]] = {}
        self._own: dict[asyncio.Task[Any], asyncio.TimerHandle] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def begin(self, context: Context, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Watch over a request; raises 400 for a limit that is none."""
        seconds = limit_seconds(context)
        if not seconds:
            return
        if seconds < self._limit_seconds:
            self._own[task] = loop.call_later(seconds, _expire, context, task)
            return
        self._running[task] = (loop.time() + seconds, context)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._period_seconds, self._sweep, loop)

    def end(self, task: asyncio.Task[Any]) -> None:
        """The request is served."""
        if self._running.pop(task, None) is None and self._own:
            timer = self._own.pop(task, None)
            if timer is not None:
                timer.cancel()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now, late = loop.time(), []
        for task, (deadline, context) in self._running.items():
            if deadline > now:
                break
            late.append((context, task))
        for context, task in late:
            del self._running[task]
            _expire(context, task)
        self._sweeper = loop.call_later(self._period_seconds, self._sweep, loop) if self._running else None


def _expire(context: Context, task: asyncio.Task[Any]) -> None:
    context.is_late = True
    task.cancel()
