"""EventRecorder: core/v1 Events about objects, fire and forget.

`event` never waits and never fails: it puts the event into a bounded queue, and a task of the recorder writes it. The same event
about the same object (type, reason, message) is counted up instead of created again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from controlplane.machinery.client import ApiClient, ApiError, ConnectionLost
from controlplane.machinery.clock import Clock
from controlplane.objects.kinds import EVENTS
from controlplane.objects.meta import format_time

__all__ = ["EventRecorder"]

log = logging.getLogger("controlplane.machinery")

Object = dict[str, Any]

QUEUE_LIMIT = 1000  # events that wait to be written; more are dropped
REMEMBERED = 2048  # distinct events whose count is kept
MESSAGE_LIMIT_BYTES = 1024


@dataclass(slots=True)
class _Known:
    name: str
    namespace: str
    count: int


class EventRecorder:
    """`event(...)` from anywhere on the loop; `run()` in a task of its own writes them."""

    def __init__(self, client: ApiClient, component: str, *, clock: Clock, random: Random, host: str = "") -> None:
        self._client = client
        self._source = {"component": component, "host": host} if host else {"component": component}
        self._component = component
        self._instance = host or component
        self._clock = clock
        self._random = random
        self._queue: asyncio.Queue[Object] = asyncio.Queue(QUEUE_LIMIT)
        self._known: OrderedDict[tuple[str, ...], _Known] = OrderedDict()
        self.dropped = 0  # events lost to a full queue

    def event(
        self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str, component: str = ""
    ) -> None:
        """Record that something happened to an object (which needs apiVersion, kind and metadata).

        `component`: who reports it, where that is not the recorder's own.
        """
        metadata = about["metadata"]
        involved = {
            "kind": about.get("kind", ""),
            "apiVersion": about.get("apiVersion", ""),
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        now = format_time(self._clock.now())
        namespace = metadata.get("namespace") or "default"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{self._random.getrandbits(64):016x}", "namespace": namespace},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "reason": reason,
            "message": _shorten(message),
            "type": type,
            "source": {**self._source, "component": component} if component else self._source,
            "reportingComponent": component or self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except (ApiError, ConnectionLost) as error:
                log.debug("event %s not written: %s", event["reason"], error)
            except Exception:  # events are told as well as can be; they never stop those who tell them
                log.exception("event %s not written", event["reason"])
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Return when all that was recorded so far has been tried."""
        await self._queue.join()

    async def _write(self, event: Object) -> None:
        involved = event["involvedObject"]
        identity = (involved.get("uid", ""), involved["name"], event["type"], event["reason"], event["message"])
        known = self._known.get(identity)
        if known is not None:
            self._known.move_to_end(identity)
            known.count += 1
            patch = {"count": known.count, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._client.patch(EVENTS, known.name, patch, known.namespace, type="merge")
                return
            except ApiError as error:
                if error.code != 404:
                    raise
                event = {**event, "count": known.count}  # it expired: begin a new one, with the old count
        created = await self._client.create(EVENTS, event)
        metadata = created["metadata"]
        self._known[identity] = _Known(metadata["name"], metadata["namespace"], event["count"])
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _shorten(message: str) -> str:
    data = message.encode()
    return (
        message if len(data) <= MESSAGE_LIMIT_BYTES else data[: MESSAGE_LIMIT_BYTES - 3].decode(errors="ignore") + "..."
    )
