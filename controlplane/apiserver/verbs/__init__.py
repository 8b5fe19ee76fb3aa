"""One verb a file; the registry below is the table that the application dispatches by.  `apply` is server-side apply, which
to HTTP is a patch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from controlplane.apiserver.context import Context, Result
from controlplane.apiserver.verbs import (
    create,
    delete,
    delete_collection,
    get,
    list_,
    patch,
    update,
    watch,
)
from controlplane.objects.kinds import Resource

Handler = Callable[[Context, Resource], Awaitable[Result]]

VERBS: Final[dict[str, Handler]] = {
    "get": get.handle,
    "list": list_.handle,
    "watch": watch.handle,
    "create": create.handle,
    "update": update.handle,
    "patch": patch.handle,
    "delete": delete.handle,
    "deletecollection": delete_collection.handle,
}
