"""Rules for services."""

from typing import Any, Final

from controlplane.objects.meta import get_in
from controlplane.objects.rules import metadata, names
from controlplane.objects.rules.rule import IMMUTABLE, Errors, Object, Rules, each, port_number, unique
from controlplane.objects.status import FieldError

_HEADLESS: Final = "None"
_AFFINITY_SECONDS: Final = (1, 86400)


def _port(port: Object, path: str, *, several: bool) -> Errors:
    errors: Errors = []
    name = port.get("name") or ""
    if several and not name:
        errors.append(FieldError.required(f"{path}.name"))
    elif name:
        errors += [FieldError.invalid(f"{path}.name", name, words) for words in names.label(name)]
    errors += port_number(port.get("port") or 0, f"{path}.port")
    target: Any = port.get("targetPort")
    if isinstance(target, str):
        errors += [FieldError.invalid(f"{path}.targetPort", target, words) for words in names.port_name(target)]
    elif target is not None:
        errors += port_number(target, f"{path}.targetPort")
    return errors


def _ports(spec: Object) -> Errors:
    ports = list(each(spec, "ports", "spec"))
    if not ports and spec.get("clusterIP") != _HEADLESS and spec.get("type") != "ExternalName":
        return [FieldError.required("spec.ports")]
    errors: Errors = []
    for path, port in ports:
        errors += _port(port, path, several=len(ports) > 1)
    errors += unique((f"{path}.name", port.get("name") or None) for path, port in ports)
    seen: set[tuple[Any, Any]] = set()
    for path, port in ports:
        key = (port.get("protocol"), port.get("port"))
        if key in seen:
            errors.append(FieldError.duplicate(path, {"port": port.get("port"), "protocol": port.get("protocol")}))
        seen.add(key)
    nodes = [(path, port) for path, port in ports if port.get("nodePort")]
    if nodes and spec.get("type") == "ClusterIP":
        for path, _ in nodes:
            errors.append(FieldError.forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'"))
    return errors + unique((f"{path}.nodePort", (port.get("protocol"), port["nodePort"])) for path, port in nodes)


def _check(service: Object) -> Errors:
    spec: Object = service.get("spec") or {}
    errors = _ports(spec)
    kind, address = spec.get("type"), spec.get("clusterIP") or ""
    if kind == "ExternalName":
        name = spec.get("externalName") or ""
        if not name:
            errors.append(FieldError.required("spec.externalName"))
        else:
            bad = names.subdomain(name.lower().rstrip("."))
            errors += [FieldError.invalid("spec.externalName", name, words) for words in bad]
        if address:
            errors.append(FieldError.forbidden("spec.clusterIP", "may not be set when `type` is 'ExternalName'"))
    elif address and address != _HEADLESS:
        errors += [FieldError.invalid("spec.clusterIPs[0]", address, words) for words in names.ip_address(address)]
    if kind in ("NodePort", "LoadBalancer") and address == _HEADLESS:
        words = f"may not be set to 'None' for {kind} services"
        errors.append(FieldError.invalid("spec.clusterIPs[0]", address, words))
    errors += metadata.labels(spec.get("selector"), "spec.selector")
    for path, external in each(spec, "externalIPs", "spec"):
        errors += [FieldError.invalid(path, external, words) for words in names.ip_address(external)]
    if spec.get("externalTrafficPolicy") and kind not in ("NodePort", "LoadBalancer") and not spec.get("externalIPs"):
        words = "may only be set for externally-accessible services"
        errors.append(FieldError.invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], words))
    return errors + _affinity(spec)


def _affinity(spec: Object) -> Errors:
    seconds = get_in(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
    low, high = _AFFINITY_SECONDS
    if seconds is None or low <= seconds <= high:
        return []
    words = f"must be greater than 0 and less than or equal to {high}"
    return [FieldError.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, words)]


def _update(new: Object, old: Object) -> Errors:
    """An address that was given stays, unless the service gives it up by becoming an ExternalName."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if "ExternalName" in (before.get("type"), after.get("type")) or not before.get("clusterIP"):
        return []
    address = after.get("clusterIP")
    if address == before["clusterIP"]:
        return []
    shown = [address] if address else after.get("clusterIPs") or []
    return [FieldError.invalid("spec.clusterIPs[0]", shown, "may not change once set" if address else IMMUTABLE)]


RULES: Final = {("", "services"): Rules(_check, _update)}
