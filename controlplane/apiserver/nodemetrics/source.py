"""Measurer: asks kubelets what they use, and remembers their last samples."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from controlplane.apiserver.nodemetrics.samples import ContainerName, Sample, Used, covers, parse_sample, rates
from controlplane.machinery.http import ConnectionLost
from controlplane.objects.status import ApiError

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

WINDOW_SECONDS: Final = 1.0  # between the two samples of a first question
FRESH_SECONDS: Final = 2.0  # a measurement younger than this is given again
STALE_SECONDS: Final = 60.0  # a sample older than this begins no window
READ_SECONDS: Final = 3.0
READS_AT_ONCE: Final = 32

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a node and its containers used. `until`: the end of the window; `seconds`: its length."""

    until: datetime
    seconds: float
    used: Mapping[ContainerName, Used]


@dataclass(slots=True)
class _Memory:
    """What is known of one node."""

    lock: asyncio.Lock
    sample: Sample | None = None
    measurement: Measurement | None = None


class Measurer:
    """One for each API server."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Memory] = {}

    async def measure(self, services: Services, nodes: Iterable[str]) -> dict[str, Measurement]:
        """Measurements of those nodes whose kubelets answer, all at once."""
        names = sorted(set(nodes))
        limit = asyncio.Semaphore(READS_AT_ONCE)
        found = await asyncio.gather(*(self._one(services, name, limit) for name in names))
        return {name: measured for name, measured in zip(names, found, strict=True) if measured is not None}

    def forget_others(self, nodes: Iterable[str]) -> None:
        """Forget the nodes that are no more."""
        kept = set(nodes)
        for name in [name for name in self._nodes if name not in kept]:
            del self._nodes[name]

    async def _one(self, services: Services, node: str, limit: asyncio.Semaphore) -> Measurement | None:
        memory = self._nodes.setdefault(node, _Memory(asyncio.Lock()))
        loop = asyncio.get_running_loop()
        async with memory.lock:
            before = memory.sample
            if before is not None and memory.measurement is not None and loop.time() - before.at < FRESH_SECONDS:
                return memory.measurement
            try:
                async with limit:
                    now = await self._read(services, node)
                if before is None or now.at - before.at > STALE_SECONDS or not covers(before, now):
                    await asyncio.sleep(WINDOW_SECONDS)
                    before = now
                    async with limit:
                        now = await self._read(services, node)
            except (ApiError, ConnectionLost, TimeoutError, OSError, UnicodeDecodeError) as error:
                logger.debug("no metrics of node %s: %s", node, error)
                memory.sample = memory.measurement = None
                return None
            memory.sample = now
            memory.measurement = Measurement(services.environment.now(), now.at - before.at, rates(before, now))
            return memory.measurement

    @staticmethod
    async def _read(services: Services, node: str) -> Sample:
        client = await services.upstreams.kubelet(services, node)
        answer = await client.request("GET", "/metrics/resource", timeout_seconds=READ_SECONDS)
        if answer.status != 200:
            raise ConnectionLost(f"the kubelet answered {answer.status}", sent=True)
        return parse_sample(answer.body.decode(), asyncio.get_running_loop().time())
