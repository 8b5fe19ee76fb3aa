"""Audit events to a program outside: `audit.k8s.io/v1 EventList` by POST, in batches, as a kubeconfig file says where.

What the program does not take is asked again a few times and then lost, as what comes faster than it takes: requests are never
held up. Both are counted and logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from controlplane.machinery.client import ApiClient
from controlplane.machinery.config import ClientConfig, ConfigError
from controlplane.machinery.http import ConnectionLost

TRIES: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.5
PAUSE_FACTOR: Final = 1.5
TIMEOUT_SECONDS: Final = 30.0
LAST_TRY_SECONDS: Final = 5.0  # for what is buffered when the server stops
_HEADERS: Final = {"content-type": "application/json"}
_HEAD: Final = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batching:
    """How much a request carries, how long an event waits for others, and how many may wait (events)."""

    most_events: int = 400
    most_wait_seconds: float = 30.0
    most_buffered_events: int = 10_000


class AuditWebhook:
    """Raises ValueError for a file that cannot be used."""

    def __init__(self, kubeconfig: Path, batching: Batching) -> None:
        config = ClientConfig.from_kubeconfig(kubeconfig, user_agent="kube-apiserver")
        if not urlsplit(config.server).hostname:
            raise ConfigError(f"kubeconfig {kubeconfig}: {config.server!r} is no address")
        self._target = "" if urlsplit(config.server).path.strip("/") else "/"
        self._config = replace(config, server=config.server.rstrip("/"))
        self._batching = batching
        self._buffer: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._full = asyncio.Event()
        self._client: ApiClient | None = None
        self.dropped = 0
        self.sent = 0

    def write(self, line: bytes) -> None:
        """Take an event as JSON; it is sent a little later."""
        if len(self._buffer) >= self._batching.most_buffered_events:
            if not self.dropped:
                logger.error("the audit webhook is slower than its events: some are lost")
            self.dropped += 1
            return
        self._buffer.append(line)
        self._news.set()
        if len(self._buffer) >= self._batching.most_events:
            self._full.set()

    async def run(self) -> None:
        """Send what comes until cancelled; what is buffered then is tried once more."""
        self._client = ApiClient(self._config)
        try:
            while True:
                await self._news.wait()
                await self._batch_is_due()
                lines = self._taken()
                try:
                    await self._send(lines, TRIES)
                except asyncio.CancelledError:
                    self._buffer.extendleft(reversed(lines))
                    raise
        finally:
            try:
                async with asyncio.timeout(LAST_TRY_SECONDS):
                    while self._buffer:
                        await self._send(self._taken(), 1)
            except TimeoutError:
                logger.error("%d audit events are lost: the webhook does not answer", len(self._buffer))
            await self._client.close()

    async def _batch_is_due(self) -> None:
        """Return when a batch is full, or its first event waited long enough."""
        try:
            async with asyncio.timeout(self._batching.most_wait_seconds):
                await self._full.wait()
        except TimeoutError:
            return

    def _taken(self) -> list[bytes]:
        most = self._batching.most_events
        lines = [self._buffer.popleft() for _ in range(min(most, len(self._buffer)))]
        if len(self._buffer) < most:
            self._full.clear()
        if not self._buffer:
            self._news.clear()
        return lines

    async def _send(self, lines: list[bytes], tries: int) -> None:
        assert self._client is not None
        body = _HEAD + b",".join(line.rstrip(b"\n") for line in lines) + b"]}"
        pause, why = FIRST_PAUSE_SECONDS, ""
        for number in range(tries):
            if number:
                await asyncio.sleep(pause)
                pause *= PAUSE_FACTOR
            try:
                answer = await self._client.raw("POST", self._target, body, _HEADERS, timeout_seconds=TIMEOUT_SECONDS)
            except (ConnectionLost, OSError) as error:
                why = str(error)
                continue
            if 200 <= answer.status < 300:
                self.sent += len(lines)
                return
            why = f"the webhook said {answer.status}"
            if answer.status < 500 and answer.status != 429:
                break
        self.dropped += len(lines)
        logger.error("%d audit events are lost: %s", len(lines), why)
