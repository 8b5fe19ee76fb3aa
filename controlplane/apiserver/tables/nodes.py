"""Nodes."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import NONE, UNKNOWN, Column, Object, Printer, age, text, wide
from controlplane.objects.meta import condition_of, get_in, labels_of

_ROLE_PREFIX: Final = "node-role.kubernetes.io/"
_ROLE_LABEL: Final = "kubernetes.io/role"


def _status(node: Object) -> str:
    ready = condition_of(node, "Ready")
    words = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return words + (",SchedulingDisabled" if get_in(node, "spec", "unschedulable") else "")


def _roles(node: Object) -> str:
    roles = set()
    for key, value in labels_of(node).items():
        if key.startswith(_ROLE_PREFIX) and key != _ROLE_PREFIX:
            roles.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE_LABEL and value:
            roles.add(value)
    return ",".join(sorted(roles)) or NONE


def _address(node: Object, kind: str) -> str:
    addresses: list[Object] = get_in(node, "status", "addresses", default=[])
    return next((found["address"] for found in addresses if found.get("type") == kind), NONE)


def _cells(node: Object, now: datetime) -> list[Any]:
    info = ("status", "nodeInfo")
    return [
        _status(node),
        _roles(node),
        age(node, now),
        text(node, *info, "kubeletVersion", absent=""),
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        text(node, *info, "osImage", absent=UNKNOWN),
        text(node, *info, "kernelVersion", absent=UNKNOWN),
        text(node, *info, "containerRuntimeVersion", absent=UNKNOWN),
    ]


PRINTERS: Final = {
    ("", "nodes"): Printer(
        (
            *(Column(name) for name in ("Status", "Roles", "Age", "Version")),
            *wide("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
        ),
        _cells,
    ),
}
