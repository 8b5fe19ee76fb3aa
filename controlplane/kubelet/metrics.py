"""What /metrics/resource and /stats/summary say.  Pure: from one reading of the usage of all containers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.kubelet.model import Pod
from controlplane.kubelet.podstatus import timestamp
from controlplane.kubelet.runtimes.port import ContainerKey, Usage


@dataclass(frozen=True, slots=True)
class Reading:
    """The usage of a node at one moment. `node`: all of its containers, and the agent itself."""

    at: datetime
    node: Usage
    containers: Sequence[tuple[Pod, str, Usage]]


def make_reading(pods: Iterable[Pod], usage: Mapping[ContainerKey, Usage], agent: Usage, at: datetime) -> Reading:
    """Join usage with the pods it belongs to."""
    by_uid = {str(pod["metadata"]["uid"]): pod for pod in pods}
    containers = [(by_uid[key.pod_uid], key.name, used) for key, used in usage.items() if key.pod_uid in by_uid]
    everything = [agent, *(used for _, _, used in containers)]
    total = Usage(sum(u.cpu_seconds for u in everything), sum(u.memory_bytes for u in everything))
    return Reading(at, total, containers)


def _per_pod(reading: Reading) -> list[tuple[Pod, Usage]]:
    totals: dict[str, tuple[Pod, Usage]] = {}
    for pod, _, used in reading.containers:
        uid = str(pod["metadata"]["uid"])
        _, before = totals.get(uid, (pod, Usage(0.0, 0)))
        totals[uid] = pod, Usage(before.cpu_seconds + used.cpu_seconds, before.memory_bytes + used.memory_bytes)
    return list(totals.values())


def resource_metrics(reading: Reading) -> str:
    """The Prometheus text that metrics clients of the kubelet read; times in milliseconds."""
    at = int(reading.at.timestamp() * 1000)
    lines: list[str] = []

    def family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> None:
        lines.append(f"# HELP {name} [STABLE] {text}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(f"{name}{labels} {value:.10g} {at}" for labels, value in samples)

    containers = [(_labels(pod, name), used) for pod, name, used in reading.containers]
    pods = [(_labels(pod), used) for pod, used in _per_pod(reading)]
    cpu, memory = "Cumulative cpu time consumed by the {} in core-seconds", "Current working set of the {} in bytes"
    family("container_cpu_usage_seconds_total", "counter", cpu.format("container"),
           ((labels, used.cpu_seconds) for labels, used in containers))  # fmt: skip
    family("container_memory_working_set_bytes", "gauge", memory.format("container"),
           ((labels, used.memory_bytes) for labels, used in containers))  # fmt: skip
    family("node_cpu_usage_seconds_total", "counter", cpu.format("node"), [("", reading.node.cpu_seconds)])
    family("node_memory_working_set_bytes", "gauge", memory.format("node"), [("", reading.node.memory_bytes)])
    family("pod_cpu_usage_seconds_total", "counter", cpu.format("pod"),
           ((labels, used.cpu_seconds) for labels, used in pods))  # fmt: skip
    family("pod_memory_working_set_bytes", "gauge", memory.format("pod"),
           ((labels, used.memory_bytes) for labels, used in pods))  # fmt: skip
    family("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics", [("", 0)])
    return "\n".join([*lines, ""])


def _labels(pod: Pod, container: str = "") -> str:
    meta = pod["metadata"]
    first = f'container="{container}",' if container else ""
    return f'{{{first}namespace="{meta["namespace"]}",pod="{meta["name"]}"}}'


def summary(node_name: str, reading: Reading) -> dict[str, Any]:
    """The part of /stats/summary that can be known here: cpu and memory of node, pods and containers."""
    moment = timestamp(reading.at)

    def stats(used: Usage) -> dict[str, Any]:
        return {
            "cpu": {"time": moment, "usageCoreNanoSeconds": int(used.cpu_seconds * 1e9)},
            "memory": {"time": moment, "workingSetBytes": used.memory_bytes, "rssBytes": used.memory_bytes},
        }

    pods = []
    for pod, total in _per_pod(reading):
        meta = pod["metadata"]
        mine = [(name, used) for other, name, used in reading.containers if other is pod]
        pods.append(
            {
                "podRef": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
                "containers": [{"name": name, **stats(used)} for name, used in mine],
                **stats(total),
            }
        )
    return {"node": {"nodeName": node_name, **stats(reading.node)}, "pods": pods}
