"""Secrets: one without a type keeps the type that it has (the rules say in validation that an immutable one stays)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controlplane.apiserver.registry.strategy import Strategy
from controlplane.apiserver.storage.codec import Object

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services


def _update(services: Services, new: Object, old: Object) -> Object:
    return new if new.get("type") else {**new, "type": old.get("type", "Opaque")}


STRATEGY: Final = Strategy(prepare_update=_update)
