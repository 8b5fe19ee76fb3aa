"""Where objects stand in the store: `/registry/<resource>/<namespace>/<name>`, as Kubernetes lays keys out.

The resource has no group in its key, save for a few that carry one or an older name; the tables below list them all.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from controlplane.objects.scheme import Scheme

ROOT: Final = "/registry/"
SERVICE_ADDRESSES: Final = ROOT + "ipaddresses/"
NODE_PORTS: Final = ROOT + "ranges/servicenodeports/"
MASTER_LEASES: Final = ROOT + "masterleases/"

_OLDER_NAMES: Final = {
    ("", "nodes"): "minions",
    ("", "services"): "services/specs",
    ("", "endpoints"): "services/endpoints",
    ("", "replicationcontrollers"): "controllers",
    ("networking.k8s.io", "ingresses"): "ingress",
    ("apiextensions.k8s.io", "customresourcedefinitions"): "apiextensions.k8s.io/customresourcedefinitions",
    ("apiregistration.k8s.io", "apiservices"): "apiregistration.k8s.io/apiservices",
}
# One stored object serves these two group-versions: events of both APIs are the same events.
_SHARED: Final = {("events.k8s.io", "events"): ("", "events")}


def storage_identity(group: str, plural: str) -> tuple[str, str]:
    """The (group, plural) under which this resource's objects are stored."""
    return _SHARED.get((group, plural), (group, plural))


@cache
def _built_in() -> frozenset[tuple[str, str]]:
    """What is not a custom resource: those have their group in the key."""
    return frozenset((info.resource.group, info.resource.plural) for info in Scheme.load().resources)


def prefix(group: str, plural: str) -> str:
    """The prefix of all objects of a resource, with its closing slash."""
    identity = storage_identity(group, plural)
    if identity not in _built_in():
        return f"{ROOT}{group}/{plural}/"
    return f"{ROOT}{_OLDER_NAMES.get(identity, identity[1])}/"


def scope_prefix(group: str, plural: str, namespace: str) -> str:
    """The prefix of the objects of one namespace; of all when `namespace` is empty."""
    base = prefix(group, plural)
    return f"{base}{namespace}/" if namespace else base


def key(group: str, plural: str, namespace: str, name: str) -> str:
    """The key of one object."""
    return f"{scope_prefix(group, plural, namespace)}{name}"


def prefix_end(start: bytes) -> bytes:
    """The first key after all keys that begin with `start`."""
    trimmed = start.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\x00"
