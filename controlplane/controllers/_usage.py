"""What pods use, from the nodes' own metrics: `GET /api/v1/nodes/NAME/proxy/metrics/resource`, Prometheus' text.

CPU is a counter of seconds: usage is the difference of two looks at a node, divided by the time between them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controlplane.machinery.client import ApiClient, ConnectionLost
from controlplane.machinery.clock import Clock

__all__ = ["NodeMetrics", "Usage", "parse"]

CPU, MEMORY = "container_cpu_usage_seconds_total", "container_memory_working_set_bytes"
SHORTEST_WINDOW_SECONDS = 1.0  # two looks closer than this say too little
FRESH_SECONDS = 8.0  # a look younger than this serves again: several autoscalers share it
STALE_SECONDS = 90.0  # a look older than this is not compared with

_LINE = re.compile(r"^(\w+)\{([^}]*)\}\s+(\S+)(?:\s+(\d+))?$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Container = tuple[str, str, str]  # namespace, pod, container


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one container: CPU in milli-cores, working set in bytes, over `window_seconds`."""

    cpu_milli: float
    memory_bytes: float
    window_seconds: float


@dataclass(frozen=True, slots=True)
class _Look:
    at: float  # seconds, of the clock that made it
    cpu: Mapping[Container, tuple[float, float | None]]  # seconds used, the node's own time stamp (seconds)
    memory: Mapping[Container, float]


@dataclass(slots=True)
class _History:
    usage: dict[Container, Usage] = field(default_factory=dict)
    last: _Look | None = None
    measured_at: float = float("-inf")


def parse(text: str) -> tuple[dict[Container, tuple[float, float | None]], dict[Container, float]]:
    """CPU counters with the node's time stamp where it gives one, and memory gauges; other lines are skipped."""
    cpu: dict[Container, tuple[float, float | None]] = {}
    memory: dict[Container, float] = {}
    for name, labels, value, stamp in _LINE.findall(text):
        if name not in (CPU, MEMORY):
            continue
        found = dict(_LABEL.findall(labels))
        container = (found.get("namespace", ""), found.get("pod", ""), found.get("container", ""))
        if name == CPU:
            cpu[container] = (float(value), int(stamp) / 1000 if stamp else None)
        else:
            memory[container] = float(value)
    return cpu, memory


class NodeMetrics:
    """Looks at nodes, at most once in FRESH_SECONDS each, and remembers the look before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nodes: dict[str, _History] = {}

    async def usage(self, client: ApiClient, nodes: Iterable[str]) -> dict[Container, Usage]:
        """Usage of all containers on these nodes that could be measured (not those of nodes seen for the first time)."""
        names = sorted(set(nodes))
        await asyncio.gather(*(self._look(client, name) for name in names))
        return {key: value for name in names for key, value in self._nodes[name].usage.items()}

    async def _look(self, client: ApiClient, node: str) -> None:
        history = self._nodes.setdefault(node, _History())
        now = self._clock.monotonic()
        if now - history.measured_at < FRESH_SECONDS:
            return
        try:
            answer = await client.raw("GET", f"/api/v1/nodes/{node}/proxy/metrics/resource", timeout_seconds=10)
        except ConnectionLost:
            answer = None
        if answer is None or answer.status != 200:
            history.usage = {}  # a node that does not answer: nothing is known of its pods
            return
        look = _Look(now, *parse(answer.body.decode(errors="replace")))
        last, history.last = history.last, look
        if last is None or look.at - last.at > STALE_SECONDS:
            history.usage = {}
        elif look.at - last.at < SHORTEST_WINDOW_SECONDS:
            history.last = last
        else:
            history.usage = _between(last, look)
            history.measured_at = now


def _between(last: _Look, look: _Look) -> dict[Container, Usage]:
    found = {}
    for container, (used, stamp) in look.cpu.items():
        before = last.cpu.get(container)
        if before is None or used < before[0]:
            continue  # new, or started again: its counter says nothing yet
        window = stamp - before[1] if stamp is not None and before[1] is not None else look.at - last.at
        if window <= 0:
            continue  # the node itself has not measured again
        rate = (used - before[0]) / window * 1000
        found[container] = Usage(rate, look.memory.get(container, 0.0), window)
    return found
