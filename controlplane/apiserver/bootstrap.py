"""What a cluster has before anybody asks: namespaces, priority classes, default roles and bindings, the service range.

Several API servers start at once: every write is create-if-absent, and all run at the same time. A server is ready to
serve before this ends; /readyz waits for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from controlplane.apiserver.aggregation import trust
from controlplane.apiserver.authz.bootstrap import policy
from controlplane.apiserver.authz.reconcile import WITHDRAWN, is_ours, reconciled
from controlplane.apiserver.fairness.objects import bootstrap as flow_control
from controlplane.apiserver.registry.namespaces import NAME_LABEL
from controlplane.apiserver.services import Services
from controlplane.apiserver.storage import codec, layout
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import Write
from controlplane.objects import status
from controlplane.objects.kinds import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_CIDRS,
    Resource,
)
from controlplane.objects.status import ApiError

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
_RECONCILED: Final = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)


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
    yield from flow_control()


async def create_if_absent(services: Services, resource: Resource, obj: Object) -> None:
    """Store the object, with the metadata of a new one, unless its key exists."""
    metadata = {
        **obj["metadata"],
        "uid": services.environment.uid(),
        "creationTimestamp": services.environment.timestamp(),
    }
    key = layout.key(resource.group, resource.plural, metadata.get("namespace", ""), metadata["name"])
    await services.store.create(key, {**obj, "metadata": metadata})


async def _present(services: Services, resource: Resource) -> dict[bytes, bytes]:
    """Keys and values of all objects of a resource: one read in place of many refused writes."""
    prefix = layout.prefix(resource.group, resource.plural).encode()
    page = await services.backend.page(prefix, layout.prefix_end(prefix))
    return {row.key: row.value for row in page.rows}


def _key(resource: Resource, obj: Object) -> str:
    metadata = obj["metadata"]
    return layout.key(resource.group, resource.plural, metadata.get("namespace", ""), metadata["name"])


async def _reconcile(services: Services, key: str, wanted: Object) -> None:
    async def change(current: Object) -> Write:
        return Write(reconciled(current, wanted) or current)

    with suppress(ApiError):  # somebody deleted it meanwhile
        await services.store.change(key, change, lambda: status.not_found(CLUSTER_ROLES, key))


async def _withdraw(services: Services) -> None:
    """Delete what older versions made and this one does not want."""

    async def change(current: Object) -> Write:
        return Write(None if is_ours(current) else current)

    for resource, name in WITHDRAWN:
        key = layout.key(resource.group, resource.plural, "", name)
        with suppress(ApiError):  # it is not there: nothing to withdraw
            await services.store.change(key, change, lambda: status.not_found(CLUSTER_ROLES, ""))


async def _ensure(services: Services, wanted: Iterator[tuple[Resource, Object]]) -> None:
    by_resource: dict[Resource, list[Object]] = {}
    for resource, obj in wanted:
        by_resource.setdefault(resource, []).append(obj)
    slots = asyncio.Semaphore(CONCURRENT_WRITES)

    async def write(resource: Resource, obj: Object, value: bytes | None) -> None:
        if value is None:
            async with slots:
                await create_if_absent(services, resource, obj)
        elif resource in _RECONCILED and reconciled(codec.decode(value), obj) is not None:
            await _reconcile(services, _key(resource, obj), obj)

    async def write_missing(resource: Resource, objects: list[Object]) -> None:
        present = await _present(services, resource)
        await asyncio.gather(*(write(resource, obj, present.get(_key(resource, obj).encode())) for obj in objects))

    await asyncio.gather(*(write_missing(resource, objects) for resource, objects in by_resource.items()))


async def ensure_namespaces(services: Services) -> None:
    """The first namespaces: needed before anything is served."""
    await _ensure(services, _first_objects(services))


async def ensure_all(services: Services) -> None:
    """Everything else; sets `is_ready`."""
    await asyncio.gather(_ensure(services, _further_objects(services)), trust.publish(services))
    await _withdraw(services)
    services.is_ready = True
