"""What a printer is, and how values are written in cells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from controlplane.objects.meta import get_in, name_of, parse_time

Object = dict[str, Any]
Cells = Callable[[Object, datetime], list[Any]]

NONE: Final = "<none>"
UNSET: Final = "<unset>"
UNKNOWN: Final = "<unknown>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column after the name. Priority 0 is always shown, 1 only in wide output."""

    name: str
    type: str = "string"  # string, integer, boolean, date
    priority: int = 0


AGE: Final = Column("Age")
CREATED_AT: Final = Column("Created At", "date")


@dataclass(frozen=True, slots=True)
class Printer:
    """`cells` gives what follows the name; `name_first` is False where the cells hold the name themselves; `conditions`
    says what is remarkable about a row (a pod that has ended)."""

    columns: tuple[Column, ...]
    cells: Cells
    name_first: bool = True
    conditions: Callable[[Object], list[Object]] | None = None
    title: Callable[[Object], str] = name_of

    def definitions(self) -> list[Object]:
        shown = [_definition(column) for column in self.columns]
        if not self.name_first:
            return shown
        return [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}, *shown]

    def row(self, obj: Object, now: datetime) -> list[Any]:
        cells = self.cells(obj, now)
        return [self.title(obj), *cells] if self.name_first else cells


def _definition(column: Column) -> Object:
    form = "name" if column.name == "Name" else ""
    return {"name": column.name, "type": column.type, "format": form, "description": "", "priority": column.priority}


def wide(*names: str) -> tuple[Column, ...]:
    """Columns of wide output."""
    return tuple(Column(name, priority=1) for name in names)


def human_duration(seconds: float) -> str:
    """As kubectl writes durations: "5s", "3m20s", "25h", "3d4h", "2y10d"."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    if total < 120:
        return f"{total}s"
    minutes, hours = total // 60, total // 3600
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def since(text: str | None, now: datetime, absent: str = UNKNOWN) -> str:
    """How long ago an RFC 3339 time was."""
    if not text:
        return absent
    try:
        return human_duration((now - parse_time(text)).total_seconds())
    except ValueError:
        return absent


def age(obj: Object, now: datetime) -> str:
    """How long an object has existed."""
    return since(get_in(obj, "metadata", "creationTimestamp"), now)


def created_at(obj: Object, now: datetime) -> list[Any]:
    """The cells of a printer that shows when an object was made."""
    return [get_in(obj, "metadata", "creationTimestamp")]


def only_age(obj: Object, now: datetime) -> list[Any]:
    """The cells of a printer that shows the age alone."""
    return [age(obj, now)]


def number(obj: Object, *path: str) -> int:
    """An integer of the object, 0 when absent."""
    found: int = get_in(obj, *path, default=0)
    return found


def text(obj: Object, *path: str, absent: str = NONE) -> str:
    """A text of the object; absent and empty are the same."""
    found = get_in(obj, *path)
    return str(found) if found not in (None, "") else absent


def boolean(value: Any) -> str:
    """A pointer to a boolean."""
    return UNSET if value is None else ("True" if value else "False")


def labels(found: Mapping[str, str] | None) -> str:
    """ "a=b,c=d", sorted."""
    return ",".join(f"{key}={value}" for key, value in sorted((found or {}).items())) or NONE


_OPERATORS: Final = {"In": "in", "NotIn": "notin", "Exists": "", "DoesNotExist": "!"}


def selector(found: Mapping[str, Any] | None) -> str:
    """A LabelSelector as text."""
    if not found:
        return NONE
    parts = {key: f"{key}={value}" for key, value in (found.get("matchLabels") or {}).items()}
    for expression in found.get("matchExpressions") or ():
        key, operator = expression.get("key", ""), _OPERATORS.get(expression.get("operator", ""), "")
        values = ",".join(sorted(expression.get("values") or ()))
        parts[key + operator] = f"{key} {operator} ({values})" if values else f"{operator}{key}"
    return ",".join(parts[key] for key in sorted(parts)) or NONE


def containers(template: Mapping[str, Any]) -> list[str]:
    """Two cells of wide output: names and images of a pod spec's containers."""
    found = (template.get("spec") or {}).get("containers") or ()
    return [",".join(c.get("name", "") for c in found), ",".join(c.get("image", "") for c in found)]


def some(items: Sequence[str], most: int, *, absent: str = NONE, separator: str = ",") -> str:
    """The first items, and how many there are beyond them."""
    if not items:
        return absent
    shown = separator.join(items[:most])
    return f"{shown} + {len(items) - most} more..." if len(items) > most else shown


def joined(items: Iterable[str]) -> str:
    """Sorted and with commas."""
    return ",".join(sorted(items)) or NONE


DEFAULT: Final = Printer((AGE,), only_age)
CREATED: Final = Printer((CREATED_AT,), created_at)
