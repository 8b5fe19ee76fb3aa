"""The roles and bindings that a cluster begins with, from `data/policy.json`: Kubernetes' own, and a few of ours."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import msgspec

from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource

_GROUP: Final = "rbac.authorization.k8s.io"
_LABELS: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS: Final = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_SECTIONS: Final = (
    ("clusterRoles", CLUSTER_ROLES),
    ("roles", ROLES),
    ("clusterRoleBindings", CLUSTER_ROLE_BINDINGS),
    ("roleBindings", ROLE_BINDINGS),
)


def _metadata(entry: dict[str, Any]) -> Object:
    metadata: Object = {
        "name": entry["name"],
        "labels": {**_LABELS, **entry.get("labels", {})},
        "annotations": dict(_ANNOTATIONS),
    }
    if "namespace" in entry:
        metadata["namespace"] = entry["namespace"]
    return metadata


def _subject(entry: list[str]) -> Object:
    if entry[0] == "ServiceAccount":
        return {"kind": entry[0], "name": entry[1], "namespace": entry[2]}
    return {"apiGroup": _GROUP, "kind": entry[0], "name": entry[1]}


def _object(resource: Resource, entry: dict[str, Any]) -> Object:
    obj: Object = {"apiVersion": resource.group_version, "kind": resource.kind, "metadata": _metadata(entry)}
    if "role" in entry:
        obj["roleRef"] = {"apiGroup": _GROUP, "kind": entry["role"][0], "name": entry["role"][1]}
        obj["subjects"] = [_subject(each) for each in entry["subjects"]]
        return obj
    if "aggregationRule" in entry:
        obj["aggregationRule"] = entry["aggregationRule"]
    obj["rules"] = entry["rules"]
    return obj


def policy() -> Iterator[tuple[Resource, Object]]:
    """Every bootstrap role and binding, roles first."""
    text = files("controlplane.apiserver.authz").joinpath("data", "policy.json").read_bytes()
    sections: dict[str, list[dict[str, Any]]] = msgspec.json.decode(text)
    for name, resource in _SECTIONS:
        for entry in sections[name]:
            yield resource, _object(resource, entry)
