"""Answers in Kubernetes' protobuf, encoded from the dicts that are their JSON: what decode.py reads, the other way.

Fields that the table lacks are left out; a field that is null is absent. Inline messages take their fields out of their
owner's JSON.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from controlplane.objects.protobuf.table import (
    BYTES,
    MAGIC,
    META,
    RUNTIME,
    VARINT,
    Field,
    ProtobufError,
    message,
    message_of,
)

Object = Mapping[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_DURATION: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(h|ms|m|s|us|µs|ns)")


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # negative numbers take ten bytes, as everywhere in protobuf
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _block(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(body)) + body


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | VARINT) + _varint(value)


def _time(value: str) -> bytes:
    passed = datetime.fromisoformat(value.replace("Z", "+00:00")) - _EPOCH
    seconds, rest = divmod(passed, timedelta(seconds=1))
    return _number(1, seconds) + (_number(2, rest.microseconds * 1000) if rest else b"")


def _quantity(value: Any) -> bytes:
    return _block(1, str(value).encode())


def _int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return _number(1, 1) + _block(3, value.encode())
    return _number(1, 0) + _number(2, int(value))


def _raw(value: Any) -> bytes:
    return _block(1, json.dumps(value, separators=(",", ":")).encode())


def _duration(value: str) -> bytes:
    """Go's text of a duration ("1h2m3.5s") as nanoseconds."""
    total = 0
    for whole, fraction, unit in _DURATION.findall(value):
        total += int(whole or 0) * _UNITS[unit]
        total += int(fraction or 0) * _UNITS[unit] // 10 ** len(fraction)
    return _number(1, -total if value.startswith("-") else total)


def _items(values: Iterable[str]) -> bytes:
    return b"".join(_block(1, value.encode()) for value in values)


_SPECIAL: Final[dict[str, Callable[[Any], bytes]]] = {
    META + "Time": _time,
    META + "MicroTime": _time,
    META + "Duration": _duration,
    META + "FieldsV1": _raw,
    META + "Verbs": _items,
    RUNTIME + "RawExtension": _raw,
    "k8s.io.apimachinery.pkg.api.resource.Quantity": _quantity,
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "k8s.io.api.authentication.v1.ExtraValue": _items,
    "k8s.io.api.authorization.v1.ExtraValue": _items,
    "k8s.io.api.certificates.v1.ExtraValue": _items,
}


def _value(number: int, kind: str, value: Any) -> bytes:
    """One field with its number."""
    if kind in ("int32", "int64", "bool"):
        return _number(number, int(value))
    if kind == "string":
        return _block(number, str(value).encode())
    if kind == "bytes":
        return _block(number, base64.b64decode(value))
    special = _SPECIAL.get(kind)
    return _block(number, special(value) if special else _message(kind, value))


def _field(number: int, field: Field, value: Any) -> bytes:
    if field.is_map:
        entries = (_block(1, key.encode()) + _value(2, field.kind, part) for key, part in value.items())
        return b"".join(_block(number, entry) for entry in entries)
    if field.repeated:
        return b"".join(_value(number, field.kind, part) for part in value)
    return _value(number, field.kind, value)


def _message(name: str, value: Object) -> bytes:
    parts = []
    for number, field in message(name).items():
        if field.inline:
            inner = _message(field.kind, value)
            if inner:
                parts.append(_block(number, inner))
        elif (found := value.get(field.name)) is not None:
            parts.append(_field(number, field, found))
    return b"".join(parts)


def encode(obj: Object) -> bytes:
    """The object (with its apiVersion and kind) as a body. Raises ProtobufError for a kind without such a form, and for
    values that do not fit their fields."""
    api_version, kind = str(obj.get("apiVersion") or "v1"), str(obj.get("kind") or "")
    group, _, version = api_version.rpartition("/")
    name = message_of(group, version, kind)
    try:
        raw = _message(name, obj)
    except (TypeError, ValueError, AttributeError) as error:
        raise ProtobufError(f"{kind} does not fit its protobuf form: {error}") from error
    mark = _block(1, api_version.encode()) + _block(2, kind.encode())
    return MAGIC + _block(1, mark) + _block(2, raw) + _block(3, b"") + _block(4, b"")


def watch_frame(event: Object) -> bytes:
    """One event ({"type", "object"}) as a frame of a watch. Raises ProtobufError as `encode` does."""
    raw = _block(1, encode(event["object"]))
    body = _block(1, str(event["type"]).encode()) + _block(2, raw)
    return len(body).to_bytes(4, "big") + body
