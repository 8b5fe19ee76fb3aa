"""The API servers as the cluster sees them: the `kubernetes` Service, its endpoints, and an identity Lease each.

Each server keeps a leased key `/registry/masterleases/<address>:<port>` alive; every server watches these keys and writes
the endpoints when they change. A server that stops takes its key away, one that dies drops out when its lease ends.
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
SERVICE_NAME: Final = "kubernetes.io/service-name"
RENEWALS_PER_TTL: Final = 3
IDENTITY_LEASE_SECONDS: Final = 3600
RETRY_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 1.0
_FAILURES: Final = (ApiError, RevisionCompacted, CompanionTaken)

logger = logging.getLogger(__name__)

Address = tuple[str, int]


class _Membership:
    """This server's leased key."""

    def __init__(self, services: Services, address: Address) -> None:
        self._services = services
        self._key = f"{layout.MASTER_LEASES}{address[0]}:{address[1]}".encode()
        self._lease = 0

    async def keep(self) -> None:
        """Renew the lease, or take a new one with the key."""
        backend = self._services.backend
        if self._lease and await backend.keep_lease_alive(self._lease) > 0:
            return
        self._lease = await backend.grant_lease(self._services.config.master_lease_ttl_seconds)
        await backend.commit((), [Put(self._key, b"{}", self._lease)])

    async def leave(self) -> None:
        if self._lease:
            await self._services.backend.revoke_lease(self._lease)


async def run(services: Services, port: int) -> None:
    """Keep this server among the endpoints until cancelled; then take it out."""
    address = (services.config.advertise_address or services.config.bind_address, port)
    membership = _Membership(services, address)
    try:
        await _renew_once(services, membership, address)  # before the endpoints are written for the first time
        async with asyncio.TaskGroup() as group:
            group.create_task(_renew(services, membership, address))
            group.create_task(_follow(services))
    finally:
        await _leave(services, membership, address)


async def _renew(services: Services, membership: _Membership, address: Address) -> None:
    while True:
        await asyncio.sleep(services.config.master_lease_ttl_seconds / RENEWALS_PER_TTL)
        await _renew_once(services, membership, address)


async def _renew_once(services: Services, membership: _Membership, address: Address) -> None:
    try:
        await membership.keep()
        await _renew_identity(services, address)
    except _FAILURES as error:
        logger.info("the lease of %s waits: %s", NAME, error)


async def _follow(services: Services) -> None:
    """Write the endpoints now and whenever a server comes or goes."""
    prefix = layout.MASTER_LEASES.encode()
    while True:
        try:
            revision = await reconcile(services)
            watching = services.backend.watch(prefix, layout.prefix_end(prefix), after_revision=revision)
            try:
                async for changes in watching:
                    if changes.events:
                        await reconcile(services)
            finally:
                watching.cancel()
        except _FAILURES as error:
            logger.info("the endpoints of %s wait: %s", NAME, error)
        await asyncio.sleep(RETRY_SECONDS)


async def _leave(services: Services, membership: _Membership, address: Address) -> None:
    key = layout.key(LEASES.group, LEASES.plural, "kube-system", identity(address)).encode()
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await membership.leave()
            await services.backend.commit((), (), [key])
            await reconcile(services)
    except (*_FAILURES, TimeoutError):
        logger.debug("left without saying so; the lease will end by itself")


async def reconcile(services: Services) -> int:
    """The Service, its Endpoints and its EndpointSlices, as the leased keys say; answers the revision that was read."""
    prefix = layout.MASTER_LEASES.encode()
    page = await services.backend.page(prefix, layout.prefix_end(prefix))
    addresses: list[Address] = []
    for row in page.rows:
        host, _, port = row.key[len(prefix) :].decode().rpartition(":")
        addresses.append((host, int(port)))
    await _ensure_service(services, addresses)
    await _ensure(services, ENDPOINTS, _endpoints(addresses))
    await _ensure_slices(services, addresses)
    return page.revision


def _by_port(addresses: list[Address]) -> dict[int, list[str]]:
    ports: dict[int, list[str]] = {}
    for host, port in sorted(addresses):
        ports.setdefault(port, []).append(host)
    return dict(sorted(ports.items()))


def _metadata(labels: Object | None = None, name: str = NAME) -> Object:
    return {"name": name, "namespace": NAMESPACE, "labels": labels or {}}


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
    subsets = [
        {
            "addresses": [{"ip": host} for host in hosts],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        for port, hosts in _by_port(addresses).items()
    ]
    labels = {SKIP_MIRRORING: "true"}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": _metadata(labels), "subsets": subsets}


def _slice(name: str, port: int, hosts: list[str]) -> Object:
    return {
        "apiVersion": ENDPOINT_SLICES.group_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": _metadata({SERVICE_NAME: NAME}, name),
        "addressType": "IPv6" if ":" in hosts[0] else "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}} for host in hosts],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


async def _ensure_slices(services: Services, addresses: list[Address]) -> None:
    """One slice a port, because a slice has one for all its endpoints: `kubernetes`, then `kubernetes-<port>`."""
    wanted: dict[str, Object] = {}
    for port, hosts in _by_port(addresses).items():
        name = NAME if not wanted else f"{NAME}-{port}"
        wanted[name] = _slice(name, port, hosts)
    for each in wanted.values():
        await _ensure(services, ENDPOINT_SLICES, each)
    start = layout.key(ENDPOINT_SLICES.group, ENDPOINT_SLICES.plural, NAMESPACE, f"{NAME}-").encode()
    page = await services.backend.page(start, layout.prefix_end(start))
    for row in page.rows:
        if row.key.rpartition(b"/")[2].decode() not in wanted and SERVICE_NAME.encode() in row.value:
            await services.backend.commit((), (), [row.key])


async def _ensure_service(services: Services, addresses: list[Address]) -> None:
    key = layout.key("", SERVICES.plural, NAMESPACE, NAME)
    if not addresses or await services.store.get(key) is not None:
        return
    wanted = _service(services, addresses[0][1])
    obj, also = await service_strategy.STRATEGY.allocate(services, wanted, None)
    environment = services.environment
    metadata = {**obj["metadata"], "uid": environment.uid(), "creationTimestamp": environment.timestamp()}
    await services.store.create(key, {**obj, "metadata": metadata}, also=also)


async def _ensure(services: Services, resource: Resource, wanted: Object) -> None:
    """Write the object unless it is there with this content."""
    name = wanted["metadata"]["name"]
    key = layout.key(resource.group, resource.plural, NAMESPACE, name)
    if await services.store.get(key) is None:
        await bootstrap.create_if_absent(services, resource, wanted)
        return

    async def decide(current: Object) -> Write:
        metadata: dict[str, Any] = dict(current["metadata"])
        metadata["labels"] = {**(metadata.get("labels") or {}), **wanted["metadata"]["labels"]}
        return Write({**wanted, "metadata": metadata})

    await services.store.change(key, decide, lambda: status.not_found(resource, name))


def identity(address: Address) -> str:
    """The name of a server's identity Lease."""
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
