"""A pod read once: everything that filters, scores and the queue ask of it, ready to use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.scheduler.requests import Amounts, pod_requests, pod_requests_for_scoring

DEFAULT_SCHEDULER = "default-scheduler"
TERMINAL_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class HostPort:
    """One port of the host that a container claims; an empty or 0.0.0.0 address claims it on every address."""

    address: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True, eq=False)
class PodInfo:
    """A pod as the scheduler sees it. `raw` is the API object, never changed here."""

    raw: dict[str, Any]
    key: str
    uid: str
    namespace: str
    name: str
    node_name: str
    scheduler_name: str
    priority: int
    requests: Amounts
    scoring_cpu_millicores: int
    scoring_memory_bytes: int
    tolerations: tuple[dict[str, Any], ...]
    host_ports: tuple[HostPort, ...]
    node_selector: Mapping[str, str]
    required_terms: tuple[Mapping[str, Any], ...] | None
    preferred_terms: tuple[Mapping[str, Any], ...]
    scheduling_gates: tuple[str, ...]
    terminating: bool
    terminal: bool


def read_pod(pod: dict[str, Any]) -> PodInfo:
    """Read a core/v1 Pod. Raises ValueError on a quantity that no API server lets through."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    scoring_cpu, scoring_memory = pod_requests_for_scoring(spec)
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return PodInfo(
        raw=pod,
        key=f"{namespace}/{name}",
        uid=metadata.get("uid", ""),
        namespace=namespace,
        name=name,
        node_name=spec.get("nodeName") or "",
        scheduler_name=spec.get("schedulerName") or DEFAULT_SCHEDULER,
        priority=spec.get("priority") or 0,
        requests=pod_requests(spec),
        scoring_cpu_millicores=scoring_cpu,
        scoring_memory_bytes=scoring_memory,
        tolerations=tuple(spec.get("tolerations") or ()),
        host_ports=_host_ports(spec),
        node_selector=spec.get("nodeSelector") or {},
        required_terms=None if required is None else tuple(required.get("nodeSelectorTerms") or ()),
        preferred_terms=tuple(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()),
        scheduling_gates=tuple(gate["name"] for gate in spec.get("schedulingGates") or ()),
        terminating="deletionTimestamp" in metadata,
        terminal=status.get("phase") in TERMINAL_PHASES,
    )


def _host_ports(spec: Mapping[str, Any]) -> tuple[HostPort, ...]:
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return tuple(
        HostPort(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for container in (*(spec.get("containers") or ()), *sidecars)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )
