"""One compiled node of a structural schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controlplane.objects.structural.patterns import Pattern, compile_pattern

Raw = Mapping[str, Any]

_ABSENT: Final = object()


class Node:
    """What one value may be.  `properties`, `items` and `values` (additionalProperties) are nodes; `is_open` says that any
    further key is allowed as it is; `default` is meaningful when `has_default`."""

    __slots__ = (
        "all_of", "any_of", "default", "embedded", "enum", "exclusive_maximum", "exclusive_minimum", "format",
        "has_default", "int_or_string", "is_open", "items", "list_type", "map_keys", "map_type", "max_items", "max_length",
        "max_properties", "maximum", "min_items", "min_length", "min_properties", "minimum", "multiple_of", "not_",
        "nullable", "one_of", "pattern", "pattern_text", "preserve", "properties", "raw", "required", "rules", "type",
        "unique_items", "values",
    )  # fmt: skip

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.type: str = raw.get("type") or ""
        self.nullable = bool(raw.get("nullable"))
        self.preserve = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
        self.default: Any = raw.get("default")
        self.has_default = raw.get("default", _ABSENT) is not _ABSENT
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.map_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        self.rules: tuple[Mapping[str, Any], ...] = tuple(raw.get("x-kubernetes-validations") or ())
        self._compile_children(raw)
        self._compile_checks(raw)

    @classmethod
    def compile(cls, raw: Raw) -> Node:
        """The node of an openAPIV3Schema."""
        return cls(raw)

    def _compile_children(self, raw: Raw) -> None:
        self.properties = {name: Node(part) for name, part in (raw.get("properties") or {}).items()}
        items = raw.get("items")
        self.items: Node | None = Node(items) if isinstance(items, dict) else None
        more = raw.get("additionalProperties")
        self.values: Node | None = Node(more) if isinstance(more, dict) else None
        self.is_open = more is True
        self.all_of = tuple(Node(part) for part in raw.get("allOf") or ())
        self.any_of = tuple(Node(part) for part in raw.get("anyOf") or ())
        self.one_of = tuple(Node(part) for part in raw.get("oneOf") or ())
        self.not_: Node | None = Node(raw["not"]) if isinstance(raw.get("not"), dict) else None

    def _compile_checks(self, raw: Raw) -> None:
        self.required: tuple[str, ...] = tuple(raw.get("required") or ())
        self.enum: list[Any] | None = raw.get("enum")
        self.format: str = raw.get("format") or ""
        self.pattern_text: str = raw.get("pattern") or ""
        self.pattern: Pattern | None = compile_pattern(self.pattern_text) if self.pattern_text else None
        self.minimum = raw.get("minimum")
        self.maximum = raw.get("maximum")
        self.exclusive_minimum = bool(raw.get("exclusiveMinimum"))
        self.exclusive_maximum = bool(raw.get("exclusiveMaximum"))
        self.multiple_of = raw.get("multipleOf")
        self.min_length = raw.get("minLength")
        self.max_length = raw.get("maxLength")
        self.min_items = raw.get("minItems")
        self.max_items = raw.get("maxItems")
        self.min_properties = raw.get("minProperties")
        self.max_properties = raw.get("maxProperties")
        self.unique_items = bool(raw.get("uniqueItems"))

    def child(self, name: str) -> Node | None:
        """The node of a key; None for a key that the schema does not describe."""
        return self.properties.get(name) or self.values

    def has_defaults(self) -> bool:
        """Whether a default stands anywhere below."""
        parts = [*self.properties.values(), *(part for part in (self.items, self.values) if part)]
        return self.has_default or any(part.has_defaults() for part in parts)

    def has_rules(self) -> bool:
        """Whether a CEL rule stands anywhere below."""
        parts = [*self.properties.values(), *(part for part in (self.items, self.values) if part)]
        return bool(self.rules) or any(part.has_rules() for part in parts)
