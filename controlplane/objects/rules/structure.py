"""What holds for every kind and comes from tables: required fields that are absent, values outside of an enumeration.

One walk over the object, along a plan made once for each schema: it visits only what can hold something to check.
"""

from collections.abc import Iterable
from typing import Any, Final

from controlplane.objects.rules import enums
from controlplane.objects.schema import Schema
from controlplane.objects.status import FieldError

# Required by the schema, yet absence is an answer: its zero is accepted, or a rule asks for it in words of its own.
_MAY_LACK: Final = frozenset(
    {
        ("LimitRangeSpec", "limits"),
        ("CSINodeSpec", "drivers"),
        ("Event", "metadata"),
        ("PolicyRulesWithSubjects", "subjects"),
        ("PolicyRule", "verbs"),
    }
)
# numbers and booleans have a zero and are never missing
_ASKED_FOR: Final = frozenset({"string", "array", "object", "int-or-string", "quantity", "bytes"})
_CONTAINERS: Final = frozenset({"object", "array", "map"})


class _Plan:
    """What to look at in an object of one schema: `required` and `enumerated` fields, and the fields to go into."""

    __slots__ = ("_inner", "_schema", "enumerated", "owner", "required")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._inner: tuple[tuple[str, Schema], ...] | None = None
        self.owner = schema.short_name
        fields = schema.fields
        self.required = tuple(
            name
            for name in sorted(schema.required)
            if fields[name].type in _ASKED_FOR and (self.owner, name) not in _MAY_LACK
        )
        self.enumerated = tuple(enums.BY_OWNER.get(self.owner, {}))

    @property
    def inner(self) -> tuple[tuple[str, Schema], ...]:
        if self._inner is None:
            found = ((name, field) for name, field in self._schema.fields.items() if field.type in _CONTAINERS)
            self._inner = tuple((name, field) for name, field in found if _holds_objects(field))
        return self._inner


_PLANS: Final[dict[Schema, _Plan]] = {}


def _holds_objects(schema: Schema) -> bool:
    while schema.type in ("array", "map"):
        schema = schema.items if schema.type == "array" else schema.values
    return schema.type == "object"


def _plan(schema: Schema) -> _Plan:
    plan = _PLANS.get(schema)
    if plan is None:
        plan = _PLANS[schema] = _Plan(schema)
    return plan


def check(schema: Schema, obj: Any) -> list[FieldError]:
    """Missing and unsupported values anywhere outside of `status`."""
    found: list[FieldError] = []
    _object(schema, obj, "", found, except_for=("status", "metadata"))
    return found


def _object(schema: Schema, value: Any, path: str, found: list[FieldError], except_for: Iterable[str] = ()) -> None:
    if not isinstance(value, dict):
        return
    plan = _plan(schema)
    prefix = f"{path}." if path else ""
    for name in plan.required:
        if value.get(name) in (None, "", []) and name not in except_for:
            found.append(FieldError.required(prefix + name))
    for name in plan.enumerated:
        if name in value:
            found += enums.unsupported(plan.owner, name, value[name], prefix + name)
    for name, field in plan.inner:
        part = value.get(name)
        if part and name not in except_for:
            _any(field, part, prefix + name, found)


def _any(schema: Schema, value: Any, path: str, found: list[FieldError]) -> None:
    if schema.type == "object":
        _object(schema, value, path, found)
    elif schema.type == "array" and isinstance(value, list):
        for position, part in enumerate(value):
            _any(schema.items, part, f"{path}[{position}]", found)
    elif schema.type == "map" and isinstance(value, dict):
        for key, part in value.items():
            _any(schema.values, part, f"{path}.{key}", found)
