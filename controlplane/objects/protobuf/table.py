"""The table of field numbers (section "wire" of the package data), read when the first body in protobuf comes or goes."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from controlplane.objects import data
from controlplane.objects.scheme import Scheme

MAGIC: Final = b"k8s\x00"
META: Final = "k8s.io.apimachinery.pkg.apis.meta.v1."
RUNTIME: Final = "k8s.io.apimachinery.pkg.runtime."
SCALARS: Final = frozenset({"string", "bytes", "bool", "int32", "int64", "double"})
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class ProtobufError(ValueError):
    """The bytes are not what they should be."""


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the table: `inline` fields stand in their owner's JSON; a map has the type of its values in `kind`."""

    name: str
    kind: str
    repeated: bool
    is_map: bool

    @property
    def inline(self) -> bool:
        return self.name == "."


@cache
def table() -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = data.section("wire")
    return found


@cache
def message(name: str) -> dict[int, Field]:
    """The fields of one message by number; empty for a message that the table lacks."""
    fields = {}
    for number, (field, kind, repeated) in table().get(name, {}).items():
        is_map = kind.startswith("map<")
        if is_map:
            kind = kind[4:-1].partition(",")[2]
        fields[int(number)] = Field(field, kind, bool(repeated) or is_map, is_map)
    return fields


def message_of(group: str, version: str, kind: str) -> str:
    """The message of a kind ("k8s.io.api.apps.v1.Deployment"). Raises ProtobufError for one that is not known."""
    try:
        definition = Scheme.load().definition(group, version, kind)
    except KeyError:
        if group in ("", "meta.k8s.io") and META + kind in table():  # PartialObjectMetadata, APIGroupList
            return META + kind
        raise ProtobufError(f"no kind {kind!r} is registered for {group or 'the core group'} {version}") from None
    name = "k8s.io." + definition.removeprefix("io.k8s.")
    if name not in table():
        raise ProtobufError(f"objects of kind {kind!r} have no protobuf form here")
    return name
