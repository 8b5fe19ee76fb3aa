"""The graph of owners: who exists, who owns whom. Pure bookkeeping over metadata; answers with uids to look at.

changed(resource, obj) / removed(obj) -> uids whose situation may be another now
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controlplane.objects.kinds import Resource
from controlplane.objects.meta import (
    FOREGROUND_FINALIZER,
    ORPHAN_FINALIZER,
    has_finalizer,
    is_deleting,
    owners_of,
    uid_of,
)

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """One object; `obj` holds its metadata."""

    resource: Resource
    obj: Object

    @property
    def awaits_dependents(self) -> bool:
        """It is being deleted in the foreground: it goes after what it owns."""
        return is_deleting(self.obj) and has_finalizer(self.obj, FOREGROUND_FINALIZER)

    @property
    def frees_dependents(self) -> bool:
        """It is being deleted, and what it owns shall live on without it."""
        return is_deleting(self.obj) and has_finalizer(self.obj, ORPHAN_FINALIZER)


class Graph:
    """All objects by uid, and for each owner's uid (present or not) the uids that name it."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        """The object of that uid, if it is there."""
        return self._nodes.get(uid)

    def dependents(self, uid: str) -> list[Node]:
        """The objects that name it as an owner."""
        return [self._nodes[dependent] for dependent in self._dependents.get(uid, ())]

    def changed(self, resource: Resource, obj: Object) -> Iterable[str]:
        """Take in a new object or a new state of one."""
        uid = uid_of(obj)
        old = self._nodes.get(uid)
        node = self._nodes[uid] = Node(resource, obj)
        before = {reference["uid"] for reference in owners_of(old.obj)} if old else set()
        after = {reference["uid"] for reference in owners_of(obj)}
        for owner in before - after:
            self._unlink(owner, uid)
        for reference in owners_of(obj):
            self._dependents.setdefault(reference["uid"], {})[uid] = None
        # Its owners may be gone or going (later changes of theirs tell us), or it goes in a way that concerns others.
        if (after and (old is None or after != before)) or node.awaits_dependents or node.frees_dependents:
            yield uid
        if node.awaits_dependents and not (old and old.awaits_dependents):
            yield from self._dependents.get(uid, ())
        yield from self._waiting(before | after)

    def removed(self, obj: Object) -> Iterable[str]:
        """Take an object out."""
        uid = uid_of(obj)
        node = self._nodes.pop(uid, None)
        if node is None:
            return
        owners = [reference["uid"] for reference in owners_of(node.obj)]
        for owner in owners:
            self._unlink(owner, uid)
        yield from list(self._dependents.get(uid, ()))
        yield from self._waiting(owners)

    def _waiting(self, owners: Iterable[str]) -> Iterable[str]:
        """Those of the owners that wait for what they own."""
        for owner in owners:
            node = self._nodes.get(owner)
            if node is not None and (node.awaits_dependents or node.frees_dependents):
                yield owner

    def _unlink(self, owner: str, dependent: str) -> None:
        known = self._dependents.get(owner)
        if known is not None:
            known.pop(dependent, None)
            if not known:
                del self._dependents[owner]
