"""A Service and its EndpointSlices -> what should listen where, and where it leads.  Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.network.forwarder import Backend

Object = Mapping[str, Any]

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
OTHER_PROXY_LABEL = "service.kubernetes.io/service-proxy-name"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a proxy listens (TCP)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """The endpoints behind an address; `by_client` for sessionAffinity ClientIP. `port_name` is the Service's."""

    backends: tuple[Backend, ...]
    by_client: bool
    port_name: str


@dataclass(frozen=True, slots=True)
class Routes:
    """All of one Service. `unsupported`: its ports that are not TCP, as text."""

    by_address: Mapping[Address, Route]
    unsupported: tuple[str, ...] = ()


NOTHING = Routes({})


def service_of_slice(endpoint_slice: Object) -> str:
    """The key "namespace/name" of the Service of an EndpointSlice, "" for none."""
    metadata = endpoint_slice["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL)
    return f"{metadata.get('namespace', '')}/{name}" if name else ""


def routes_of(service: Object, slices: Iterable[Object], node_addresses: Iterable[str]) -> Routes:
    """What a proxy does for one Service. Addresses without any endpoint do not listen: clients are refused at once."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName" or OTHER_PROXY_LABEL in (service["metadata"].get("labels") or {}):
        return NOTHING
    members = list(slices)
    by_client = spec.get("sessionAffinity") == "ClientIP"
    hosts = [*_cluster_addresses(spec), *_load_balancer_addresses(service)]
    routes: dict[Address, Route] = {}
    unsupported = []
    for port in spec.get("ports") or ():
        name = port.get("name") or ""
        if (port.get("protocol") or "TCP") != "TCP":
            unsupported.append(f"{port['port']}/{port['protocol']}")
            continue
        route = Route(_endpoints(members, name), by_client, name)
        if not route.backends:
            continue
        for host in hosts:
            routes[Address(host, port["port"])] = route
        if port.get("nodePort"):
            for host in node_addresses:
                routes[Address(host, port["nodePort"])] = route
    return Routes(routes, tuple(unsupported) if hosts else ())


def _cluster_addresses(spec: Object) -> list[str]:
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [*(address for address in addresses if address and address != "None"), *(spec.get("externalIPs") or ())]


def _load_balancer_addresses(service: Object) -> list[str]:
    if (service.get("spec") or {}).get("type") != "LoadBalancer":
        return []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in ingress if entry.get("ip") and entry.get("ipMode", "VIP") == "VIP"]


def _endpoints(slices: Iterable[Object], port_name: str) -> tuple[Backend, ...]:
    """The ready endpoints; where there are none, those that still serve while they terminate (KEP-1669)."""
    ready: set[Backend] = set()
    serving: set[Backend] = set()
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") not in ("IPv4", "IPv6"):
            continue
        numbers = [
            port["port"]
            for port in endpoint_slice.get("ports") or ()
            if (port.get("name") or "") == port_name and (port.get("protocol") or "TCP") == "TCP" and port.get("port")
        ]
        for endpoint in endpoint_slice.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            found = {Backend(address, number) for address in endpoint["addresses"][:1] for number in numbers}
            if conditions.get("ready", True) is not False:
                ready |= found
            elif conditions.get("serving") and conditions.get("terminating"):
                serving |= found
    return tuple(sorted(ready or serving))
