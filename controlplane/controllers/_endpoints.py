"""What Endpoints and EndpointSlice share: which pods stand behind a Service, on which ports, in which state."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.controller import Caches
from controlplane.objects.kinds import NODES, PODS, SERVICES
from controlplane.objects.meta import get_in, is_deleting, labels_of, name_of, namespace_of, uid_of
from controlplane.objects.selectors import from_map

Object = dict[str, Any]
Ports = tuple[tuple[tuple[str, Any], ...], ...]  # each port as sorted items, hashable

ZONE = "topology.kubernetes.io/zone"
HEADLESS = "service.kubernetes.io/headless"
REMEMBERED_SERVICES = 256


@dataclass(frozen=True, slots=True)
class Backend:
    """One pod behind one service."""

    address: str
    ports: Ports
    ready: bool  # as the pod says, or because the service publishes those that are not
    serving: bool  # as the pod says
    terminating: bool
    pod: Object
    zone: str = ""

    @property
    def target(self) -> Object:
        """The object reference of the pod."""
        return {"kind": "Pod", "namespace": namespace_of(self.pod), "name": name_of(self.pod), "uid": uid_of(self.pod)}


class _Memory:
    """Backends made before, by service and pod, good as long as service, pod and node are the very same objects.

    A service of a thousand pods is looked at whenever one of them changes, by two controllers.
    """

    def __init__(self) -> None:
        self._services: OrderedDict[str, tuple[Object, dict[str, tuple[Object, Object | None, Backend | None]]]] = (
            OrderedDict()
        )

    def of_service(self, service: Object) -> dict[str, tuple[Object, Object | None, Backend | None]]:
        """pod uid -> (pod, node, backend) of the last look."""
        uid = uid_of(service)
        known = self._services.get(uid)
        if known is None or known[0] is not service:
            known = self._services[uid] = (service, {})
        self._services.move_to_end(uid)
        while len(self._services) > REMEMBERED_SERVICES:
            self._services.popitem(last=False)
        return known[1]


_memory = _Memory()


def backends(service: Object, caches: Caches) -> list[Backend]:
    """All pods with an address that the selector matches, by name; those on their way out too."""
    found = []
    selector = from_map(get_in(service, "spec", "selector"))
    remembered = _memory.of_service(service)
    before = dict(remembered)
    remembered.clear()
    nodes = caches[NODES]
    for pod in caches[PODS].select(namespace_of(service), selector):
        uid = pod["metadata"]["uid"]
        node = nodes.get((pod.get("spec") or {}).get("nodeName") or "")
        known = before.get(uid)
        if known is None or known[0] is not pod or known[1] is not node:
            known = (pod, node, _backend(service, pod, node))
        remembered[uid] = known
        if known[2] is not None:
            found.append(known[2])
    found.sort(key=lambda backend: backend.pod["metadata"]["name"])
    return found


def _backend(service: Object, pod: Object, node: Object | None) -> Backend | None:
    family = (get_in(service, "spec", "ipFamilies", default=[]) or ["IPv4"])[0]
    publish = bool(get_in(service, "spec", "publishNotReadyAddresses", default=False))
    address = _address(pod, family)
    if not address or _pods.phase_of(pod) in ("Succeeded", "Failed"):
        return None
    terminating, serving = is_deleting(pod), _pods.is_ready(pod)
    ready = publish or (serving and not terminating)
    zone = labels_of(node).get(ZONE, "") if node else ""
    return Backend(address, _ports(service, pod), ready, serving, terminating, pod, zone)


def is_managed(service: Object) -> bool:
    """Whether the endpoints of the service are ours to keep; without a selector they are the user's."""
    return bool(get_in(service, "spec", "selector")) and get_in(service, "spec", "type") != "ExternalName"


def is_headless(service: Object) -> bool:
    return get_in(service, "spec", "clusterIP") in (None, "", "None")


def services_of_pod(pod: Object, caches: Caches) -> Iterable[str]:
    """Keys of the services whose selector matches the pod."""
    namespace, labels = namespace_of(pod), labels_of(pod).items()
    for service in caches[SERVICES].in_namespace(namespace):
        if is_managed(service) and service["spec"]["selector"].items() <= labels:
            yield f"{namespace}/{name_of(service)}"


def services_of_node(node: Object, caches: Caches) -> Iterable[str]:
    """Keys of the services that have a pod on the node."""
    for pod in caches[PODS].by_node(name_of(node)):
        yield from services_of_pod(pod, caches)


def pod_changed(old: Object, new: Object) -> bool:
    """Whether a change of a pod may change the endpoints."""
    return _facts(old) != _facts(new)


def zone_changed(old: Object, new: Object) -> bool:
    return labels_of(old).get(ZONE) != labels_of(new).get(ZONE)


def host_name(backend: Backend, service: Object) -> str:
    """The pod's own name under the service's, where it asked for one."""
    if get_in(backend.pod, "spec", "subdomain") != name_of(service):
        return ""
    found: str = get_in(backend.pod, "spec", "hostname", default="")
    return found


def _facts(pod: Object) -> tuple[Any, ...]:
    return (
        get_in(pod, "status", "podIP"),
        get_in(pod, "status", "podIPs"),
        _pods.phase_of(pod),
        _pods.is_ready(pod),
        is_deleting(pod),
        labels_of(pod),
        get_in(pod, "spec", "nodeName"),
    )


def _address(pod: Object, family: str) -> str:
    addresses: list[str] = [entry["ip"] for entry in get_in(pod, "status", "podIPs", default=[]) if entry.get("ip")]
    addresses = addresses or [get_in(pod, "status", "podIP", default="")]
    return next((ip for ip in addresses if (":" in ip) == (family == "IPv6")), "")


def _ports(service: Object, pod: Object) -> Ports:
    found = []
    for port in get_in(service, "spec", "ports", default=[]):
        number = _target_port(port, pod)
        if number is None:
            continue  # this pod has no port of that name: it does not serve this port of the service
        protocol = port.get("protocol", "TCP")
        entry = {
            "name": port.get("name", ""),
            "port": number,
            "protocol": protocol,
            "appProtocol": port.get("appProtocol"),
        }
        found.append(tuple(sorted((key, value) for key, value in entry.items() if value not in (None, ""))))
    return tuple(sorted(found))


def _target_port(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    if str(target).isdigit():
        return int(target)
    spec = pod.get("spec") or {}
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    containers: Sequence[Object] = [*(spec.get("containers") or ()), *sidecars]
    for container in containers:
        for found in container.get("ports") or ():
            if found.get("name") == target and found.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return int(found["containerPort"])
    return None
