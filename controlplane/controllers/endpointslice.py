"""EndpointSlice: the pods behind each Service in slices of at most a hundred, changed as little as possible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _endpoints, _pods
from controlplane.controllers._endpoints import Backend, Ports
from controlplane.machinery.actions import Action, Create, Delete, Plan, Update
from controlplane.machinery.controller import Caches, Kind, Related
from controlplane.objects.kinds import ENDPOINT_SLICES, NODES, PODS, SERVICES
from controlplane.objects.meta import (
    get_in,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
    with_metadata,
)

Object = dict[str, Any]

SLICE_SIZE = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"


@dataclass(frozen=True, slots=True)
class Observed:
    """The service (None: it is gone), our slices of it, and the pods behind it."""

    service: Object | None
    slices: Sequence[Object]
    backends: Sequence[Backend] = ()


def _service_of_slice(found: Object, _: Caches) -> Iterable[str]:
    labels = labels_of(found)
    ours = labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME)
    return (f"{namespace_of(found)}/{labels[SERVICE_NAME]}",) if ours else ()


NAME = "endpointslice-controller"
WATCHES = (
    Kind(SERVICES),
    Related(ENDPOINT_SLICES, _service_of_slice),
    Related(PODS, _endpoints.services_of_pod, changed=_endpoints.pod_changed),
    Related(NODES, _endpoints.services_of_node, changed=_endpoints.zone_changed),
)


def observe(key: str, caches: Caches) -> Observed | None:
    """The service, its pods and our slices; None when nothing of it is there or it is not ours."""
    namespace, _, name = key.partition("/")
    slices = [
        found
        for found in caches[ENDPOINT_SLICES].by_label(SERVICE_NAME, name)
        if namespace_of(found) == namespace and labels_of(found).get(MANAGED_BY) == MANAGER and not is_deleting(found)
    ]
    slices.sort(key=name_of)
    service = caches[SERVICES].get(key)
    if service is None or is_deleting(service):
        return Observed(None, slices) if slices else None
    if not _endpoints.is_managed(service):
        return None
    return Observed(service, slices, _endpoints.backends(service, caches))


def plan(observed: Observed, now: datetime) -> Plan:
    """Keep each endpoint in the slice it is in; fill room; make slices for the rest; drop empty ones."""
    service = observed.service
    if service is None:
        return Plan(tuple(Delete(ENDPOINT_SLICES, found) for found in observed.slices))
    labels = _labels(service)
    kind = "IPv6" if (get_in(service, "spec", "ipFamilies", default=[]) or ["IPv4"])[0] == "IPv6" else "IPv4"
    groups: dict[Ports, dict[str, Object]] = {}
    for backend in observed.backends:
        if backend.ports or not get_in(service, "spec", "ports"):
            groups.setdefault(backend.ports, {})[uid_of(backend.pod)] = _endpoint(service, backend)
    if not groups:
        groups[()] = {}  # one empty slice says that the service has been seen and has nobody
    actions: list[Action] = []
    spare = [found for found in observed.slices if found.get("addressType") == kind]
    actions += [Delete(ENDPOINT_SLICES, found) for found in observed.slices if found not in spare]
    taken = {name_of(found) for found in observed.slices}
    for ports, endpoints in sorted(groups.items()):
        # Where no slice has these ports yet, one that nobody else wants takes them on.
        present = [found for found in spare if _ports_of(found) == ports]
        present = present or [found for found in spare if _ports_of(found) not in groups][:1]
        spare = [found for found in spare if found not in present]
        placed = _place(present, endpoints)
        for found, content in zip(present, placed):
            if not content and (endpoints or found is not present[0]):
                actions.append(Delete(ENDPOINT_SLICES, found))
            elif (found.get("endpoints") or []) != content or labels_of(found) != labels or _ports_of(found) != ports:
                filled = {**found, "endpoints": content, "ports": _ports_field(ports)}
                actions.append(Update(ENDPOINT_SLICES, with_metadata(filled, labels=labels)))
        for content in placed[len(present) :]:
            name = _free_name(service, taken)
            taken.add(name)
            actions.append(Create(ENDPOINT_SLICES, _slice(service, name, kind, labels, ports, content)))
    actions += [Delete(ENDPOINT_SLICES, found) for found in spare]
    return Plan(tuple(actions))


def _place(present: Sequence[Object], endpoints: dict[str, Object]) -> list[list[Object]]:
    """The content of each present slice, then of new ones."""
    left = dict(endpoints)
    placed: list[list[Object]] = []
    for found in present:
        uids = [get_in(entry, "targetRef", "uid", default="") for entry in found.get("endpoints") or ()]
        placed.append([left.pop(uid) for uid in uids if uid in left])
    rest = list(left.values())
    for content in sorted(placed, key=len, reverse=True):  # the fullest with room first: fewest objects touched
        if rest and (content or len(placed) == 1):
            room = SLICE_SIZE - len(content)
            content += rest[:room]
            rest = rest[room:]
    for content in placed:
        room = SLICE_SIZE - len(content)
        content += rest[:room]
        rest = rest[room:]
    placed += [rest[start : start + SLICE_SIZE] for start in range(0, len(rest), SLICE_SIZE)]
    return placed or [[]]


def _endpoint(service: Object, backend: Backend) -> Object:
    conditions = {"ready": backend.ready, "serving": backend.serving, "terminating": backend.terminating}
    endpoint: Object = {"addresses": [backend.address], "conditions": conditions, "targetRef": backend.target}
    if node := get_in(backend.pod, "spec", "nodeName"):
        endpoint["nodeName"] = node
    if backend.zone:
        endpoint["zone"] = backend.zone
    if name := _endpoints.host_name(backend, service):
        endpoint["hostname"] = name
    return endpoint


def _labels(service: Object) -> dict[str, str]:
    labels = {**labels_of(service), SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}
    if _endpoints.is_headless(service):
        labels[_endpoints.HEADLESS] = ""
    return labels


def _ports_of(found: Object) -> Ports:
    ports = found.get("ports") or ()
    return tuple(sorted(tuple(sorted((k, v) for k, v in port.items() if v not in (None, ""))) for port in ports))


def _ports_field(ports: Ports) -> list[Object]:
    """As in the object. The name is always there, even where it is empty."""
    return [{"name": "", **dict(port)} for port in ports]


def _free_name(service: Object, taken: set[str]) -> str:
    """The first name of a fixed row that no slice bears: planned again on a stale cache it is the same."""
    for index in range(len(taken) + 1):
        name = f"{name_of(service)[:57]}-{_pods.suffix(5, uid_of(service), index)}"
        if name not in taken:
            return name
    raise AssertionError("more names than slices")


def _slice(
    service: Object, name: str, kind: str, labels: dict[str, str], ports: Ports, endpoints: list[Object]
) -> Object:
    metadata = {
        "name": name,
        "generateName": f"{name_of(service)}-",
        "namespace": namespace_of(service),
        "labels": labels,
        "ownerReferences": [owner_reference(service, SERVICES)],
    }
    return {
        "apiVersion": ENDPOINT_SLICES.group_version,
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": kind,
        "endpoints": endpoints,
        "ports": _ports_field(ports),
    }
