"""What a cluster has before anybody asks: namespaces, priority classes, default roles and bindings, the service range.

Several API servers start at once: every write is create-if-absent, and all run at the same time. A server is ready to
serve before this ends; /readyz waits for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from typing import Final

from controlplane.apiserver.authz.bootstrap import policy
from controlplane.apiserver.registry.namespaces import NAME_LABEL
from controlplane.apiserver.services import Services
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import NAMESPACES, PRIORITY_CLASSES, SERVICE_CIDRS, Resource

NAMESPACE_NAMES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_PRIORITIES: Final = (
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)
CONCURRENT_WRITES: Final = 64


def _namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {NAME_LABEL: name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _priority_class(name: str, value: int, description: str) -> Object:
    return {
        "apiVersion": PRIORITY_CLASSES.group_version,
        "kind": PRIORITY_CLASSES.kind,
        "metadata": {"name": name, "generation": 1},
        "value": value,
        "description": description,
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _service_range(services: Services) -> Object:
    network = ipaddress.ip_network(services.config.service_cluster_ip_range, strict=False)
    return {
        "apiVersion": SERVICE_CIDRS.group_version,
        "kind": SERVICE_CIDRS.kind,
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [str(network)]},
        "status": {"conditions": [_range_condition(services)]},
    }


def _range_condition(services: Services) -> Object:
    return {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": services.environment.timestamp(),
    }


def _first_objects(services: Services) -> Iterator[tuple[Resource, Object]]:
    for name in NAMESPACE_NAMES:
        yield NAMESPACES, _namespace(name)


def _further_objects(services: Services) -> Iterator[tuple[Resource, Object]]:
    for name, value, description in _PRIORITIES:
        yield PRIORITY_CLASSES, _priority_class(name, value, description)
    yield SERVICE_CIDRS, _service_range(services)
    yield from policy()


async def create_if_absent(services: Services, resource: Resource, obj: Object) -> None:
    """Store the object, with the metadata of a new one, unless its key exists."""
    metadata = {
        **obj["metadata"],
        "uid": services.environment.uid(),
        "creationTimestamp": services.environment.timestamp(),
    }
    key = layout.key(resource.group, resource.plural, metadata.get("namespace", ""), metadata["name"])
    await services.store.create(key, {**obj, "metadata": metadata})


async def _missing(services: Services, resource: Resource, objects: list[Object]) -> list[Object]:
    """Those of the objects whose keys are not in the store: one read in place of many refused writes."""
    prefix = layout.prefix(resource.group, resource.plural).encode()
    page = await services.backend.page(prefix, layout.prefix_end(prefix))
    present = {row.key for row in page.rows}
    return [
        obj
        for obj in objects
        if layout.key(
            resource.group, resource.plural, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        ).encode()
        not in present
    ]


async def _ensure(services: Services, wanted: Iterator[tuple[Resource, Object]]) -> None:
    by_resource: dict[Resource, list[Object]] = {}
    for resource, obj in wanted:
        by_resource.setdefault(resource, []).append(obj)
    slots = asyncio.Semaphore(CONCURRENT_WRITES)

    async def write(resource: Resource, obj: Object) -> None:
        async with slots:
            await create_if_absent(services, resource, obj)

    async def write_missing(resource: Resource, objects: list[Object]) -> None:
        missing = await _missing(services, resource, objects)
        await asyncio.gather(*(write(resource, obj) for obj in missing))

    await asyncio.gather(*(write_missing(resource, objects) for resource, objects in by_resource.items()))


async def ensure_namespaces(services: Services) -> None:
    """The first namespaces: needed before anything is served."""
    await _ensure(services, _first_objects(services))


async def ensure_all(services: Services) -> None:
    """Everything else; sets `is_ready`."""
    await _ensure(services, _further_objects(services))
    services.is_ready = True
