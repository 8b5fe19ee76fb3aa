"""Small kinds of the core group, and leases' neighbours: namespaces, secrets, nodes, endpoints, limits."""

import base64
from typing import Any, Final

from controlplane.objects.defaults.fill import Object, each, edit, ensure, fill
from controlplane.objects.meta import name_of

NAME_LABEL: Final = "kubernetes.io/metadata.name"


def _namespace(namespace: Object) -> Object:
    name = name_of(namespace)
    if name:
        namespace = ensure(
            namespace,
            "metadata",
            lambda metadata: ensure(metadata, "labels", lambda labels: fill(labels, {NAME_LABEL: name})),
        )
    return ensure(namespace, "status", lambda status: fill(status, {"phase": "Active"}))


def _node(node: Object) -> Object:
    """What can be allocated is the capacity where the node says nothing."""

    def status(found: Object) -> Object:
        capacity = found.get("capacity")
        return fill(found, {"allocatable": capacity}) if capacity else found

    return edit(node, "status", status)


def _tcp(port: Object) -> Object:
    return fill(port, {"protocol": "TCP"})


def _limit(limit: Object) -> Object:
    """A container's default is its maximum; its default request is its default, or its minimum."""
    if limit.get("type") != "Container":
        return limit
    maximum: dict[str, Any] = limit.get("max") or {}
    minimum: dict[str, Any] = limit.get("min") or {}
    default = {**maximum, **(limit.get("default") or {})}
    request = {**minimum, **default, **(limit.get("defaultRequest") or {})}
    changed = {**limit}
    if default:
        changed["default"] = default
    if request:
        changed["defaultRequest"] = request
    return limit if changed == limit else changed


def _slice_port(port: Object) -> Object:
    return fill(port, {"protocol": "TCP", "name": ""})


def _secret(obj: Object) -> Object:
    """`stringData` becomes `data`; so early, because who writes the one owns the other."""
    texts: Any = obj.get("stringData")
    if texts is not None:
        obj = {name: value for name, value in obj.items() if name != "stringData"}
    if texts:
        encoded = {name: base64.b64encode(str(text).encode()).decode() for name, text in texts.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}
    return fill(obj, {"type": "Opaque"})


DEFAULTS: Final = {
    ("", "namespaces"): _namespace,
    ("", "secrets"): _secret,
    ("", "nodes"): _node,
    ("", "endpoints"): lambda obj: each(obj, "subsets", lambda subset: each(subset, "ports", _tcp)),
    ("discovery.k8s.io", "endpointslices"): lambda obj: each(obj, "ports", _slice_port),
    ("", "limitranges"): lambda obj: edit(obj, "spec", lambda spec: each(spec, "limits", _limit)),
    ("authentication.k8s.io", "tokenrequests"): lambda obj: ensure(
        obj, "spec", lambda spec: fill(spec, {"expirationSeconds": 3600})
    ),
}
