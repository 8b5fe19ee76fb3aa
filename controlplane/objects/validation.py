"""Structural validation: what Kubernetes' decoder does to a body before anybody looks at its meaning.

decoded = decode(schema, body)            DecodeError in the decoder's words: `json: cannot unmarshal string into Go
                                          struct field DeploymentSpec.spec.replicas of type int32`
decoded.object                            pruned (unknown fields, nulls, empty optional lists), quantities and times
                                          in canonical form; the body itself where nothing changed
decoded.unknown                           paths of unknown fields: "spec.template.spec.containers[0].foo"
decode_object(resource, schema, body, mode="Strict", twice=())   -> (object, warnings); ApiError 400
duplicate_fields(body bytes)              -> paths of keys that a JSON text says twice
"""

import binascii
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from controlplane.objects import quantity
from controlplane.objects.kinds import Resource
from controlplane.objects.meta import format_micro_time, format_time, parse_time
from controlplane.objects.schema import Schema
from controlplane.objects.status import bad_request

Object = dict[str, Any]
FieldValidation = Literal["Strict", "Warn", "Ignore"]

# (parent, step): a step is a field's name, a position in a list, or (key,) in a map
Path = tuple[Any, Any] | None

_WORDS: Final = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_RANGES: Final = {"int32": 2**31, "int64": 2**63}
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class DecodeError(ValueError):
    """The body has a value of a type that its field cannot hold."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body as the server goes on with it."""

    object: Any
    unknown: tuple[str, ...]


def _steps(path: Path) -> list[Any]:
    steps = []
    while path is not None:
        path, step = path
        steps.append(step)
    return steps[::-1]


def _shown_path(path: Path) -> str:
    """ "spec.containers[0].image", as field errors write it."""
    text = ""
    for step in _steps(path):
        if isinstance(step, int):
            text += f"[{step}]"
        elif isinstance(step, tuple):
            text += f".{step[0]}" if text else str(step[0])
        else:
            text += f".{step}" if text else step
    return text


def _mismatch(schema: Schema, value: Any, path: Path, owner: str) -> DecodeError:
    word = _WORDS[type(value)]
    if word == "number" and schema.type == "integer":
        word = f"number {json.dumps(value)}"
    stack = ".".join(step for step in _steps(path) if isinstance(step, str))
    if not stack:
        return DecodeError(f"json: cannot unmarshal {word} into Go value of type {schema.go_type}")
    return DecodeError(f"json: cannot unmarshal {word} into Go struct field {owner}.{stack} of type {schema.go_type}")


class _Decoding:
    """One walk over a body. `owner` is the Go struct that holds the value, for the words of errors."""

    __slots__ = ("unknown",)

    def __init__(self) -> None:
        self.unknown: list[Path] = []

    def object(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        if type(value) is not dict:
            raise _mismatch(schema, value, path, owner)
        fields = schema.fields
        owner = schema.short_name or owner
        changed = False
        result = {}
        for key, part in value.items():
            field = fields.get(key)
            if field is None:
                self.unknown.append((path, key))
                changed = True
            elif part is None:
                changed = True
            else:
                decoded = _DECODERS[field.type](self, field, part, (path, key), owner)
                if decoded is not part:
                    changed = True
                if not decoded and field.type in _OMITTED_EMPTY and key not in schema.required:
                    changed = True
                    continue
                result[key] = decoded
        return result if changed else value

    def map(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        if type(value) is not dict:
            raise _mismatch(schema, value, path, owner)
        values = schema.values
        decoder = _DECODERS[values.type]
        changed = False
        result = {}
        for key, part in value.items():
            if part is None:
                result[key] = _zero(values)
            else:
                result[key] = decoder(self, values, part, (path, (key,)), owner)
            changed = changed or result[key] is not part
        return result if changed else value

    def array(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        if type(value) is not list:
            raise _mismatch(schema, value, path, owner)
        items = schema.items
        decoder = _DECODERS[items.type]
        changed = False
        result = []
        for position, part in enumerate(value):
            decoded = _zero(items) if part is None else decoder(self, items, part, (path, position), owner)
            changed = changed or decoded is not part
            result.append(decoded)
        return result if changed else value

    def string(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        if type(value) is not str:
            raise _mismatch(schema, value, path, owner)
        return value

    def bytes(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        if type(value) is not str:
            raise _mismatch(schema, value, path, owner)
        try:
            binascii.a2b_base64(value, strict_mode=bool(value))
        except (binascii.Error, ValueError):
            good = _BASE64.match(value)
            at = good.end() if good and good.end() < len(value) else len(value)
            raise DecodeError(f"illegal base64 data at input byte {at}") from None
        return value

    def boolean(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        if type(value) is not bool:
            raise _mismatch(schema, value, path, owner)
        return value

    def integer(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        limit = _RANGES.get(schema.format, 2**63)
        if type(value) is not int or not -limit <= value < limit:
            raise _mismatch(schema, value, path, owner)
        return value

    def number(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        if type(value) not in (int, float):
            raise _mismatch(schema, value, path, owner)
        return value

    def quantity(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        try:
            text = quantity.canonical(value)
        except quantity.QuantityError as error:
            raise DecodeError(str(error)) from None
        return value if text == value else text

    def int_or_string(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
            return value
        word = f"number {json.dumps(value)}" if type(value) in (int, float) else _WORDS[type(value)]
        raise DecodeError(f"json: cannot unmarshal {word} into Go value of type int32")

    def time(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        return _time(value, schema, path, owner, micro=False)

    def micro_time(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        return _time(value, schema, path, owner, micro=True)

    def any(self, schema: Schema, value: Any, path: Path, owner: str) -> Any:
        return value


@lru_cache(maxsize=4096)
def _canonical_time(value: str, micro: bool) -> str:
    """Remembered, because an object is written many times with the same times in it. Raises ValueError."""
    moment = parse_time(value)
    return format_micro_time(moment) if micro else format_time(moment)


def _time(value: Any, schema: Schema, path: Path, owner: str, *, micro: bool) -> Any:
    if type(value) is not str:
        raise _mismatch(schema, value, path, owner)
    try:
        text = _canonical_time(value, micro)
    except ValueError:
        layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
        raise DecodeError(f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"') from None
    return value if text == value else text


def _zero(schema: Schema) -> Any:
    """What a null in a list or map becomes: the zero value of its type."""
    match schema.type:
        case "object" | "map":
            return {}
        case "array":
            return []
        case "integer" | "number" | "int-or-string":
            return 0
        case "boolean":
            return False
        case "quantity":
            return "0"
        case "any" | "time" | "micro-time":
            return None
        case _:
            return ""


_OMITTED_EMPTY: Final = frozenset({"array", "map"})
_Decoder = Callable[[_Decoding, Schema, Any, Path, str], Any]
_DECODERS: Final[dict[str, _Decoder]] = {
    "object": _Decoding.object,
    "map": _Decoding.map,
    "array": _Decoding.array,
    "string": _Decoding.string,
    "bytes": _Decoding.bytes,
    "integer": _Decoding.integer,
    "number": _Decoding.number,
    "boolean": _Decoding.boolean,
    "quantity": _Decoding.quantity,
    "int-or-string": _Decoding.int_or_string,
    "time": _Decoding.time,
    "micro-time": _Decoding.micro_time,
    "any": _Decoding.any,
}


def decode(schema: Schema, body: Any) -> Decoded:
    """Check types, prune and bring into canonical form. Raises DecodeError."""
    walk = _Decoding()
    result = _DECODERS[schema.type](walk, schema, body, None, schema.short_name)
    return Decoded(result, tuple(_shown_path(path) for path in walk.unknown))


def decode_object(
    resource: Resource,
    schema: Schema,
    body: Any,
    mode: FieldValidation = "Strict",
    twice: Iterable[str] = (),
) -> tuple[Object, list[str]]:
    """(the object, texts for `Warning:` headers). Raises ApiError 400, in Strict mode also for what is unknown or said
    twice; Ignore says nothing. `twice` are complaints about the text that the body came in."""
    head = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    try:
        decoded = decode(schema, body)
    except DecodeError as error:
        raise bad_request(head + str(error)) from None
    complaints = list(twice)
    complaints += [f'unknown field "{path}"' for path in decoded.unknown]
    if complaints and mode == "Strict":
        raise bad_request(f"{head}strict decoding error: {', '.join(complaints)}")
    return decoded.object, complaints if mode == "Warn" else []


class _Pairs(dict[str, Any]):
    """A JSON object that remembers which keys its text said twice."""

    __slots__ = ("twice",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: list[str] = []
        if len(self) < len(pairs):
            seen: set[str] = set()
            self.twice = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]


_decode_pairs: Final = json.JSONDecoder(object_pairs_hook=_Pairs).decode  # made once: a third of a small decoding


def duplicate_fields(body: bytes) -> list[str]:
    """Paths of keys that stand twice in one object of a JSON text (which must be valid JSON)."""
    found: list[str] = []

    def walk(value: Any, path: Path) -> None:
        if isinstance(value, _Pairs):
            found.extend(_shown_path((path, key)) for key in value.twice)
            for key, part in value.items():
                walk(part, (path, key))
        elif isinstance(value, list):
            for position, part in enumerate(value):
                walk(part, (path, position))

    walk(_decode_pairs(body.decode("utf-8", "surrogatepass")), None)
    return found
