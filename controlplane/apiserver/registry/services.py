"""Services: cluster addresses and node ports, taken in the same transaction as the Service is written.

An address is taken when its IPAddress object exists, a port when its key under /registry/ranges exists: any number of API
servers may choose at once, the store decides. A choice that was taken meanwhile is made again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.registry.strategy import Strategy
from controlplane.apiserver.storage import codec, layout
from controlplane.apiserver.storage.backend import Expect, Put
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import NOTHING_ELSE, Also
from controlplane.objects import status
from controlplane.objects.kinds import IP_ADDRESSES, SERVICES
from controlplane.objects.status import FieldError

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

ATTEMPTS: Final = 64
_WITH_NODE_PORTS: Final = ("NodePort", "LoadBalancer")
_ADDRESSED: Final = ("ClusterIP", "NodePort", "LoadBalancer")


@dataclass(slots=True)
class _Plan:
    """What one write takes and gives back."""

    expected: list[Expect] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)

    def also(self) -> Also:
        return Also(tuple(self.expected), tuple(self.puts), tuple(self.deletes))

    def take(self, key: bytes, value: bytes) -> None:
        self.expected.append(Expect(key, 0))
        self.puts.append(Put(key, value))


def _address_key(address: str) -> bytes:
    return layout.key(IP_ADDRESSES.group, IP_ADDRESSES.plural, "", address).encode()


def _port_key(protocol: str, port: int) -> bytes:
    return f"{layout.NODE_PORTS}{protocol.lower()}/{port}".encode()


def _address_object(services: Services, obj: Object, address: str) -> bytes:
    metadata = obj["metadata"]
    family = "IPv6" if ":" in address else "IPv4"
    labels = {
        "ipaddress.kubernetes.io/ip-family": family,
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    environment = services.environment
    parent = {"group": "", "resource": "services", "namespace": metadata["namespace"], "name": metadata["name"]}
    document = {
        "apiVersion": IP_ADDRESSES.group_version,
        "kind": IP_ADDRESSES.kind,
        "metadata": {
            "name": address,
            "uid": environment.uid(),
            "creationTimestamp": environment.timestamp(),
            "labels": labels,
        },
        "spec": {"parentRef": parent},
    }
    return codec.encode(document)


async def _is_taken(services: Services, key: bytes) -> bool:
    row, _ = await services.backend.get(key)
    return row is not None


async def _free_address(services: Services) -> str:
    network = ipaddress.ip_network(services.config.service_cluster_ip_range, strict=False)
    # The first address is `default/kubernetes`; a few after it are kept for those who choose their own.
    kept = min(max(16, network.num_addresses // 16), 256)
    first = kept if network.num_addresses > kept + 2 else 2
    for _ in range(ATTEMPTS):
        at = services.environment.random.randrange(first, network.num_addresses - 1)
        address = str(network[at])
        if not await _is_taken(services, _address_key(address)):
            return address
    raise status.internal_error("failed to allocate a serviceIP: range is full")


async def _checked_address(services: Services, obj: Object, address: str) -> str:
    name = obj["metadata"]["name"]
    network = ipaddress.ip_network(services.config.service_cluster_ip_range, strict=False)
    problem = ""
    try:
        if ipaddress.ip_address(address) not in network:
            problem = f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. "
            problem += f"The range of valid IPs is {network}"
    except ValueError:
        problem = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    if not problem and await _is_taken(services, _address_key(address)):
        problem = f"failed to allocate IP {address}: provided IP is already allocated"
    if problem:
        raise status.invalid(SERVICES, name, [FieldError.invalid("spec.clusterIPs", [address], problem)])
    return address


async def _addressed(services: Services, obj: Object, old: Object | None, plan: _Plan) -> Object:
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    before = ((old or {}).get("spec") or {}).get("clusterIP") or ""
    if spec.get("type", "ClusterIP") not in _ADDRESSED:
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(name, None)
        if before not in ("", "None"):
            plan.deletes.append(_address_key(before))
        return {**obj, "spec": spec}
    wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "") or before
    if not wanted:
        wanted = await _free_address(services)
        plan.take(_address_key(wanted), _address_object(services, obj, wanted))
    elif wanted not in ("None", before):
        await _checked_address(services, obj, wanted)
        plan.take(_address_key(wanted), _address_object(services, obj, wanted))
        if before not in ("", "None"):
            plan.deletes.append(_address_key(before))
    spec["clusterIP"] = wanted
    spec["clusterIPs"] = [wanted]
    spec.setdefault("ipFamilies", ["IPv6" if ":" in wanted else "IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    return {**obj, "spec": spec}


def _node_ports(obj: Object | None) -> dict[tuple[str, int], Object]:
    """Node ports in use by (protocol, number)."""
    spec = (obj or {}).get("spec") or {}
    if spec.get("type") not in _WITH_NODE_PORTS:
        return {}
    found = {
        (port.get("protocol", "TCP"), int(port["nodePort"])): port
        for port in spec.get("ports") or ()
        if port.get("nodePort")
    }
    health = spec.get("healthCheckNodePort")
    if health:
        found["TCP", int(health)] = {}
    return found


async def _free_port(services: Services, protocol: str, used: Iterable[tuple[str, int]]) -> int:
    low, high = services.config.service_node_port_range
    busy = set(used)
    for _ in range(ATTEMPTS):
        port = services.environment.random.randint(low, high)
        if (protocol, port) not in busy and not await _is_taken(services, _port_key(protocol, port)):
            return port
    raise status.internal_error("failed to allocate a nodePort: range is full")


async def _checked_port(services: Services, obj: Object, at: int, protocol: str, port: int) -> None:
    low, high = services.config.service_node_port_range
    problem = ""
    if not low <= port <= high:
        problem = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
    elif await _is_taken(services, _port_key(protocol, port)):
        problem = "provided port is already allocated"
    if problem:
        error = FieldError.invalid(f"spec.ports[{at}].nodePort", port, problem)
        raise status.invalid(SERVICES, obj["metadata"]["name"], [error])


async def _ported(services: Services, obj: Object, old: Object | None, plan: _Plan) -> Object:
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    before = _node_ports(old)
    owner = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}".encode()
    ports = [dict(port) for port in spec.get("ports") or ()]
    wants = spec.get("type") in _WITH_NODE_PORTS and not (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False
    )
    kept_by_name = {(port.get("name", ""), protocol): number for (protocol, number), port in before.items()}
    used: set[tuple[str, int]] = set()
    for at, port in enumerate(ports):
        protocol = port.get("protocol", "TCP")
        if spec.get("type") not in _WITH_NODE_PORTS:
            port.pop("nodePort", None)
            continue
        number = int(port.get("nodePort") or 0)
        if not number and wants:
            number = kept_by_name.get((port.get("name", ""), protocol), 0)
            number = number if (protocol, number) not in used else 0
        if number and (protocol, number) not in before:
            await _checked_port(services, obj, at, protocol, number)
            plan.take(_port_key(protocol, number), owner)
        elif not number and wants:
            number = await _free_port(services, protocol, used | set(before))
            plan.take(_port_key(protocol, number), owner)
        if number:
            port["nodePort"] = number
            used.add((protocol, number))
    plan.deletes.extend(_port_key(protocol, number) for protocol, number in before if (protocol, number) not in used)
    if ports:
        spec["ports"] = ports
    return {**obj, "spec": spec}


async def _allocate(services: Services, obj: Object, old: Object | None) -> tuple[Object, Also]:
    plan = _Plan()
    obj = await _addressed(services, obj, old, plan)
    obj = await _ported(services, obj, old, plan)
    return obj, plan.also() if plan.puts or plan.deletes else NOTHING_ELSE


def _release(obj: Object) -> Also:
    address = (obj.get("spec") or {}).get("clusterIP") or "None"
    keys = [_port_key(protocol, number) for protocol, number in _node_ports(obj)]
    if address != "None":
        keys.append(_address_key(address))
    return Also(deletes=tuple(keys))


def _create(services: Services, obj: Object) -> Object:
    return {**obj, "status": {"loadBalancer": {}}}


# What a type has that others lack; left over from the type before, it goes by itself.
_OF_ADDRESSED: Final = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")
_OF_EXTERNAL: Final = ("externalTrafficPolicy", "healthCheckNodePort")
_OF_LOAD_BALANCERS: Final = ("allocateLoadBalancerNodePorts", "loadBalancerClass")


def _without_leftovers(spec: dict[str, Any], before: Object) -> dict[str, Any]:
    """The spec without fields that the new type lacks, where they are as the old type had them."""
    kind = spec.get("type", "ClusterIP")
    lacking: list[str] = []
    if kind not in _ADDRESSED:
        lacking += _OF_ADDRESSED
    if kind not in _WITH_NODE_PORTS:
        lacking += _OF_EXTERNAL
        ports = {(port.get("protocol", "TCP"), port.get("nodePort")) for port in before.get("ports") or ()}
        spec["ports"] = [
            {name: value for name, value in port.items() if name != "nodePort"}
            if (port.get("protocol", "TCP"), port.get("nodePort")) in ports
            else port
            for port in spec.get("ports") or ()
        ]
        if not spec["ports"]:
            del spec["ports"]
    if kind != "LoadBalancer":
        lacking += _OF_LOAD_BALANCERS
    return {name: value for name, value in spec.items() if name not in lacking or value != before.get(name)}


def _update(services: Services, new: Object, old: Object) -> Object:
    """An update that leaves the address out keeps it (as long as the type has one)."""
    spec, before = dict(new.get("spec") or {}), old.get("spec") or {}
    if spec.get("type") != before.get("type"):
        spec = _without_leftovers(spec, before)
    if spec.get("type", "ClusterIP") in _ADDRESSED and before.get("type", "ClusterIP") in _ADDRESSED:
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(name) and before.get(name):
                spec[name] = before[name]
    return {**new, "spec": spec}


STRATEGY: Final = Strategy(prepare_create=_create, prepare_update=_update, allocate=_allocate, release=_release)
