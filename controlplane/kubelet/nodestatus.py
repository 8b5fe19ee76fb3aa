"""The Node object: what it says at registration and after.  Pure, but for `machine_facts`, which reads the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from controlplane.kubelet.config import KUBELET_VERSION, KubeletConfig
from controlplane.kubelet.podstatus import timestamp
from controlplane.objects.quantity import Quantity

LOW_MEMORY_BYTES = 100 * 1024 * 1024
LOW_DISK_BYTES = 100 * 1024 * 1024
LOW_PID_SHARE = 0.95
UNINITIALIZED = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What does not change while the machine is up."""

    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class Pressure:
    """What runs short."""

    memory: bool = False
    disk: bool = False
    pids: bool = False


def machine_facts() -> MachineFacts:
    """Read the machine."""
    machine = platform.machine()
    return MachineFacts(
        architecture=ARCHITECTURES.get(machine, machine),
        kernel=platform.release(),
        os_image=_os_image(),
        machine_id=_first_line("/etc/machine-id"),
        boot_id=_first_line("/proc/sys/kernel/random/boot_id"),
    )


def read_pressure(disk: Path) -> Pressure:
    """Read the machine: a few small files."""
    available = 1 << 62
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    found = os.statvfs(disk)
    threads = _text("/proc/loadavg").split()
    most = _first_line("/proc/sys/kernel/pid_max")
    many = len(threads) > 3 and most.isdigit() and int(threads[3].partition("/")[2]) > LOW_PID_SHARE * int(most)
    return Pressure(available < LOW_MEMORY_BYTES, found.f_bavail * found.f_frsize < LOW_DISK_BYTES, many)


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _first_line(path: str) -> str:
    return _text(path).partition("\n")[0].strip()


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return platform.system()


def make_node(config: KubeletConfig, facts: MachineFacts, status: Mapping[str, Any]) -> dict[str, Any]:
    """The Node as it is registered."""
    taints = [dict(taint) for taint in config.register_with_taints]
    if config.cloud_provider == "external":
        taints.append(dict(UNINITIALIZED))
    spec: dict[str, Any] = {}
    if taints:
        spec["taints"] = taints
    if config.pod_cidr:
        spec["podCIDR"], spec["podCIDRs"] = config.pod_cidr, [config.pod_cidr]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": config.node_name, "labels": node_labels(config, facts)},
        "spec": spec,
        "status": dict(status),
    }


def node_labels(config: KubeletConfig, facts: MachineFacts) -> dict[str, str]:
    """The labels that the kubelet owns, and those it was told to set."""
    labels = {
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": facts.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": facts.architecture,
        "node.kubernetes.io/instance-type": f"pilothouse.{config.container_runtime}",
    }
    labels.update(config.node_labels)
    return labels


def node_status(
    config: KubeletConfig,
    facts: MachineFacts,
    capacity: Mapping[str, Quantity],
    runtime: str,
    port: int,
    pressure: Pressure,
    before: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any]:
    """NodeStatus. `before`: the last one, for the times of transitions. `runtime`: containerRuntimeVersion."""
    amounts = {name: str(amount) for name, amount in sorted(capacity.items())}
    status: dict[str, Any] = {
        "capacity": amounts,
        "allocatable": dict(amounts),
        "conditions": _conditions(pressure, before, now),
        "addresses": [
            {"type": "InternalIP", "address": config.node_ip},
            {"type": "Hostname", "address": config.node_name},
        ],
        "nodeInfo": {
            "machineID": facts.machine_id,
            "systemUUID": facts.machine_id,
            "bootID": facts.boot_id,
            "kernelVersion": facts.kernel,
            "osImage": facts.os_image,
            "containerRuntimeVersion": runtime,
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": facts.architecture,
        },
    }
    if port:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": port}}
    return status


def _conditions(pressure: Pressure, before: Mapping[str, Any] | None, now: datetime) -> list[dict[str, str]]:
    told = {c["type"]: c for c in (before or {}).get("conditions") or ()}
    wanted = (
        ("MemoryPressure", pressure.memory, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory", "memory"),
        ("DiskPressure", pressure.disk, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure", "disk"),
        ("PIDPressure", pressure.pids, "KubeletHasInsufficientPID", "KubeletHasSufficientPID", "PID"),
    )
    made = []
    for kind, holds, bad, good, what in wanted:
        text = f"kubelet has {'insufficient' if holds else 'sufficient'} {what} available"
        made.append(_condition(told, kind, holds, bad if holds else good, text, now))
    made.append(_condition(told, "Ready", True, "KubeletReady", "kubelet is posting ready status", now))
    return made


def _condition(
    told: Mapping[str, Mapping[str, str]], kind: str, holds: bool, reason: str, message: str, now: datetime
) -> dict[str, str]:
    status = "True" if holds else "False"
    moment = timestamp(now)
    before = told.get(kind)
    since = before["lastTransitionTime"] if before is not None and before.get("status") == status else moment
    return {
        "type": kind,
        "status": status,
        "lastHeartbeatTime": moment,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }


def without_heartbeats(status: Mapping[str, Any]) -> dict[str, Any]:
    """For comparing: a status without the times at which it was said."""
    conditions = [{k: v for k, v in c.items() if k != "lastHeartbeatTime"} for c in status.get("conditions") or ()]
    return {**status, "conditions": conditions}
