"""Cache: the objects of one resource as the informer last saw them, with indexes.

Keys are "namespace/name", or "name" for resources of the cluster. What is handed out belongs to all: nobody changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from controlplane.objects.kinds import Resource
from controlplane.objects.meta import is_controlled_by, key_of, labels_of, uid_of
from controlplane.objects.selectors import LabelSelector

__all__ = ["Cache", "Change", "revision_of"]

Object = dict[str, Any]
IndexFunction = Callable[[Object], Iterable[str]]


def revision_of(obj: Object) -> int:
    """The object's (or list's) resourceVersion as a number that grows; 0 when it has none."""
    text = obj.get("metadata", {}).get("resourceVersion") or "0"
    return int(text) if text.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object; `new` is its last known state when it was DELETED."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    old: Object | None
    new: Object


def _owners(obj: Object) -> Iterable[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()]


def _namespace(obj: Object) -> Iterable[str]:
    return (obj["metadata"].get("namespace") or "",)


def _node(obj: Object) -> Iterable[str]:
    node = (obj.get("spec") or {}).get("nodeName")
    return (node,) if node else ()


def _labels(obj: Object) -> Iterable[str]:
    return [f"{key}={value}" for key, value in (obj["metadata"].get("labels") or {}).items()]


def _uid(obj: Object) -> Iterable[str]:
    return (obj["metadata"].get("uid") or "",)


class _Index:
    __slots__ = ("_function", "_keys")

    def __init__(self, function: IndexFunction) -> None:
        self._function = function
        self._keys: dict[str, dict[str, None]] = {}  # value -> keys, in the order they came

    def insert(self, key: str, obj: Object) -> None:
        for value in self._function(obj):
            self._keys.setdefault(value, {})[key] = None

    def remove(self, key: str, obj: Object) -> None:
        for value in self._function(obj):
            keys = self._keys.get(value)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._keys[value]

    def keys(self, value: str) -> Iterable[str]:
        return self._keys.get(value, ())


class Cache:
    """Look-ups cost O(answer): an index is built when it is first asked for and kept up from then on."""

    __slots__ = ("_indexes", "_objects", "resource")

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self._objects: dict[str, Object] = {}
        self._indexes: dict[str, _Index] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._objects.values())

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def keys(self) -> Iterable[str]:
        """All keys; do not change the cache while iterating."""
        return self._objects.keys()

    def get(self, key: str) -> Object | None:
        """The object, or None."""
        return self._objects.get(key)

    def in_namespace(self, namespace: str) -> list[Object]:
        """All objects of a namespace."""
        return self.by_index("namespace", _namespace, namespace)

    def select(self, namespace: str, selector: LabelSelector) -> list[Object]:
        """All objects of a namespace whose labels match; starts from an index where the selector names one value."""
        for requirement in selector.requirements:
            if requirement.operator == "in" and len(requirement.values) == 1:
                found = self.by_label(requirement.key, requirement.values[0])
                found = [obj for obj in found if obj["metadata"].get("namespace", "") == namespace]
                break
        else:
            found = [] if selector.nothing else self.in_namespace(namespace)
        return [obj for obj in found if selector.matches(labels_of(obj))]

    def by_owner(self, uid: str) -> list[Object]:
        """All objects with an owner reference to that uid (controller or not)."""
        return self.by_index("owner", _owners, uid)

    def controlled_by(self, owner: Object) -> list[Object]:
        """Those whose controller is this object: not only one of its owners, and not of an earlier object of its name."""
        return [found for found in self.by_owner(uid_of(owner)) if is_controlled_by(found, owner)]

    def by_node(self, name: str) -> list[Object]:
        """All objects (pods) with that `spec.nodeName`."""
        return self.by_index("node", _node, name)

    def by_label(self, label: str, value: str) -> list[Object]:
        """All objects, of all namespaces, with that label."""
        return self.by_index("label", _labels, f"{label}={value}")

    def by_uid(self, uid: str) -> Object | None:
        """The object of that uid, or None."""
        found = self.by_index("uid", _uid, uid)
        return found[0] if found else None

    def by_index(self, name: str, function: IndexFunction, value: str) -> list[Object]:
        """All objects for which `function` yields `value`. One name stands for one function, always."""
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = _Index(function)
            for key, obj in self._objects.items():
                index.insert(key, obj)
        objects = self._objects
        return [objects[key] for key in index.keys(value)]

    # What follows is the informer's side.
    def put(self, obj: Object) -> Change | None:
        """Take in an object; None when it is not news."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None:
            if revision_of(obj) and old["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
                return None
            for index in self._indexes.values():
                index.remove(key, old)
        self._objects[key] = obj
        for index in self._indexes.values():
            index.insert(key, obj)
        return Change("MODIFIED" if old is not None else "ADDED", old, obj)

    def remove(self, key: str, last: Object | None = None) -> Change | None:
        """Take an object out; `last` is its final state where that is known. None when it was not there."""
        old = self._objects.pop(key, None)
        if old is None:
            return None
        for index in self._indexes.values():
            index.remove(key, old)
        return Change("DELETED", old, last if last is not None else old)
