"""CRDs in the store: what the server writes into them when they are created, changed and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controlplane.apiserver.crd import marker, names
from controlplane.apiserver.registry.strategy import Strategy
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import Also

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services


def _reconciled(services: Services, crd: Object) -> Object:
    """With its names negotiated at once when they can be, so that a definition is served when its creation is answered."""
    spec = crd.get("spec") or {}
    complete = spec.get("group") and (spec.get("names") or {}).get("plural")
    if not complete or not any(each.get("storage") for each in spec.get("versions") or ()):
        return crd  # validation has the words for it
    others = [definition.crd for definition in services.custom.definitions()]
    return names.with_names(crd, others, services.environment.timestamp())


def _create(services: Services, crd: Object) -> Object:
    return _reconciled(services, {name: value for name, value in crd.items() if name != "status"})


def _update(services: Services, new: Object, old: Object) -> Object:
    if old["metadata"].get("deletionTimestamp") is not None:
        return new
    return _reconciled(services, new)


def _delete(services: Services, crd: Object) -> Object:
    if crd["metadata"].get("deletionTimestamp") is not None:
        return crd
    return names.terminating(crd, services.environment.timestamp())


async def _allocate(services: Services, new: Object, old: Object | None) -> tuple[Object, Also]:
    return new, marker.written_along(new, old)


def _release(crd: Object) -> Also:
    return marker.CHANGED


STRATEGY: Final = Strategy(
    prepare_create=_create,
    prepare_update=_update,
    prepare_delete=_delete,
    allocate=_allocate,
    release=_release,
    counts_generation=True,
)
