"""What pods ask for and what the node has.  Pure, but for `machine_capacity`, which reads the machine once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from controlplane.kubelet.model import Pod, Role, containers_of
from controlplane.kubelet.runtimes.port import StartFailed
from controlplane.objects.quantity import Quantity, QuantityError, from_units, parse

Amounts = Mapping[str, Quantity]
DEFAULT_MAX_PODS = 110
_NANOS_PER_MILLI = 10**6


def parse_amounts(text: str) -> dict[str, Quantity]:
    """`cpu=4,memory=8Gi,pods=110` -> amounts. ValueError names the piece that is wrong."""
    result = {}
    for piece in filter(None, (part.strip() for part in text.split(","))):
        name, _, amount = piece.partition("=")
        try:
            result[name.strip()] = parse(amount.strip())
        except QuantityError as error:
            raise ValueError(f"{piece!r} is not NAME=QUANTITY: {error}") from error
    return result


def machine_capacity(disk: Path, max_pods: int) -> dict[str, Quantity]:
    """CPU, memory, disk of the machine we are on."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = os.statvfs(disk)
    return {
        "cpu": from_units(len(os.sched_getaffinity(0))),
        "memory": from_units(memory_bytes // 1024 * 1024, "BinarySI"),
        "ephemeral-storage": from_units(found.f_blocks * found.f_frsize // 1024 * 1024, "BinarySI"),
        "pods": from_units(max_pods),
    }


def pod_requests(pod: Pod) -> dict[str, Quantity]:
    """What the scheduler counts for a pod: the larger of its containers together and its init phase, plus overhead."""
    spec = pod["spec"]
    running: dict[str, Quantity] = {}
    most: dict[str, Quantity] = {}
    sidecars: dict[str, Quantity] = {}
    for container, role in containers_of(pod):
        amounts = _requests_of(container)
        if role is Role.SIDECAR:
            _add(sidecars, amounts)
            _maximum(most, sidecars)
        elif role is Role.INIT:
            with_sidecars = dict(sidecars)
            _add(with_sidecars, amounts)
            _maximum(most, with_sidecars)
        else:
            _add(running, amounts)
    _add(running, sidecars)
    _maximum(running, most)
    whole = {name: parse(value) for name, value in ((spec.get("resources") or {}).get("requests") or {}).items()}
    running.update(whole)
    _add(running, {name: parse(value) for name, value in (spec.get("overhead") or {}).items()})
    return running


def _requests_of(container: Mapping[str, Any]) -> dict[str, Quantity]:
    resources = container.get("resources") or {}
    amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: parse(value) for name, value in amounts.items()}


def _add(total: dict[str, Quantity], more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _maximum(total: dict[str, Quantity], other: Amounts) -> None:
    for name, amount in other.items():
        if name not in total or total[name].nanos < amount.nanos:
            total[name] = amount


def memory_limit_bytes(container: Mapping[str, Any]) -> int:
    """0 when there is none."""
    value = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return parse(value).value if value is not None else 0


def admit(pod: Pod, others: Iterable[Pod], allocatable: Amounts) -> tuple[str, str] | None:
    """None when the pod fits beside the others, else (reason, message) in the kubelet's words."""
    used: dict[str, Quantity] = {}
    count = 0
    for other in others:
        _add(used, pod_requests(other))
        count += 1
    used["pods"] = from_units(count)
    wanted = {**pod_requests(pod), "pods": from_units(1)}
    for name, amount in sorted(wanted.items()):
        if not amount.nanos:
            continue
        capacity = allocatable.get(name, from_units(0))
        already = used.get(name, from_units(0))
        if already.nanos + amount.nanos > capacity.nanos:
            figures = [_figure(name, each) for each in (amount, already, capacity)]
            text = f"requested: {figures[0]}, used: {figures[1]}, capacity: {figures[2]}"
            return f"OutOf{name}", f"Pod was rejected: Node didn't have enough resource: {name}, {text}"
    return None


def _figure(name: str, amount: Quantity) -> int:
    return amount.milli_value if name == "cpu" else amount.value


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort."""
    any_amount, guaranteed = False, True
    for container, _ in containers_of(pod):
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        any_amount = any_amount or bool(requests or limits)
        for name in ("cpu", "memory"):
            if name not in limits or parse(requests.get(name, limits[name])).nanos != parse(limits[name]).nanos:
                guaranteed = False
    if not any_amount:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def resource_field(pod: Pod, container: Mapping[str, Any], reference: Mapping[str, Any], allocatable: Amounts) -> str:
    """The value of a resourceFieldRef: a whole number of `divisor`, rounded up; a missing limit is the node's."""
    name = reference.get("containerName") or container.get("name")
    target = next((c for c, _ in containers_of(pod) if c["name"] == name), container)
    kind, _, resource = str(reference.get("resource", "")).partition(".")
    if kind not in ("limits", "requests") or not resource:
        raise StartFailed("CreateContainerConfigError", f"unsupported resource: {reference.get('resource')}")
    resources = target.get("resources") or {}
    limits = resources.get("limits") or {}
    value = (resources.get(kind) or {}).get(resource, limits.get(resource) if kind == "requests" else None)
    if value is not None:
        amount = parse(value)
    elif kind == "limits":
        amount = allocatable.get(resource, from_units(0))
    else:
        amount = from_units(0)
    divisor = parse(reference.get("divisor") or "1")
    if not divisor.nanos:
        divisor = parse("1")
    return str(-(-amount.nanos // divisor.nanos))
