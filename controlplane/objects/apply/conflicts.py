"""Conflicts of an apply: fields that it would change and that others own, in upstream's words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.objects.apply import elements, sets
from controlplane.objects.apply.managers import Manager
from controlplane.objects.apply.sets import FieldSet, Path


@dataclass(frozen=True, slots=True)
class Conflict:
    """One field that another manager owns."""

    manager: Manager
    path: Path

    @property
    def field(self) -> str:
        return elements.shown_path(self.path)

    @property
    def cause(self) -> dict[str, str]:
        """As a Status lists it."""
        message = f"conflict with {self.manager.shown}"
        return {"reason": "FieldManagerConflict", "message": message, "field": self.field}


def message(conflicts: Iterable[Conflict]) -> str:
    """All conflicts in one text."""
    found = list(conflicts)
    if len(found) == 1:
        return f"Apply failed with 1 conflict: conflict with {found[0].manager.shown}: {found[0].field}"
    by_manager: dict[Manager, list[str]] = {}
    for conflict in found:
        by_manager.setdefault(conflict.manager, []).append(conflict.field)
    lines = []
    for manager in sorted(by_manager, key=_rank):
        lines.append(f"conflicts with {manager.shown}:")
        lines.extend(f"- {field}" for field in by_manager[manager])
    return f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)


def _rank(manager: Manager) -> tuple[str, ...]:
    return (manager.name, manager.operation, manager.api_version, manager.subresource)


class ConflictError(Exception):
    """The apply would take fields of others; `sets` has them by manager."""

    def __init__(self, fields: dict[Manager, FieldSet]) -> None:
        self.fields = {manager: fields[manager] for manager in sorted(fields, key=_rank)}
        self.conflicts = tuple(
            Conflict(manager, path) for manager, found in self.fields.items() for path in sets.paths(found)
        )
        super().__init__(message(self.conflicts))

    def less(self, allowed: FieldSet) -> ConflictError | None:
        """The conflicts that are not allowed; None when all are."""
        left = {manager: sets.difference(found, allowed) for manager, found in self.fields.items()}
        left = {manager: found for manager, found in left.items() if found}
        return ConflictError(left) if left else None
