"""Strategy: what is particular to a kind when it is created, changed or removed.  The default does the common things."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controlplane.apiserver.registry.deletion import GraceOf, no_grace
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.store import NOTHING_ELSE, Also

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services


def _same(services: Services, obj: Object) -> Object:
    return obj


def _keep(services: Services, new: Object, old: Object) -> Object:
    return new


async def _allocate_nothing(services: Services, obj: Object, old: Object | None) -> tuple[Object, Also]:
    return obj, NOTHING_ELSE


def _release_nothing(obj: Object) -> Also:
    return NOTHING_ELSE


async def _no_lease(services: Services) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Strategy:
    """All hooks of a kind; those that say `pure` never await and never change their arguments."""

    # pure: a new object before validation (status reset, server-owned fields)
    prepare_create: Callable[[Services, Object], Object] = _same
    # pure: a changed object before validation; `old` is what is stored
    prepare_update: Callable[[Services, Object, Object], Object] = _keep
    # pure: an object whose deletion is asked for, before anything is decided about it
    prepare_delete: Callable[[Services, Object], Object] = _same
    # addresses, ports and the like: the object with them, and the keys to write along; called again when one is taken
    allocate: Callable[[Services, Object, Object | None], Awaitable[tuple[Object, Also]]] = _allocate_nothing
    # pure: the keys to give back when the object goes
    release: Callable[[Object], Also] = _release_nothing
    grace_of: GraceOf = no_grace
    lease: Callable[[Services], Awaitable[int]] = _no_lease
    counts_generation: bool = False
    needs_revision: bool = False  # an update must carry a resourceVersion
    orphans_by_default: bool = False
