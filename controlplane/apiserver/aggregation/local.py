"""The APIServices of what this server serves itself. Pure.

Kubernetes registers its built-in groups "onstart" and those of custom resources "true"; the latter go with their definitions.
The priorities are kube-apiserver's: they are the order in which clients look for a resource that several groups have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.objects.kinds import API_SERVICES
from controlplane.objects.scheme import Scheme, version_rank

Object = dict[str, Any]

AUTOMANAGED: Final = "kube-aggregator.kubernetes.io/automanaged"
ONSTART, WHILE_THERE = "onstart", "true"
CUSTOM_GROUP_PRIORITY: Final = 1000
CUSTOM_VERSION_PRIORITY: Final = 100
_BUILT_IN: Final = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
    "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
    "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500,
    "node.k8s.io": 16300, "discovery.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100,
    "resource.k8s.io": 15900, "storagemigration.k8s.io": 15800,
}  # fmt: skip
_STABLE_PRIORITY: Final = 15
LOCAL_CONDITION: Final = {
    "type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available",
}  # fmt: skip


def name_of(group: str, version: str) -> str:
    """The name of the APIService of a group and version."""
    return f"{version}.{group}"


def group_priority(group: str) -> int:
    """groupPriorityMinimum of a group that this server serves."""
    return _BUILT_IN.get(group, CUSTOM_GROUP_PRIORITY)


def version_priority(group: str, version: str) -> int:
    """versionPriority of a version that this server serves: higher comes first."""
    if group not in _BUILT_IN:
        return CUSTOM_VERSION_PRIORITY
    if not group:
        return 1
    stage, number, _ = version_rank(version)
    return _STABLE_PRIORITY * -number if stage == 0 else 9


def _priorities(group: str, version: str) -> Object:
    return {"groupPriorityMinimum": group_priority(group), "versionPriority": version_priority(group, version)}


def _api_service(group: str, version: str, managed: str, now: str) -> Object:
    return {
        "apiVersion": API_SERVICES.group_version,
        "kind": API_SERVICES.kind,
        "metadata": {"name": name_of(group, version), "labels": {AUTOMANAGED: managed}},
        "spec": {**({"group": group} if group else {}), "version": version, **_priorities(group, version)},
        "status": {"conditions": [{**LOCAL_CONDITION, "lastTransitionTime": now}]},
    }


def wanted(base: Scheme, scheme: Scheme, now: str) -> Iterator[Object]:
    """The APIServices of a scheme: `base` is what is served without any custom resource."""
    built_in = {(info.resource.group, info.resource.version) for info in base.resources}
    for group in scheme.groups():
        if group.name == API_SERVICES.group:
            continue  # the aggregator's own API has none, as in Kubernetes
        for version in group.versions:
            managed = ONSTART if (group.name, version) in built_in else WHILE_THERE
            yield _api_service(group.name, version, managed, now)
