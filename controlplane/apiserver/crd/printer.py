"""additionalPrinterColumns: columns by JSONPath, as `kubectl get` shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import Column, Printer, human_duration
from controlplane.objects.meta import name_of, parse_time
from controlplane.objects.structural.jsonpath import PathError, compile_path

Object = dict[str, Any]
_AGE: Final = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, separators=(",", ":"))


def _number(value: Any, kind: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return kind(value)
    except ValueError:
        return None


def _date(value: Any, now: datetime) -> str:
    try:
        moment = parse_time(value)
    except (ValueError, TypeError):
        return "<invalid>"
    return human_duration((now - moment).total_seconds())


def _cell(kind: str, found: list[Any], now: datetime) -> Any:
    """The cell of what stands at a path; None (shown empty) when nothing does or it has another type."""
    if not found or found[0] is None:
        return None
    value = found[0]
    match kind:
        case "string":
            return " ".join(_text(each) for each in found) if len(found) > 1 else _text(value)
        case "integer":
            return _number(value, int)
        case "number":
            return _number(value, float)
        case "boolean":
            return value if isinstance(value, bool) else None
        case _:
            return _date(value, now)


def _finder(path: str) -> Callable[[Any], list[Any]]:
    try:
        return compile_path(path)
    except PathError:
        return lambda value: []


def printer_for(columns: list[Object]) -> Printer:
    """The printer of some additionalPrinterColumns; Age alone when there are none."""
    columns = columns or [_AGE]
    finders = [(each.get("type", "string"), _finder(each.get("jsonPath", ""))) for each in columns]

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [_cell(kind, find(obj), now) for kind, find in finders]

    shown = tuple(Column(each["name"], each.get("type", "string"), int(each.get("priority") or 0)) for each in columns)
    return Printer(shown, cells, title=name_of)
