"""`metadata.managedFields` as values: who owns what, read from an object and written back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from controlplane.objects.apply import sets
from controlplane.objects.apply.sets import FieldSet

Object = dict[str, Any]
APPLY: Final = "Apply"
UPDATE: Final = "Update"
MOST_UPDATERS: Final = 10
ANCIENT: Final = "ancient-changes"
BEFORE_FIRST_APPLY: Final = "before-first-apply"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Manager:
    """Who owns: one identity, one entry.  Of an applier the version does not tell it from others: it is ""."""

    name: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    @property
    def shown(self) -> str:
        """As conflicts name it: `"kubectl" with subresource "status" using apps/v1`."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@dataclass(frozen=True, slots=True)
class Owned:
    """An entry: what a manager owns in terms of `api_version`, and when that last changed (RFC 3339, or "")."""

    api_version: str
    fields: FieldSet
    time: str = ""

    def less(self, gone: FieldSet) -> Owned:
        left = sets.difference(self.fields, gone)
        return self if left is self.fields else replace(self, fields=left)


Managed = dict[Manager, Owned]
"""All entries of an object; a value: functions answer new ones."""


def manager(name: str, operation: str, api_version: str, subresource: str = "") -> Manager:
    """An identity; a manager without a name is `unknown`."""
    return Manager(name or UNKNOWN, operation, "" if operation == APPLY else api_version, subresource)


def carried(obj: Object) -> list[Object]:
    """The entries that an object carries, as they are."""
    found = (obj.get("metadata") or {}).get("managedFields")
    return found if isinstance(found, list) else []


def is_reset(entries: Sequence[Object]) -> bool:
    """Whether a client asks to forget all owners: by one entry that says nothing."""
    return len(entries) == 1 and entries[0] == {}


def stored(entries: Iterable[Object]) -> Managed:
    """Entries that we wrote ourselves; what an admission plugin or a webhook spoiled since is left out."""
    found: Managed = {}
    for entry in entries:
        operation, api_version, fields = entry.get("operation"), entry.get("apiVersion"), entry.get("fieldsV1")
        if operation in (APPLY, UPDATE) and api_version and (fields is None or isinstance(fields, dict)):
            who = manager(entry.get("manager", ""), operation, api_version, entry.get("subresource", ""))
            found[who] = Owned(api_version, fields or sets.EMPTY, entry.get("time", ""))
    return found


def read(entries: Any) -> Managed:
    """Entries that a client sent.  Raises ValueError."""
    found: Managed = {}
    for at, entry in enumerate(entries):
        if not isinstance(entry, dict) or entry.get("operation") not in (APPLY, UPDATE):
            raise ValueError("operation must be `Apply` or `Update`")
        if not entry.get("apiVersion"):
            raise ValueError("apiVersion must not be empty")
        if entry.get("fieldsType") != "FieldsV1":
            raise ValueError(f"invalid fieldsType in managed fields entry {at}")
        who = manager(entry.get("manager", ""), entry["operation"], entry["apiVersion"], entry.get("subresource", ""))
        owned = sets.read(entry.get("fieldsV1") or {})
        if owned:
            found[who] = Owned(entry["apiVersion"], owned, entry.get("time") or "")
    return found


def _order(item: tuple[Manager, Owned]) -> tuple[str, ...]:
    who, owned = item
    return (who.operation, owned.time, who.name, owned.api_version, who.subresource)


def written(managed: Managed, before: Sequence[Object] = ()) -> list[Object]:
    """The entries as an object carries them, in order; sets that stand in `before` already are not ordered again."""
    known = {id(entry.get("fieldsV1")) for entry in before}
    found = []
    for who, owned in sorted(managed.items(), key=_order):
        entry: Object = {"manager": who.name, "operation": who.operation, "apiVersion": owned.api_version}
        if owned.time:
            entry["time"] = owned.time
        entry["fieldsType"] = "FieldsV1"
        entry["fieldsV1"] = owned.fields if id(owned.fields) in known else sets.ordered(owned.fields)
        if who.subresource:
            entry["subresource"] = who.subresource
        found.append(entry)
    return found


def with_entries(obj: Object, entries: list[Object]) -> Object:
    """A copy that carries these entries; none are no field."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def differ_in_time_only(one: Sequence[Object], other: Sequence[Object]) -> bool:
    """Whether the same managers own the same fields."""
    if len(one) != len(other):
        return False
    if one == other:
        return True

    def timeless(entries: Sequence[Object]) -> Managed:
        return {who: replace(owned, time="") for who, owned in stored(entries).items()}

    return timeless(one) == timeless(other)


def capped(managed: Managed) -> Managed:
    """At most MOST_UPDATERS entries of updates: the oldest are joined, each API version in a bucket of its own."""
    updaters = [(who, owned) for who, owned in managed.items() if who.operation == UPDATE]
    if len(updaters) <= MOST_UPDATERS:
        return managed
    updaters.sort(key=lambda item: (item[1].time, item[0].name, item[0].api_version, item[0].subresource))
    found, count = dict(managed), len(updaters)
    firsts: dict[str, Manager] = {}
    for who, owned in updaters:
        if count <= MOST_UPDATERS:
            break
        first = firsts.setdefault(owned.api_version, who)
        if first == who:
            continue
        bucket = Manager(ANCIENT, UPDATE, owned.api_version)
        if bucket not in found:
            found[bucket] = found.pop(first)
        if who != bucket:
            found[bucket] = Owned(owned.api_version, sets.union(found[bucket].fields, owned.fields), owned.time)
            del found[who]
            count -= 1
    return found
