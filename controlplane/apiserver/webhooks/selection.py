"""Which webhook is asked about an operation.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.objects import selectors
from controlplane.objects.kinds import Resource

Object = dict[str, Any]


def _names(rule: Object, part: str, value: str) -> bool:
    wanted = rule.get(part) or []
    return "*" in wanted or value in wanted


def _resources(rule: Object, plural: str, subresource: str) -> bool:
    """ "pods", "pods/status", "pods/*", "*", "*/*", "*/scale"."""
    for wanted in rule.get("resources") or ():
        name, _, sub = wanted.partition("/")
        if name not in ("*", plural):
            continue
        if sub == subresource or (sub == "*" and "/" in wanted):
            return True
    return False


def _scope(rule: Object, resource: Resource) -> bool:
    scope = rule.get("scope") or "*"
    return bool(scope == "*" or (scope == "Namespaced") == resource.namespaced)


def matches(rules: Iterable[Object], operation: str, resource: Resource, subresource: str) -> bool:
    """Whether any rule names this operation on this resource."""
    return any(
        _names(rule, "operations", operation)
        and _names(rule, "apiGroups", resource.group)
        and _names(rule, "apiVersions", resource.version)
        and _resources(rule, resource.plural, subresource)
        and _scope(rule, resource)
        for rule in rules
    )


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector holds; an empty or absent one holds for everything."""
    return not selector or selectors.from_selector(selector).matches(labels)


def object_selects(selector: Object | None, *objects: Object) -> bool:
    """Whether an objectSelector holds for the object or for what it was."""
    if not selector:
        return True
    return any(
        selects(selector, (obj.get("metadata") or {}).get("labels") or {}) for obj in objects if "metadata" in obj
    )
