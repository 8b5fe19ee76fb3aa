"""What a pod asks of a node, as integers: cpu in millicores, everything else in its own unit (bytes, pieces).

Source: Kubernetes' pod resource rules (KEP-753 sidecar containers, KEP-688 pod overhead, KEP-2837 pod-level resources).
"""

from collections.abc import Mapping
from typing import Any

from controlplane.objects.quantity import milli_value, units

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"

# What the score counts for a container that asks for nothing, so that such containers spread too.
UNSTATED_CPU_MILLICORES = 100
UNSTATED_MEMORY_BYTES = 200 * 1024 * 1024

# Columns are int64 and scores multiply by 100: an amount above this is as good as infinite.
AMOUNT_LIMIT = 2**53

Amounts = dict[str, int]


def amounts(resources: Mapping[str, Any]) -> Amounts:
    """A Kubernetes resource list as integers; cpu in millicores, rounded up."""
    return {
        name: min(milli_value(quantity) if name == CPU else units(quantity), AMOUNT_LIMIT)
        for name, quantity in resources.items()
    }


def pod_requests(spec: Mapping[str, Any]) -> Amounts:
    """The most that the pod holds at any moment of its life, init containers and sidecars included."""
    return _aggregate(spec, {})


def pod_requests_for_scoring(spec: Mapping[str, Any]) -> tuple[int, int]:
    """(cpu millicores, memory bytes) where containers that state neither count as small ones."""
    total = _aggregate(spec, {CPU: UNSTATED_CPU_MILLICORES, MEMORY: UNSTATED_MEMORY_BYTES})
    return total.get(CPU, 0), total.get(MEMORY, 0)


def _aggregate(spec: Mapping[str, Any], unstated: Amounts) -> Amounts:
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _container_requests(container, unstated))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        wanted = _container_requests(container, unstated)
        if container.get("restartPolicy") == "Always":
            _add(total, wanted)
            _add(sidecars, wanted)
            wanted = dict(sidecars)
        else:
            _add(wanted, sidecars)
        _raise_to(peak, wanted)
    _raise_to(total, peak)
    pod_level = (spec.get("resources") or {}).get("requests")
    if pod_level:
        total.update(amounts(pod_level))
    overhead = spec.get("overhead")
    if overhead:
        _add(total, amounts(overhead))
    return total


def _container_requests(container: Mapping[str, Any], unstated: Amounts) -> Amounts:
    stated = (container.get("resources") or {}).get("requests")
    return {**unstated, **amounts(stated)} if stated else dict(unstated)


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _raise_to(total: Amounts, floor: Mapping[str, int]) -> None:
    for name, amount in floor.items():
        if amount > total.get(name, 0):
            total[name] = amount
