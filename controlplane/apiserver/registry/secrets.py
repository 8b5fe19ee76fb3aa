"""Secrets: `stringData` becomes `data`; an immutable secret keeps its content (the rules say so in validation)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.registry.strategy import Strategy
from controlplane.apiserver.storage.codec import Object

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services


def _merged(obj: Object) -> Object:
    given: Any = obj.get("stringData")
    if not given:
        return {name: value for name, value in obj.items() if name != "stringData"} if "stringData" in obj else obj
    data = {**(obj.get("data") or {})}
    for name, text in given.items():
        data[name] = base64.b64encode(str(text).encode()).decode()
    return {**{name: value for name, value in obj.items() if name != "stringData"}, "data": data}


def _create(services: Services, obj: Object) -> Object:
    return _merged(obj)


def _update(services: Services, new: Object, old: Object) -> Object:
    merged = _merged(new)
    return merged if merged.get("type") else {**merged, "type": old.get("type", "Opaque")}


STRATEGY: Final = Strategy(prepare_create=_create, prepare_update=_update)
