"""How defaults are filled in: functions from object to object that share what they do not change."""

from collections.abc import Callable, Mapping
from typing import Any

Object = dict[str, Any]
Change = Callable[[Object], Object]


def fill(obj: Object, defaults: Mapping[str, Any]) -> Object:
    """With these fields where they were absent."""
    missing = {key: value for key, value in defaults.items() if obj.get(key) is None}
    return {**obj, **missing} if missing else obj


def edit(obj: Object, key: str, change: Change) -> Object:
    """With one child object changed, where there is one."""
    child = obj.get(key)
    if not isinstance(child, dict):
        return obj
    changed = change(child)
    return obj if changed is child else {**obj, key: changed}


def ensure(obj: Object, key: str, change: Change) -> Object:
    """With one child object changed, made empty first where there was none."""
    return edit(obj if isinstance(obj.get(key), dict) else {**obj, key: {}}, key, change)


def edit_at(obj: Object, path: tuple[str, ...], change: Change) -> Object:
    """`edit` deeper down; nothing happens where the path ends early."""
    key, *rest = path
    if not rest:
        return edit(obj, key, change)
    return edit(obj, key, lambda child: edit_at(child, tuple(rest), change))


def each(obj: Object, key: str, change: Change) -> Object:
    """With every object of one list changed."""
    items = obj.get(key)
    if not isinstance(items, list) or not items:
        return obj
    changed = [change(item) if isinstance(item, dict) else item for item in items]
    return obj if all(new is old for new, old in zip(changed, items)) else {**obj, key: changed}


def chain(*changes: Change) -> Change:
    """One after the other."""

    def change(obj: Object) -> Object:
        for step in changes:
            obj = step(obj)
        return obj

    return change
