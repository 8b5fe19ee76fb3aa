"""Services, endpoint slices, ingresses, network policies, addresses."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import (
    AGE,
    NONE,
    UNSET,
    Column,
    Object,
    Printer,
    age,
    labels,
    selector,
    some,
    text,
    wide,
)
from controlplane.objects.meta import get_in

_MOST: Final = 3


def _balancers(obj: Object) -> list[str]:
    """Addresses that a load balancer gave, each once."""
    ingress: list[Object] = get_in(obj, "status", "loadBalancer", "ingress", default=[])
    return list(dict.fromkeys(found.get("ip") or found.get("hostname") or "" for found in ingress))


def _external(service: Object) -> str:
    spec: Object = service.get("spec") or {}
    given: list[str] = spec.get("externalIPs") or []
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case "LoadBalancer":
            return ",".join([*_balancers(service), *given]) or "<pending>"
        case _:
            return ",".join(given) or NONE


def _port(port: Object) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"


def _service(service: Object, now: datetime) -> list[Any]:
    ports: list[Object] = get_in(service, "spec", "ports", default=[])
    return [
        text(service, "spec", "type", absent="ClusterIP"),
        text(service, "spec", "clusterIP"),
        _external(service),
        ",".join(map(_port, ports)) or NONE,
        age(service, now),
        labels(get_in(service, "spec", "selector")),
    ]


def _slice(obj: Object, now: datetime) -> list[Any]:
    ports = [str(port["port"]) if port.get("port") is not None else "*" for port in obj.get("ports") or ()]
    addresses = [address for found in obj.get("endpoints") or () for address in found.get("addresses") or ()]
    return [
        obj.get("addressType", ""),
        some(ports, _MOST, absent=UNSET),
        some(addresses, _MOST, absent=UNSET),
        age(obj, now),
    ]


def _ingress(obj: Object, now: datetime) -> list[Any]:
    hosts = [rule["host"] for rule in get_in(obj, "spec", "rules", default=()) if rule.get("host")]
    return [
        text(obj, "spec", "ingressClassName"),
        some(hosts, _MOST, absent="*"),
        ",".join(_balancers(obj)),
        "80, 443" if get_in(obj, "spec", "tls") else "80",
        age(obj, now),
    ]


def _class(obj: Object, now: datetime) -> list[Any]:
    found: Object = get_in(obj, "spec", "parameters", default={})
    shown = NONE
    if found:
        group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
        shown = f"{found.get('kind', '')}{group}/{found.get('name', '')}"
    return [text(obj, "spec", "controller", absent=""), shown, age(obj, now)]


def _policy(obj: Object, now: datetime) -> list[Any]:
    return [selector(get_in(obj, "spec", "podSelector")), age(obj, now)]


def _address(obj: Object, now: datetime) -> list[Any]:
    parent: Object = get_in(obj, "spec", "parentRef", default={})
    parts = [parent.get(name, "") for name in ("resource", "group", "namespace", "name")]
    group = f".{parts[1]}" if parts[1] else ""
    shown = "/".join(part for part in (parts[0] + group, parts[2], parts[3]) if part)
    return [shown, age(obj, now)]


def _ranges(obj: Object, now: datetime) -> list[Any]:
    return [",".join(get_in(obj, "spec", "cidrs", default=())), age(obj, now)]


_GROUP: Final = "networking.k8s.io"
PRINTERS: Final = {
    ("", "services"): Printer(
        (*(Column(name) for name in ("Type", "Cluster-IP", "External-IP", "Port(s)")), AGE, *wide("Selector")), _service
    ),
    ("discovery.k8s.io", "endpointslices"): Printer(
        (Column("AddressType"), Column("Ports"), Column("Endpoints"), AGE), _slice
    ),
    (_GROUP, "ingresses"): Printer((*(Column(name) for name in ("Class", "Hosts", "Address", "Ports")), AGE), _ingress),
    (_GROUP, "ingressclasses"): Printer((Column("Controller"), Column("Parameters"), AGE), _class),
    (_GROUP, "networkpolicies"): Printer((Column("Pod-Selector"), AGE), _policy),
    (_GROUP, "ipaddresses"): Printer((Column("ParentRef"), AGE), _address),
    (_GROUP, "servicecidrs"): Printer((Column("CIDRs"), AGE), _ranges),
}
