"""An object in the versions in which its managers speak of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.objects.apply import compare, sets
from controlplane.objects.apply.compare import Comparison
from controlplane.objects.apply.sets import FieldSet
from controlplane.objects.schema import Schema

Object = dict[str, Any]


def _same(obj: Object) -> Object:
    return obj


@dataclass(frozen=True, slots=True)
class View:
    """One API version of a kind: its schema, how objects of the request's version become its own, and back."""

    api_version: str
    schema: Schema
    convert: Callable[[Object], Object] = _same
    back: Callable[[Object], Object] = _same


Views = Callable[[str], View | None]
"""The view of an API version; None for one that is not served."""


@dataclass(frozen=True, slots=True)
class Request:
    """A write: the view that it speaks, the others, who writes, and when (RFC 3339, seconds).  `ignored` fields are not
    the writer's to change through this resource (the status of the main one, the spec of /status): nobody gets or loses
    them by this write."""

    view: View
    others: Views
    manager: str
    time: str
    subresource: str = ""
    ignored: FieldSet = field(default_factory=dict)

    def views(self, api_version: str) -> View | None:
        return self.view if api_version == self.view.api_version else self.others(api_version)


_NEVER_OWNED: Final = frozenset({
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
    "resourceVersion",
})  # fmt: skip
# What is the server's, or says which object it is: nobody owns it.
STRIPPED: Final = sets.of(
    ("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", "f:" + name) for name in sorted(_NEVER_OWNED))
)


class Changes:
    """What a write changes, in each version that somebody asks for."""

    __slots__ = ("_found", "_new", "_old", "_request")

    def __init__(self, request: Request, old: Object, new: Object) -> None:
        self._request = request
        self._old = old
        self._new = new
        self._found: dict[str, Comparison | None] = {}

    def of(self, api_version: str) -> Comparison | None:
        """None for a version that is not served.  Raises shape.ElementError."""
        if api_version not in self._found:
            self._found[api_version] = self._compare(api_version)
        return self._found[api_version]

    @property
    def own(self) -> Comparison:
        """In the version of the request."""
        found = self.of(self._request.view.api_version)
        assert found is not None
        return found

    def _compare(self, api_version: str) -> Comparison | None:
        view = self._request.views(api_version)
        if view is None:
            return None
        found = compare.compare(view.schema, view.convert(_plain(self._old)), view.convert(_plain(self._new)))
        return found.without(self._request.ignored)


def _plain(obj: Object) -> Object:
    """The object less what is never owned, so that no walk looks at it."""
    metadata = obj.get("metadata") or {}
    kept = {name: value for name, value in metadata.items() if name not in _NEVER_OWNED}
    return {**obj, "apiVersion": "", "kind": "", "metadata": kept}
