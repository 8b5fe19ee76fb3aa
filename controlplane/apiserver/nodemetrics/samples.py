"""A kubelet's /metrics/resource as values, and what two of them say.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_LINE: Final = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})?\s+(?P<value>\S+)(?:\s+(?P<at>\d+))?")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_CPU: Final = "_cpu_usage_seconds_total"
_MEMORY: Final = "_memory_working_set_bytes"

ContainerName = tuple[str, str, str]  # namespace, pod, container
NODE: Final[ContainerName] = ("", "", "")


@dataclass(frozen=True, slots=True)
class Counters:
    """CPU since the start in seconds, memory now in bytes."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a kubelet. `at`: seconds, by the reader's monotonic clock; `counters[NODE]`: the whole node."""

    at: float
    counters: Mapping[ContainerName, Counters] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Used:
    """CPU in cores over a window, memory in bytes at its end."""

    cores: float
    memory_bytes: int


def parse_sample(text: str, at: float) -> Sample:
    """Prometheus' text format; what is not about the CPU or memory of the node or a container is skipped."""
    cpu: dict[ContainerName, float] = {}
    memory: dict[ContainerName, int] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found is None:
            continue
        subject, suffix = _metric(found["name"])
        if not subject:
            continue
        labels = dict(_LABEL.findall(found["labels"] or ""))
        name = NODE
        if subject == "container":
            name = (labels.get("namespace", ""), labels.get("pod", ""), labels.get("container", ""))
        try:
            value = float(found["value"])
        except ValueError:
            continue
        if suffix == _CPU:
            cpu[name] = value
        else:
            memory[name] = int(value)
    names = cpu.keys() & memory.keys()
    return Sample(at, {name: Counters(cpu[name], memory[name]) for name in sorted(names)})


def _metric(name: str) -> tuple[str, str]:
    """("container" or "node", suffix); ("", "") for another metric."""
    for subject in ("container", "node"):
        for suffix in (_CPU, _MEMORY):
            if name == subject + suffix:
                return subject, suffix
    return "", ""


def covers(before: Sample, after: Sample) -> bool:
    """Whether every container of `after` can be given a rate: it was there before, and has not begun anew since."""
    return all(
        name in before.counters and before.counters[name].cpu_seconds <= found.cpu_seconds
        for name, found in after.counters.items()
    )


def rates(before: Sample, after: Sample) -> dict[ContainerName, Used]:
    """What was used between two samples, of all that is in both; nothing when no time has passed."""
    seconds = after.at - before.at
    if seconds <= 0:
        return {}
    found = {}
    for name, now in after.counters.items():
        then = before.counters.get(name)
        if then is not None and then.cpu_seconds <= now.cpu_seconds:
            found[name] = Used((now.cpu_seconds - then.cpu_seconds) / seconds, now.memory_bytes)
    return found


def usage(cores: float, memory_bytes: int) -> dict[str, str]:
    """As ResourceList: nanocores and kibibytes."""
    return {"cpu": f"{round(cores * 1e9)}n" if cores else "0", "memory": f"{memory_bytes // 1024}Ki"}
