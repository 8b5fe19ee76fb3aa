"""Rules for small kinds of the core group, and for endpoint slices and leases."""

import binascii
import json
from typing import Any, Final

from controlplane.objects.meta import get_in
from controlplane.objects.rules import names
from controlplane.objects.rules.rule import (
    IMMUTABLE,
    Errors,
    Object,
    Rules,
    amount,
    each,
    no_rules,
    port_number,
    positive,
    unique,
)
from controlplane.objects.status import FieldError

_MOST_BYTES: Final = 1024 * 1024
_FIXED_WORDS: Final = "field is immutable when `immutable` is set"
# the type of a Secret -> the keys that it must have
_SECRET_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_TOKEN: Final = "kubernetes.io/service-account-token"
_ACCOUNT: Final = "kubernetes.io/service-account.name"


def _keys(data: Object, path: str) -> Errors:
    return [FieldError.invalid(f"{path}[{key}]", key, words) for key in data for words in names.config_key(key)]


def _config_map(obj: Object) -> Errors:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    errors = [*_keys(data, "data"), *_keys(binary, "binaryData")]
    errors += [
        FieldError.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        for key in data
        if key in binary
    ]
    size = sum(len(value.encode()) for value in data.values()) + sum(len(value) * 3 // 4 for value in binary.values())
    return errors + ([FieldError.too_long("", _MOST_BYTES)] if size > _MOST_BYTES else [])


def _fixed(new: Object, old: Object, *fields: str) -> Errors:
    """What `immutable: true` once said holds for ever."""
    if not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [FieldError.forbidden("immutable", _FIXED_WORDS)]
    changed = [field for field in fields if (new.get(field) or {}) != (old.get(field) or {})]
    return errors + [FieldError.forbidden(field, _FIXED_WORDS) for field in changed]


def _secret(obj: Object) -> Errors:
    data: dict[str, str] = obj.get("data") or {}
    kind: str = obj.get("type") or ""
    errors = _keys(data, "data")
    if sum(len(value) * 3 // 4 for value in data.values()) > _MOST_BYTES:
        errors.append(FieldError.too_long("data", _MOST_BYTES))
    errors += [FieldError.required(f"data[{key}]") for key in _SECRET_KEYS.get(kind, ()) if key not in data]
    if kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        errors += [FieldError.required("data[username]"), FieldError.required("data[password]")]
    if kind.startswith("kubernetes.io/dockerc") and not errors:
        errors += _docker(data[_SECRET_KEYS[kind][0]], _SECRET_KEYS[kind][0])
    if kind == _TOKEN and not get_in(obj, "metadata", "annotations", _ACCOUNT):
        errors.append(FieldError.required(f"metadata.annotations[{_ACCOUNT}]"))
    return errors


def _docker(encoded: str, key: str) -> Errors:
    try:
        json.loads(binascii.a2b_base64(encoded))
    except ValueError as error:
        return [FieldError.invalid(f"data[{key}]", "<secret contents redacted>", str(error))]
    return []


def _update_secret(new: Object, old: Object) -> Errors:
    errors = _fixed(new, old, "data")
    if (new.get("type") or "") != (old.get("type") or ""):
        errors.append(FieldError.invalid("type", new.get("type"), IMMUTABLE))
    return errors


def _taints(node: Object) -> Errors:
    taints = list(each(node.get("spec") or {}, "taints", "spec"))
    errors: Errors = []
    for path, taint in taints:
        key, value = taint.get("key") or "", taint.get("value") or ""
        errors += [FieldError.invalid(f"{path}.key", key, words) for words in names.qualified(key)]
        errors += [FieldError.invalid(f"{path}.value", value, words) for words in names.label_value(value)]
    return errors + unique((path, (taint.get("key"), taint.get("effect"))) for path, taint in taints)


def _update_node(new: Object, old: Object) -> Errors:
    """A provider's id and a pod range are given once."""
    errors: Errors = []
    for name, words in (("providerID", "node updates may only change labels, taints, or capacity (or configSource, if the "
                         "DynamicKubeletConfig feature gate is enabled)"), ("podCIDR", "node updates may not change podCIDR "
                         "except from \"\" to valid")):  # fmt: skip
        before = get_in(old, "spec", name)
        if before and get_in(new, "spec", name) != before:
            errors.append(FieldError.forbidden(f"spec.{name}", words))
    return errors


def _endpoint_ports(owner: Object, path: str) -> Errors:
    errors: Errors = []
    for where, port in each(owner, "ports", path):
        if port.get("port") is not None:
            errors += port_number(port["port"], f"{where}.port")
        if port.get("name"):
            errors += [FieldError.invalid(f"{where}.name", port["name"], words) for words in names.label(port["name"])]
    return errors


def _endpoints(obj: Object) -> Errors:
    errors: Errors = []
    for path, subset in each(obj, "subsets", ""):
        errors += _endpoint_ports(subset, path)
        for kind in ("addresses", "notReadyAddresses"):
            for where, address in each(subset, kind, path):
                text = address.get("ip") or ""
                errors += [FieldError.invalid(f"{where}.ip", text, words) for words in names.ip_address(text)]
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(FieldError.required(path, "must specify `addresses` or `notReadyAddresses`"))
    return errors


def _slice(obj: Object) -> Errors:
    errors = _endpoint_ports(obj, "")
    for path, endpoint in each(obj, "endpoints", ""):
        for where, address in each(endpoint, "addresses", path):
            if obj.get("addressType") in ("IPv4", "IPv6"):
                errors += [FieldError.invalid(where, address, words) for words in names.ip_address(address)]
    return errors


def _update_slice(new: Object, old: Object) -> Errors:
    if new.get("addressType") == old.get("addressType"):
        return []
    return [FieldError.invalid("addressType", new.get("addressType"), IMMUTABLE)]


def _lease(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    errors = positive(spec.get("leaseDurationSeconds"), "spec.leaseDurationSeconds")
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        errors.append(FieldError.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return errors


def _quota(obj: Object) -> Errors:
    hard: dict[str, Any] = get_in(obj, "spec", "hard", default={})
    return [error for name, value in hard.items() for error in amount(value, f"spec.hard[{name}]")]


RULES: Final = {
    ("", "configmaps"): Rules(_config_map, lambda new, old: _fixed(new, old, "data", "binaryData")),
    ("", "secrets"): Rules(_secret, _update_secret),
    ("", "nodes"): Rules(_taints, _update_node),
    ("", "endpoints"): Rules(_endpoints),
    ("", "resourcequotas"): Rules(_quota),
    ("", "serviceaccounts"): Rules(no_rules),
    ("discovery.k8s.io", "endpointslices"): Rules(_slice, _update_slice),
    ("coordination.k8s.io", "leases"): Rules(_lease),
}
