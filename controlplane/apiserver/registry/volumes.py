"""Volumes and claims wait, at first, for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controlplane.apiserver.registry.strategy import Strategy
from controlplane.apiserver.storage.codec import Object

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services


def _create(services: Services, obj: Object) -> Object:
    return {**obj, "status": {"phase": "Pending"}}


STRATEGY: Final = Strategy(prepare_create=_create)
