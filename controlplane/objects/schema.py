"""The structural schema of a kind: which fields there are, of which type, and how lists merge.

A `Schema` is one node; its fields, items and values are resolved when somebody asks (schemas refer to each other, some to
themselves). `Definitions` holds them by name. Strategic merge, validation, pruning and OpenAPI read the same nodes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

NodeType = Literal[
    "object",  # named fields: `fields`
    "map",  # any keys: `values`
    "array",  # `items`
    "string", "bytes", "integer", "number", "boolean",
    "quantity", "int-or-string", "time", "micro-time",
    "any",  # kept as it is, whatever it is
]  # fmt: skip
Raw = Mapping[str, Any]


def _node_type(raw: Raw) -> NodeType:
    special: NodeType | None = raw.get("x-pilothouse-type")
    if special is not None:
        return special
    kind = raw.get("type")
    if kind == "object" or "properties" in raw:
        return "map" if "additionalProperties" in raw else "object"
    if kind == "string":
        return "bytes" if raw.get("format") == "byte" else "string"
    if kind in ("array", "integer", "number", "boolean"):
        found: NodeType = kind
        return found
    return "any"


class Schema:
    """One node. Attributes: `type`; `name` of the definition it came from ("" inside one); `format` (int32, int64, double);
    `required`; list_type ("atomic", "set", "map" or ""), list_map_keys; map_type; merge_key, patch_strategies; `default`;
    `preserves_unknown`: whether fields that it does not name are kept."""

    __slots__ = (
        "_definitions", "_fields", "_items", "_raw", "_values", "default", "format", "list_map_keys", "list_type",
        "map_type", "merge_key", "name", "patch_strategies", "preserves_unknown", "required", "type",
    )  # fmt: skip

    def __init__(self, definitions: "Definitions", raw: Raw, name: str = "") -> None:
        self._definitions = definitions
        self._raw = raw
        self._fields: dict[str, Schema] | None = None
        self._items: Schema | None = None
        self._values: Schema | None = None
        self.name = name
        self.type: NodeType = _node_type(raw)
        self.format: str = raw.get("format", "")
        self.required: frozenset[str] = frozenset(raw.get("required") or ())
        self.list_type: str = raw.get("x-kubernetes-list-type", "")
        self.list_map_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type", "")
        self.merge_key: str = raw.get("x-kubernetes-patch-merge-key", "")
        strategies: str = raw.get("x-kubernetes-patch-strategy", "")
        self.patch_strategies: frozenset[str] = frozenset(strategies.split(",")) if strategies else frozenset()
        self.default: Any = raw.get("default")
        self.preserves_unknown: bool = raw.get("x-kubernetes-preserve-unknown-fields") is True

    @property
    def fields(self) -> dict[str, "Schema"]:
        """The named fields of an object; empty for anything else."""
        if self._fields is None:
            resolve = self._definitions.resolve
            self._fields = {name: resolve(part) for name, part in (self._raw.get("properties") or {}).items()}
        return self._fields

    @property
    def items(self) -> "Schema":
        """What an array holds."""
        if self._items is None:
            self._items = self._definitions.resolve(self._raw.get("items") or {})
        return self._items

    @property
    def values(self) -> "Schema":
        """What a map holds."""
        if self._values is None:
            self._values = self._definitions.resolve(self._raw.get("additionalProperties") or {})
        return self._values

    @property
    def short_name(self) -> str:
        """As Go names it: "DeploymentSpec"."""
        return self.name.rpartition(".")[2]

    @property
    def go_type(self) -> str:
        """The Go type, as decoding errors name it: "v1.PodSpec", "[]string", "int32"."""
        match self.type:
            case "array":
                return f"[]{self.items.go_type}"
            case "map":
                return f"map[string]{self.values.go_type}"
            case "integer":
                return self.format or "int64"
            case "number":
                return "float64"
            case "boolean":
                return "bool"
            case "bytes":
                return "[]uint8"
            case "object" if self.name:
                return ".".join(self.name.split(".")[-2:])
            case _:
                return "string"

    # --- what strategic merge asks (controlplane.objects.patch.MergeSchema) ---
    def child(self, name: str) -> "Schema | None":
        if self.type == "map":
            return self.values
        return self.fields.get(name)

    def item(self) -> "Schema | None":
        return self.items if self.type == "array" else None

    def at(self, *path: str) -> "Schema":
        """The node at a path of field names; lists are entered. Raises KeyError."""
        node = self
        for name in path:
            while node.type == "array":
                node = node.items
            child = node.child(name)
            if child is None:
                raise KeyError(name)
            node = child
        return node

    def __repr__(self) -> str:
        return f"Schema({self.name or self.type})"


class Definitions:
    """Schemas by the name of their definition ("io.k8s.api.core.v1.Pod"); each is made once."""

    def __init__(self, raw: Mapping[str, Raw], base: "Definitions | None" = None) -> None:
        self.raw = raw
        self._base = base
        self._made: dict[str, Schema] = {}

    def extended(self, more: Mapping[str, Raw]) -> "Definitions":
        """These and some more; the nodes of these stay the same values."""
        return Definitions({**self.raw, **more}, self)

    def __contains__(self, name: str) -> bool:
        return name in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def get(self, name: str) -> Schema:
        """Raises KeyError for a definition that there is not."""
        if self._base is not None and name in self._base:
            return self._base.get(name)
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = Schema(self, self.raw[name], name)
        return made

    def resolve(self, raw: Raw) -> Schema:
        """The node that a part of a definition describes; marks beside a reference win over those of its target."""
        reference = raw.get("$ref")
        if not isinstance(reference, str):
            return Schema(self, raw)
        if len(raw) == 1:
            return self.get(reference)
        return Schema(self, {**self.raw[reference], **raw, "$ref": None}, reference)
