"""What stands in `metadata`, conditions, and paths into objects: small functions over immutable dicts.

Objects are never changed in place: functions that change answer a new object that shares what did not change.
Times are aware datetimes given by the caller; texts are RFC 3339 in UTC.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from controlplane.objects.kinds import Resource

Object = dict[str, Any]

FOREGROUND_FINALIZER: Final = "foregroundDeletion"
ORPHAN_FINALIZER: Final = "orphan"

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)\Z",
    re.ASCII,
)


# --- paths --------------------------------------------------------------------------------------------------
def get_in(value: Any, *path: str, default: Any = None) -> Any:
    """`get_in(pod, "spec", "nodeName", default="")`; absent, null and non-objects on the way give the default."""
    for key in path:
        if type(value) is not dict and not isinstance(value, Mapping):  # the exact check is ten times cheaper
            return default
        value = value.get(key)
        if value is None:
            return default
    return value


def set_in(obj: Object, path: Sequence[str], value: Any) -> Object:
    """A copy with the value at the path; objects on the way are made where they lack."""
    key, *rest = path
    copy = dict(obj)
    copy[key] = set_in(obj.get(key) or {}, rest, value) if rest else value
    return copy


def without(obj: Object, path: Sequence[str]) -> Object:
    """A copy without the field at the path; the object itself when there is none."""
    key, *rest = path
    if key not in obj:
        return obj
    copy = dict(obj)
    if not rest:
        del copy[key]
        return copy
    child = obj[key]
    if not isinstance(child, dict):
        return obj
    copy[key] = without(child, rest)
    return copy if copy[key] is not child else obj


# --- metadata -----------------------------------------------------------------------------------------------
def name_of(obj: Object) -> str:
    found: str = get_in(obj, "metadata", "name", default="")
    return found


def namespace_of(obj: Object) -> str:
    """ "" for objects of the cluster."""
    found: str = get_in(obj, "metadata", "namespace", default="")
    return found


def uid_of(obj: Object) -> str:
    found: str = get_in(obj, "metadata", "uid", default="")
    return found


def labels_of(obj: Object) -> dict[str, str]:
    found: dict[str, str] = get_in(obj, "metadata", "labels", default={})
    return found


def annotations_of(obj: Object) -> dict[str, str]:
    found: dict[str, str] = get_in(obj, "metadata", "annotations", default={})
    return found


def resource_version_of(obj: Object) -> str:
    found: str = get_in(obj, "metadata", "resourceVersion", default="")
    return found


def key_of(obj: Object) -> str:
    """ "namespace/name", or "name" of the cluster."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def split_key(key: str) -> tuple[str, str]:
    """(namespace or "", name)."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def is_deleting(obj: Object) -> bool:
    return get_in(obj, "metadata", "deletionTimestamp") is not None


def with_metadata(obj: Object, **fields: Any) -> Object:
    """A copy with these fields of metadata set; None removes one."""
    metadata = dict(obj.get("metadata") or {})
    for key, value in fields.items():
        if value is None:
            metadata.pop(key, None)
        else:
            metadata[key] = value
    return {**obj, "metadata": metadata}


def with_annotations(obj: Object, changes: Mapping[str, str | None]) -> Object:
    """A copy with these annotations set; None removes one."""
    merged = {**annotations_of(obj), **changes}
    return with_metadata(obj, annotations={key: value for key, value in merged.items() if value is not None} or None)


def with_labels(obj: Object, changes: Mapping[str, str | None]) -> Object:
    """A copy with these labels set; None removes one."""
    merged = {**labels_of(obj), **changes}
    return with_metadata(obj, labels={key: value for key, value in merged.items() if value is not None} or None)


# --- owners -------------------------------------------------------------------------------------------------
def owners_of(obj: Object) -> list[Object]:
    found: list[Object] = get_in(obj, "metadata", "ownerReferences", default=[])
    return found


def owner_reference(owner: Object, resource: Resource, *, controller: bool = True) -> Object:
    """The reference that a child of `owner` carries; a controller's reference also blocks foreground deletion."""
    reference: Object = {
        "apiVersion": resource.group_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
    }
    if controller:
        reference |= {"controller": True, "blockOwnerDeletion": True}
    return reference


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`, or None."""
    return next((owner for owner in owners_of(obj) if owner.get("controller")), None)


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid_of(owner)


# --- finalizers ---------------------------------------------------------------------------------------------
def finalizers_of(obj: Object) -> list[str]:
    found: list[str] = get_in(obj, "metadata", "finalizers", default=[])
    return found


def has_finalizer(obj: Object, finalizer: str) -> bool:
    return finalizer in finalizers_of(obj)


def with_finalizer(obj: Object, finalizer: str) -> Object:
    if has_finalizer(obj, finalizer):
        return obj
    return with_metadata(obj, finalizers=[*finalizers_of(obj), finalizer])


def without_finalizer(obj: Object, finalizer: str) -> Object:
    if not has_finalizer(obj, finalizer):
        return obj
    return with_metadata(obj, finalizers=[name for name in finalizers_of(obj) if name != finalizer] or None)


# --- conditions ---------------------------------------------------------------------------------------------
def conditions_of(obj: Object) -> list[Object]:
    found: list[Object] = get_in(obj, "status", "conditions", default=[])
    return found


def condition_of(obj: Object, kind: str) -> Object | None:
    """The condition of this type, or None."""
    return next((condition for condition in conditions_of(obj) if condition.get("type") == kind), None)


def is_true(obj: Object, kind: str) -> bool:
    """Whether the condition of this type has status "True"."""
    condition = condition_of(obj, kind)
    return condition is not None and condition.get("status") == "True"


def with_condition(conditions: Sequence[Object], condition: Object, now: datetime) -> list[Object]:
    """The list with this condition in the place of the one of its type.  lastTransitionTime moves to `now` when the
    status changes, and stays otherwise; other fields of the old condition that the new one lacks are dropped."""
    kept = list(conditions)
    for index, old in enumerate(kept):
        if old.get("type") == condition["type"]:
            same = old.get("status") == condition.get("status") and old.get("lastTransitionTime")
            kept[index] = {**condition, "lastTransitionTime": old["lastTransitionTime"] if same else format_time(now)}
            return kept
    return [*kept, {**condition, "lastTransitionTime": format_time(now)}]


# --- time ---------------------------------------------------------------------------------------------------
def parse_time(text: str) -> datetime:
    """Aware, in UTC, from RFC 3339 (any offset, up to nanoseconds, cut to microseconds).  Raises ValueError."""
    found = _TIME.match(text)
    if found is None:
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00"')
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    micros = int((fraction or "0").ljust(6, "0")[:6])
    moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), micros, UTC)
    if zone in "Zz":
        return moment
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return moment - offset if zone[0] == "+" else moment + offset


def format_time(moment: datetime) -> str:
    """metav1.Time: "2026-11-22T08:00:00Z" (seconds, cut)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(moment: datetime) -> str:
    """metav1.MicroTime, of Leases and events.k8s.io: "2026-11-22T08:00:00.000000Z"."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def created_at(obj: Object) -> datetime | None:
    """metadata.creationTimestamp, or None where it is absent."""
    text = get_in(obj, "metadata", "creationTimestamp")
    return parse_time(text) if text else None
