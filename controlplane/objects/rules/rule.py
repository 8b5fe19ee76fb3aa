"""What a rule is, and the small checks that many rules share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.objects import quantity
from controlplane.objects.meta import get_in
from controlplane.objects.status import FieldError

Object = dict[str, Any]
Errors = list[FieldError]

IMMUTABLE = "field is immutable"


@dataclass(frozen=True, slots=True)
class Rules:
    """`check(obj)` holds at every write; `create(obj)` only at the first; `update(new, old)` says what may not change. A
    subresource that changes the spec has an update rule of its own."""

    check: Callable[[Object], Errors]
    update: Callable[[Object, Object], Errors] | None = None
    subresources: Mapping[str, Callable[[Object, Object], Errors]] = field(default_factory=dict)
    create: Callable[[Object], Errors] | None = None


def no_rules(obj: Object) -> Errors:
    """For kinds that only have update rules."""
    return []


def each(obj: Mapping[str, Any], key: str, path: str) -> Iterable[tuple[str, Any]]:
    """(path, item) of a list field; `path` is the owner's."""
    for position, item in enumerate(obj.get(key) or ()):
        yield f"{join(path, key)}[{position}]", item


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def keep(new: Object, old: Object, *paths: Sequence[str]) -> Errors:
    """The fields at these paths must not change."""
    found = []
    for path in paths:
        value = get_in(new, *path)
        if value != get_in(old, *path):
            found.append(FieldError.invalid(".".join(path), value, IMMUTABLE))
    return found


def at_least(value: Any, least: int, path: str) -> Errors:
    """An integer that is absent or not below `least`."""
    if value is None or value >= least:
        return []
    words = "must be greater than or equal to 0" if least == 0 else f"must be greater than or equal to {least}"
    return [FieldError.invalid(path, value, words)]


def positive(value: Any, path: str) -> Errors:
    if value is None or value > 0:
        return []
    return [FieldError.invalid(path, value, "must be greater than 0")]


def port_number(value: Any, path: str) -> Errors:
    if isinstance(value, int) and 1 <= value <= 65535:
        return []
    return [FieldError.invalid(path, value, "must be between 1 and 65535, inclusive")]


def unique(values: Iterable[tuple[str, Any]]) -> Errors:
    """(path, value) pairs whose values must differ; None is no value."""
    seen: set[Any] = set()
    found = []
    for path, value in values:
        if value is None:
            continue
        if value in seen:
            found.append(FieldError.duplicate(path, value))
        seen.add(value)
    return found


def amount(value: Any, path: str) -> Errors:
    """A quantity that is not negative."""
    try:
        parsed = quantity.parse(value)
    except quantity.QuantityError as error:
        return [FieldError.invalid(path, value, str(error))]
    if parsed.nanos < 0:
        return [FieldError.invalid(path, value, "must be greater than or equal to 0")]
    return []


def int_or_percent(value: Any, path: str) -> Errors:
    """An integer of at least 0, or a percentage as text."""
    if value is None:
        return []
    if isinstance(value, int):
        return at_least(value, 0, path)
    if isinstance(value, str) and value[:-1].isdigit() and value.endswith("%"):
        return []
    words = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
    return [FieldError.invalid(path, value, words + "regex used for validation is '[0-9]+%')")]
