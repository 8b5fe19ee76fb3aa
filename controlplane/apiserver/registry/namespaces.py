"""Namespaces: the `kubernetes` finalizer holds one until its content is deleted; the phase follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.registry.strategy import Strategy
from controlplane.apiserver.storage.codec import Object

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

NAME_LABEL: Final = "kubernetes.io/metadata.name"


def _labelled(obj: Object) -> Object:
    metadata = obj["metadata"]
    if (metadata.get("labels") or {}).get(NAME_LABEL) == metadata.get("name"):
        return obj
    labels = {**(metadata.get("labels") or {}), NAME_LABEL: metadata.get("name")}
    return {**obj, "metadata": {**metadata, "labels": labels}}


def _create(services: Services, obj: Object) -> Object:
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    finalizers = list(spec.get("finalizers") or [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    spec["finalizers"] = finalizers
    return {**_labelled(obj), "spec": spec, "status": {"phase": "Active"}}


def _update(services: Services, new: Object, old: Object) -> Object:
    """Only /finalize changes spec.finalizers."""
    spec = {**(new.get("spec") or {})}
    kept = (old.get("spec") or {}).get("finalizers")
    if kept is not None:
        spec["finalizers"] = kept
    return {**_labelled(new), "spec": spec}


STRATEGY: Final = Strategy(prepare_create=_create, prepare_update=_update)
