"""The API servers as the cluster sees them: the `kubernetes` Service, its endpoints, and an identity Lease each.

Each server keeps a leased key `/registry/masterleases/<address>:<port>` alive; whoever sees a change of these keys writes
the endpoints. A server that dies drops out when its lease ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
from typing import Any, Final

from controlplane.apiserver import bootstrap
from controlplane.apiserver.registry import services as service_strategy
from controlplane.apiserver.services import Services
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.backend import Put, RevisionCompacted
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import CompanionTaken, Write
from controlplane.objects import status
from controlplane.objects.kinds import ENDPOINT_SLICES, ENDPOINTS, LEASES, SERVICES, Resource
from controlplane.objects.status import ApiError

NAME: Final = "kubernetes"
NAMESPACE: Final = "default"
SKIP_MIRRORING: Final = "endpointslice.kubernetes.io/skip-mirror"
RENEWALS_PER_TTL: Final = 3
IDENTITY_LEASE_SECONDS: Final = 3600
IDENTITY_RENEW_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)

Address = tuple[str, int]


async def run(services: Services, port: int) -> None:
    """Keep this server among the endpoints until cancelled; then take it out."""
    address = (services.config.advertise_address or services.config.bind_address, port)
    key = f"{layout.MASTER_LEASES}{address[0]}:{address[1]}".encode()
    lease = 0
    try:
        while True:
            try:
                lease = await _keep(services, key, lease)
                await _reconcile(services)
                await _renew_identity(services, address)
            except (ApiError, RevisionCompacted, CompanionTaken) as error:
                logger.info("the endpoints of %s wait: %s", NAME, error)
            await asyncio.sleep(services.config.master_lease_ttl_seconds / RENEWALS_PER_TTL)
    finally:
        await _leave(services, lease)


async def _keep(services: Services, key: bytes, lease: int) -> int:
    """The lease, renewed or granted anew with its key."""
    if lease and await services.backend.keep_lease_alive(lease) > 0:
        return lease
    lease = await services.backend.grant_lease(services.config.master_lease_ttl_seconds)
    await services.backend.commit((), [Put(key, b"{}", lease)])
    return lease


async def _leave(services: Services, lease: int) -> None:
    if not lease:
        return
    try:
        async with asyncio.timeout(1.0):
            await services.backend.revoke_lease(lease)
            await _reconcile(services)
    except (ApiError, RevisionCompacted, TimeoutError, asyncio.CancelledError):
        logger.debug("left without saying so; the lease will end by itself")


async def _addresses(services: Services) -> list[Address]:
    """All living API servers."""
    prefix = layout.MASTER_LEASES.encode()
    page = await services.backend.page(prefix, layout.prefix_end(prefix))
    found = []
    for row in page.rows:
        host, _, port = row.key[len(prefix) :].decode().rpartition(":")
        found.append((host, int(port)))
    return sorted(found)


async def _reconcile(services: Services) -> None:
    """The Service, its Endpoints and its EndpointSlice, as the leased keys say."""
    addresses = await _addresses(services)
    await _ensure_service(services, addresses)
    await _ensure(services, ENDPOINTS, _endpoints(addresses))
    await _ensure(services, ENDPOINT_SLICES, _slice(addresses))


def _metadata(labels: Object | None = None) -> Object:
    return {"name": NAME, "namespace": NAMESPACE, "labels": labels or {}}


def _service(services: Services, target: int) -> Object:
    network = ipaddress.ip_network(services.config.service_cluster_ip_range, strict=False)
    address = str(network[1])
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata({"component": "apiserver", "provider": "kubernetes"}),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv6" if network.version == 6 else "IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": target}],
            "sessionAffinity": "None",
        },
        "status": {"loadBalancer": {}},
    }


def _endpoints(addresses: list[Address]) -> Object:
    ports: dict[int, list[str]] = {}
    for host, port in addresses:
        ports.setdefault(port, []).append(host)
    subsets = [
        {
            "addresses": [{"ip": host} for host in hosts],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        for port, hosts in sorted(ports.items())
    ]
    labels = {SKIP_MIRRORING: "true"}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": _metadata(labels), "subsets": subsets}


def _slice(addresses: list[Address]) -> Object:
    """One slice has one port for all: servers on other ports of the same host are found through Endpoints."""
    port = addresses[0][1] if addresses else 443
    hosts = [host for host, each in addresses if each == port]
    return {
        "apiVersion": ENDPOINT_SLICES.group_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": _metadata({"kubernetes.io/service-name": NAME}),
        "addressType": "IPv6" if hosts and ":" in hosts[0] else "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}} for host in hosts],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


async def _ensure_service(services: Services, addresses: list[Address]) -> None:
    key = layout.key("", SERVICES.plural, NAMESPACE, NAME)
    if await services.store.get(key) is not None or not addresses:
        return
    wanted = _service(services, addresses[0][1])
    obj, also = await service_strategy.STRATEGY.allocate(services, wanted, None)
    await services.store.create(key, _stamped(services, obj), also=also)


def _stamped(services: Services, obj: Object) -> Object:
    environment = services.environment
    metadata = {**obj["metadata"], "uid": environment.uid(), "creationTimestamp": environment.timestamp()}
    return {**obj, "metadata": metadata}


async def _ensure(services: Services, resource: Resource, wanted: Object) -> None:
    """Write the object unless it is there with this content."""
    key = layout.key(resource.group, resource.plural, NAMESPACE, NAME)
    if await services.store.get(key) is None:
        await bootstrap.create_if_absent(services, resource, wanted)
        return

    async def decide(current: Object) -> Write:
        metadata: dict[str, Any] = dict(current["metadata"])
        metadata["labels"] = {**(metadata.get("labels") or {}), **wanted["metadata"]["labels"]}
        return Write({**wanted, "metadata": metadata})

    await services.store.change(key, decide, lambda: status.not_found(resource, NAME))


def identity(address: Address) -> str:
    """The name of this server's identity Lease."""
    digest = hashlib.sha256(f"{socket.gethostname()}/{address[0]}:{address[1]}".encode()).hexdigest()
    return f"apiserver-{digest[:26]}"


async def _renew_identity(services: Services, address: Address) -> None:
    """The Lease in kube-system by which others see which API servers live."""
    name = identity(address)
    key = layout.key(LEASES.group, LEASES.plural, "kube-system", name)
    moment = services.environment.micro_timestamp()
    spec = {"holderIdentity": f"{name}_{address[0]}:{address[1]}", "leaseDurationSeconds": IDENTITY_LEASE_SECONDS}
    labels = {"apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": socket.gethostname()}
    if await services.store.get(key) is None:
        document = {
            "apiVersion": LEASES.group_version,
            "kind": LEASES.kind,
            "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
            "spec": {**spec, "acquireTime": moment, "renewTime": moment},
        }
        await bootstrap.create_if_absent(services, LEASES, document)
        return

    async def renew(current: Object) -> Write:
        return Write({**current, "spec": {**(current.get("spec") or {}), **spec, "renewTime": moment}})

    await services.store.change(key, renew, lambda: status.not_found(LEASES, name))
