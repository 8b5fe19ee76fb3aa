"""Owners after a write that is no apply: whoever writes a field owns it, and the others lose it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controlplane.objects.apply import managers, sets
from controlplane.objects.apply.managers import UPDATE, Managed, Manager, Owned
from controlplane.objects.apply.shape import ElementError
from controlplane.objects.apply.views import Changes, Object, Request


def tracked(request: Request, old: Object | None, new: Object) -> Object:
    """`new` with its managedFields; `old` is what is stored, None when the object is being created.

    The client's own managedFields count when they are well-formed and not empty (they may be edited); one empty entry
    forgets all; through a subresource they are ignored. An object that nobody owns stays so until the first apply.
    """
    before = managers.carried(old) if old is not None else []
    entries, managed = _starting(request, before, managers.carried(new))
    if old is not None and not managed:
        return managers.with_entries(new, [])
    try:
        changes = Changes(request, old or {}, new)
        after = _updated(request, changes, managed)
    except ElementError:  # a list that cannot be told apart: what was known stays
        return managers.with_entries(new, entries)
    if after is managed:
        return managers.with_entries(new, entries)
    return managers.with_entries(new, managers.written(managers.capped(after), entries))


def _starting(request: Request, before: list[Object], given: Sequence[Object]) -> tuple[list[Object], Managed]:
    """The entries to start from, and what they say."""
    if given == before or not given or request.subresource:
        return before, managers.stored(before)
    if managers.is_reset(given):
        return [], {}
    try:
        managed = managers.read(given)
    except ValueError:
        managed = {}
    if not managed:
        return before, managers.stored(before)
    return managers.written(managed), managed


def others_after(managed: Managed, changes: Changes, writer: Manager | None) -> Managed:
    """The entries of all but the writer, less what changed or is gone; those who own nothing are out; so are entries in
    versions that are served no more. `managed` itself when nothing changes."""
    found: Managed = {}
    for who, owned in managed.items():
        if who == writer:
            found[who] = owned
            continue
        comparison = changes.of(owned.api_version)
        if comparison is None:
            continue
        left = owned if comparison.is_same else owned.less(comparison.written).less(comparison.removed)
        if left.fields:
            found[who] = left
    same = len(found) == len(managed) and all(owned is managed[who] for who, owned in found.items())
    return managed if same else found


def _updated(request: Request, changes: Changes, managed: Managed) -> Managed:
    """All entries after the write; `managed` itself when the write says nothing new."""
    who = managers.manager(request.manager, UPDATE, request.view.api_version, request.subresource)
    own = changes.own
    after = others_after(managed, changes, who)
    if own.is_same:
        return after
    previous = managed.get(who)
    fields = previous.fields if previous is not None else sets.EMPTY
    fields = sets.union(sets.difference(fields, own.removed), own.written)
    if not fields:
        return {other: owned for other, owned in after.items() if other != who}
    if own.written:
        return {**after, who: Owned(request.view.api_version, fields, request.time)}
    assert previous is not None
    return {**after, who: replace(previous, fields=fields)}
