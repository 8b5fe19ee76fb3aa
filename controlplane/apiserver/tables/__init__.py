"""Server-side tables: what `kubectl get` prints. Pure: the time is given.

    table(resource, objects, now=..., include="Metadata", metadata={}, version="v1") -> the Table document
    columns(resource) -> its columnDefinitions           row(resource, obj, now, include, version) -> one entry of `rows`

One small file a family; the registry below is the list. A family exports `PRINTERS: {(group, plural): Printer(columns, cells)}`,
where `cells(obj, now)` gives the cells that follow the name. Kinds that nobody names get NAME and AGE.
Names, types, formats and priorities of the columns are upstream's (pkg/printers/internalversion).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables import core, events, extensions, networking, nodes, pods, policy, storage, workloads
from controlplane.apiserver.tables.printer import DEFAULT, Printer
from controlplane.objects.kinds import Resource

Object = dict[str, Any]

REGISTRY: Final[dict[tuple[str, str], Printer]] = {
    **pods.PRINTERS,
    **nodes.PRINTERS,
    **core.PRINTERS,
    **events.PRINTERS,
    **workloads.PRINTERS,
    **networking.PRINTERS,
    **storage.PRINTERS,
    **policy.PRINTERS,
    **extensions.PRINTERS,
}


def printer_of(resource: Resource) -> Printer:
    """How objects of this resource are printed."""
    from controlplane.apiserver.crd.definition import CustomResource  # it needs the printer's types from here

    if isinstance(resource, CustomResource):
        return resource.of.printer
    return REGISTRY.get((resource.group, resource.plural), DEFAULT)


def columns(resource: Resource) -> list[Object]:
    """The columnDefinitions of a resource."""
    return printer_of(resource).definitions()


def _included(obj: Object, include: str, version: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    metadata = obj.get("metadata") or {}
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": metadata}


def row(resource: Resource, obj: Object, now: datetime, include: str = "Metadata", version: str = "v1") -> Object:
    """One entry of `rows`; `include` is None, Metadata or Object."""
    printer = printer_of(resource)
    entry: Object = {"cells": printer.row(obj, now)}
    conditions = printer.conditions(obj) if printer.conditions else None
    if conditions:
        entry["conditions"] = conditions
    return {**entry, "object": _included(obj, include, version)}


def table(
    resource: Resource,
    objects: Iterable[Object],
    *,
    now: datetime,
    include: str = "Metadata",
    metadata: Mapping[str, Any] | None = None,
    version: str = "v1",
) -> Object:
    """The Table of some objects; `metadata` is that of the list (resourceVersion, continue, remainingItemCount)."""
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(metadata or {}),
        "columnDefinitions": columns(resource),
        "rows": [row(resource, obj, now, include, version) for obj in objects],
    }
