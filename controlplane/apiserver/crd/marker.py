"""One small key that is written with every change of a definition: reading it tells how far a server must have seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controlplane.apiserver.storage.backend import Put
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.layout import ROOT
from controlplane.apiserver.storage.store import NOTHING_ELSE, Also

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

KEY: Final = f"{ROOT}pilothouse/definitions".encode()
CHANGED: Final = Also(puts=(Put(KEY, b"{}"),))


_UNSEEN: Final = frozenset({"managedFields", "resourceVersion"})


def _seen(crd: Object) -> Object:
    metadata = {name: value for name, value in crd["metadata"].items() if name not in _UNSEEN}
    return {**crd, "metadata": metadata}


def written_along(new: Object, old: Object | None) -> Also:
    """What goes into the transaction of a change; nothing when nothing changes that is served."""
    return NOTHING_ELSE if old is not None and _seen(new) == _seen(old) else CHANGED


async def revision(services: Services) -> int:
    """The revision of the newest change of any definition; 0 when there was none."""
    row, _ = await services.backend.get(KEY)
    return row.revision if row is not None else 0
