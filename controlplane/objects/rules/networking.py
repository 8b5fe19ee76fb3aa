"""Rules for ingresses, ingress classes and network policies."""

from typing import Any, Final

from controlplane.objects.rules import metadata, names
from controlplane.objects.rules.rule import Errors, Object, Rules, each, keep, port_number
from controlplane.objects.status import FieldError


def _backend(backend: Any, path: str) -> Errors:
    if not isinstance(backend, dict):
        return [FieldError.required(path)]
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [FieldError.invalid(path, "", "cannot set both resource and service backends")]
    if service is None and resource is None:
        return [FieldError.required(path, "resource or service backend is required")]
    if service is None:
        return []
    errors: Errors = []
    name = service.get("name") or ""
    if not name:
        errors.append(FieldError.required(f"{path}.service.name"))
    else:
        errors += [FieldError.invalid(f"{path}.service.name", name, words) for words in names.label(name)]
    port: Object = service.get("port") or {}
    if bool(port.get("name")) == bool(port.get("number")):
        words = "cannot set both port name & port number" if port.get("name") else "port name or number is required"
        kind = FieldError.invalid(f"{path}.service.port", "", words) if port.get("name") else None
        errors.append(kind or FieldError.required(f"{path}.service.port", words))
    elif port.get("number"):
        errors += port_number(port["number"], f"{path}.service.port.number")
    return errors


def _ingress(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    errors: Errors = []
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        errors.append(
            FieldError.invalid("spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified")
        )
    if spec.get("defaultBackend") is not None:
        errors += _backend(spec["defaultBackend"], "spec.defaultBackend")
    for path, rule in each(spec, "rules", "spec"):
        host = rule.get("host") or ""
        plain = host.removeprefix("*.")
        if host:
            errors += [FieldError.invalid(f"{path}.host", host, words) for words in names.subdomain(plain)]
        for where, entry in each(rule.get("http") or {}, "paths", f"{path}.http"):
            errors += _path(entry, where)
            errors += _backend(entry.get("backend"), f"{where}.backend")
    return errors


def _path(entry: Object, path: str) -> Errors:
    kind, text = entry.get("pathType"), entry.get("path") or ""
    if not kind:
        return [FieldError.required(f"{path}.pathType", "pathType must be specified")]
    if (kind in ("Exact", "Prefix") or text) and not text.startswith("/"):
        return [FieldError.invalid(f"{path}.path", text, "must be an absolute path")]
    return []


def _peer(peer: Object, path: str) -> Errors:
    said = [name for name in ("podSelector", "namespaceSelector") if peer.get(name) is not None]
    block = peer.get("ipBlock")
    if block is not None and said:
        return [FieldError.forbidden(path, "may not specify both ipBlock and another peer")]
    if block is None and not said:
        return [FieldError.required(path, "must specify a peer")]
    return [error for name in said for error in metadata.selector(peer[name], f"{path}.{name}")]


def _network_policy(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    errors = metadata.selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for path, rule in each(spec, direction, "spec"):
            for where, peer in each(rule, peers, path):
                errors += _peer(peer, where)
            for where, port in each(rule, "ports", path):
                if isinstance(port.get("port"), int):
                    errors += port_number(port["port"], f"{where}.port")
    return errors


def _update_class(new: Object, old: Object) -> Errors:
    return keep(new, old, ("spec", "controller"))


RULES: Final = {
    ("networking.k8s.io", "ingresses"): Rules(_ingress),
    ("networking.k8s.io", "networkpolicies"): Rules(_network_policy),
    ("networking.k8s.io", "ingressclasses"): Rules(lambda obj: [], _update_class),
    ("networking.k8s.io", "ipaddresses"): Rules(lambda obj: [], lambda new, old: keep(new, old, ("spec", "parentRef"))),
}
