"""Endpoints: for each Service with a selector one object with the addresses of its pods, ready and not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _endpoints
from controlplane.controllers._endpoints import Backend, Ports
from controlplane.machinery.actions import Create, Delete, Note, Plan, Update
from controlplane.machinery.controller import Caches, Kind, Related
from controlplane.objects.kinds import ENDPOINTS, NODES, PODS, SERVICES
from controlplane.objects.meta import annotations_of, get_in, key_of, labels_of, name_of, namespace_of, with_metadata

Object = dict[str, Any]

CAPACITY = 1000  # addresses in one object; what is over is left to EndpointSlices
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}


@dataclass(frozen=True, slots=True)
class Observed:
    """The service (None: it is gone), its Endpoints object if there is one, and the pods behind it."""

    service: Object | None
    endpoints: Object | None
    backends: Sequence[Backend] = ()


NAME = "endpoints-controller"
WATCHES = (
    Kind(SERVICES),
    Related(ENDPOINTS, lambda found, _: (key_of(found),)),
    Related(PODS, _endpoints.services_of_pod, changed=_endpoints.pod_changed),
    Related(NODES, lambda node, _: (), changed=lambda old, new: False),
)


def observe(key: str, caches: Caches) -> Observed | None:
    """The service, its pods and its Endpoints; None when nothing of it is there or it is not ours."""
    service, found = caches[SERVICES].get(key), caches[ENDPOINTS].get(key)
    if service is None:
        ours = found is not None and MANAGED_BY.items() <= labels_of(found).items()
        return Observed(None, found) if ours else None
    if not _endpoints.is_managed(service):
        return None
    return Observed(service, found, _endpoints.backends(service, caches))


def plan(observed: Observed, now: datetime) -> Plan:
    """Bring the object to what the pods say."""
    service, found = observed.service, observed.endpoints
    if service is None:
        return Plan((Delete(ENDPOINTS, found),)) if found else Plan()
    wanted, cut = _subsets(service, observed.backends)
    labels = {**labels_of(service), **MANAGED_BY}
    if _endpoints.is_headless(service):
        labels[_endpoints.HEADLESS] = ""
    metadata: Object = {"name": name_of(service), "namespace": namespace_of(service), "labels": labels}
    annotations = {OVER_CAPACITY: "truncated"} if cut else {}
    if found is None:
        made: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": wanted}
        if annotations:
            metadata["annotations"] = annotations
        note = Note(
            service,
            "Warning",
            "FailedToCreateEndpoint",
            f"Failed to create endpoint for service {key_of(service)}: {{error}}",
        )
        return Plan((Create(ENDPOINTS, made, on_failure=note),))
    kept = {key: value for key, value in annotations_of(found).items() if key != OVER_CAPACITY} | annotations
    if (found.get("subsets") or []) == wanted and labels_of(found) == labels and kept == annotations_of(found):
        return Plan()
    changed = {**with_metadata(found, labels=labels, annotations=kept or None), "subsets": wanted}
    return Plan((Update(ENDPOINTS, changed),))


def _subsets(service: Object, backends: Sequence[Backend]) -> tuple[list[Object], bool]:
    """Addresses by the ports they serve; whether some had to be left out."""
    groups: dict[Ports, dict[str, list[Object]]] = {}
    published = get_in(service, "spec", "publishNotReadyAddresses", default=False)
    usable = [backend for backend in backends if published or not backend.terminating]
    # With too many, those that are not ready are left out first.
    usable.sort(key=lambda backend: (not backend.ready, backend.address))
    for backend in usable[:CAPACITY]:
        if not backend.ports and get_in(service, "spec", "ports"):
            continue
        address: Object = {"ip": backend.address, "targetRef": backend.target}
        if node := get_in(backend.pod, "spec", "nodeName"):
            address["nodeName"] = node
        if name := _endpoints.host_name(backend, service):
            address["hostname"] = name
        group = groups.setdefault(backend.ports, {})
        group.setdefault("addresses" if backend.ready else "notReadyAddresses", []).append(address)
    subsets = []
    for ports, group in sorted(groups.items()):
        subset: Object = {key: group[key] for key in ("addresses", "notReadyAddresses") if key in group}
        if ports:
            subset["ports"] = [dict(port) for port in ports]
        subsets.append(subset)
    return subsets, len(usable) > CAPACITY
