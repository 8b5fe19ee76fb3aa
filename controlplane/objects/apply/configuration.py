"""Server-side apply: a configuration merged into the live object, and what its manager no longer says taken out.

Source: the updater of structured-merge-diff and Kubernetes' managed fields around it, described in KEP 555.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from controlplane.objects import meta
from controlplane.objects.apply import check, compare, extract, managers, merge, remove, sets, shape
from controlplane.objects.apply.conflicts import ConflictError
from controlplane.objects.apply.managers import APPLY, Managed, Manager, Owned
from controlplane.objects.apply.sets import FieldSet
from controlplane.objects.apply.shape import ElementError
from controlplane.objects.apply.update import others_after, tracked
from controlplane.objects.apply.views import STRIPPED, Changes, Object, Request, View
from controlplane.objects.schema import Schema

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL: Final = "kubectl"  # the manager that takes over what client-side apply owned


class ConfigurationError(ValueError):
    """The configuration does not fit its schema; the message is a list of complaints."""


def apply(request: Request, live: Object | None, config: Object, *, force: bool = False) -> Object:
    """The live object (None: there is none yet) after a configuration, with managedFields; fields may still lack defaults
    and hold values in forms that decoding makes canonical.

    Raises ConfigurationError, and ConflictError unless `force`.
    """
    complaints = check.complaints(request.view.schema, config)
    if complaints:
        raise ConfigurationError("; ".join(complaints))
    owned = _owned_by_now(request, live)
    try:
        applied = _applied(request, live or {}, config, owned, force=force)
    except ConflictError as conflict:
        allowed = _taken_over(request, live)
        if not allowed:
            raise
        left = conflict.less(allowed)
        if left is not None:
            raise left from None
        applied = _applied(request, live or {}, config, owned, force=True)
    return _with_last_applied(request, applied, config)


def merged(schema: Schema, live: Object, config: Object) -> Object:
    """The live object with a configuration merged into it that nobody owns (of an admission policy). What is owned whole may
    not be part of it. Raises ConfigurationError."""
    complaints = check.complaints(schema, config)
    if complaints:
        raise ConfigurationError("; ".join(complaints))
    whole = list(_owned_whole(schema, config, ""))
    if whole:
        raise ConfigurationError(f"may not mutate atomic arrays, maps or structs: {', '.join(whole)}")
    try:
        found: Object = merge.merge(schema, live, config)
    except ElementError as error:
        raise ConfigurationError(str(error)) from error
    return found


def _owned_whole(schema: Schema, config: Any, path: str) -> Iterator[str]:
    """The paths of lists and maps that are set as a whole."""
    form = shape.form(schema, config)
    if form == "map":
        for name, part in config.items():
            yield from _owned_whole(shape.child(schema, name), part, f"{path}.{name}")
    elif form == "list":
        for item in config:
            yield from _owned_whole(schema.items, item, f"{path}[]")
    elif isinstance(config, dict | list):
        yield path


def _owned_by_now(request: Request, live: Object | None) -> Managed:
    """What the live object says of its owners; all that stands in one that says nothing belongs to one manager."""
    if live is None:
        return {}
    entries = managers.carried(live)
    if not entries:
        unowned = managers.with_entries(live, [])
        first = replace(request, manager=managers.BEFORE_FIRST_APPLY)
        entries = managers.carried(tracked(first, None, unowned))
    return managers.stored(entries)


def _applied(request: Request, live: Object, config: Object, owned: Managed, *, force: bool) -> Object:
    view = request.view
    who = managers.manager(request.manager, APPLY, view.api_version, request.subresource)
    claims = _claims(request, config)
    last = owned.get(who)
    managed = {**owned, who: Owned(view.api_version, claims, request.time)}
    merged = merge.merge(view.schema, managers.with_entries({"metadata": {}, **live}, []), config)
    new = remove.settled(_pruned(request, merged, managed, who, last) if last is not None else merged)
    changes = Changes(request, live, new)
    _check_conflicts(managed, changes, who, force=force)
    after = others_after(managed, changes, who)
    mine = sets.difference(claims, STRIPPED)
    after = {other: entry for other, entry in after.items() if other != who}
    if mine:
        kept = last is not None and last.fields == mine and last.api_version == view.api_version and changes.own.is_same
        after[who] = last if kept and last is not None else Owned(view.api_version, mine, request.time)
    return managers.with_entries(new, managers.written(after, managers.carried(live)))


def _claims(request: Request, config: Object) -> FieldSet:
    """What the configuration owns, and which object it speaks of; that goes when all is counted."""
    claims = extract.field_set(request.view.schema, config)
    return sets.union(sets.difference_below(claims, request.ignored), sets.of(("f:metadata", "f:name")))


def _check_conflicts(managed: Managed, changes: Changes, who: Manager, *, force: bool) -> None:
    if force:
        return
    found: dict[Manager, FieldSet] = {}
    for other, entry in managed.items():
        comparison = changes.of(entry.api_version)
        if other == who or comparison is None:
            continue
        conflict = sets.intersection(entry.fields, comparison.written)
        if conflict:
            found[other] = conflict
    if found:
        raise ConflictError(found)


# --- what a manager no longer applies -----------------------------------------------------------------------
def _pruned(request: Request, merged: Object, managed: Managed, who: Manager, last: Owned) -> Object:
    """The merged object less what `last` owned and nobody owns now.

    First all that the manager owned goes, with what is in it; then what anybody owns comes back; then what did not go
    by its own name, but lay in something that did, as long as that something is still there.
    """
    view = request.views(last.api_version)
    if view is None:
        return merged
    there = view.convert(merged)
    pruned = remove.remove(view.schema, there, remove.named_members(view.schema, last.fields))
    pruned = _with_owned(request, view, there, pruned, managed)
    gone = sets.difference(_named(view, there), _named(view, pruned))
    gone = sets.intersection(gone, remove.named_members(view.schema, last.fields))
    found: Object = view.back(remove.remove(view.schema, there, gone))
    return found


def _named(view: View, obj: Any) -> FieldSet:
    return remove.named_members(view.schema, extract.field_set(view.schema, obj or {}))


def _with_owned(request: Request, view: View, merged: Object, pruned: Any, managed: Managed) -> Any:
    """The pruned object with all that any manager owns put back; `merged` and `pruned` are in the version of `view`."""
    by_version: dict[str, FieldSet] = {}
    for entry in managed.values():
        by_version[entry.api_version] = sets.union(by_version.get(entry.api_version, sets.EMPTY), entry.fields)
    for version in sorted(by_version, key=lambda name: (name != view.api_version, name)):
        other = request.views(version)
        if other is None:
            continue
        there = other.convert(view.back(merged))
        kept = _named(other, other.convert(view.back(pruned or {})))
        kept = sets.union(kept, remove.named_members(other.schema, by_version[version]))
        pruned = remove.remove(other.schema, there, sets.difference(_named(other, there), kept))
        pruned = view.convert(other.back(pruned or {}))
    return pruned


# --- after client-side apply --------------------------------------------------------------------------------
def _taken_over(request: Request, live: Object | None) -> FieldSet:
    """Fields that kubectl may take without force, because its client-side apply wrote them: those of the annotation that
    are in the live object as they are there."""
    text = meta.annotations_of(live or {}).get(LAST_APPLIED)
    if request.manager != _KUBECTL or not text:
        return sets.EMPTY
    try:
        last = json.loads(text)
        if not isinstance(last, dict) or last.get("apiVersion") != request.view.api_version:
            return sets.EMPTY
        schema = request.view.schema
        if check.complaints(schema, last):
            return sets.EMPTY
        found, changed = extract.field_set(schema, last), compare.compare(schema, last, live)
    except (ValueError, ElementError):
        return sets.EMPTY
    for different in (changed.modified, changed.added, changed.removed):
        found = sets.difference(found, different)
    return found


def _with_last_applied(request: Request, applied: Object, config: Object) -> Object:
    """Kubectl's annotation follows its server-side apply where it is already there, so that clients that still apply
    on their side see what was applied last."""
    annotations = meta.annotations_of(applied)
    if request.manager != _KUBECTL or not annotations.get(LAST_APPLIED):
        return applied
    plain = meta.with_annotations(config, {LAST_APPLIED: None})
    if not meta.annotations_of(config):
        plain = config
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n"
    return meta.with_annotations(applied, {LAST_APPLIED: text})
