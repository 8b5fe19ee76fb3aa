"""Request bodies in Kubernetes' protobuf, decoded to the dicts that their JSON would have given.

Fields that the table lacks are skipped. Go writes the zero of every plain field, and JSON leaves it out: zeros are dropped
here too, but for fields that are pointers in Go, where zero is an answer (`replicas: 0`); their names stand below, as does
what has a JSON form of its own (Time, Quantity, IntOrString, RawExtension, FieldsV1, Duration).
"""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from controlplane.objects.meta import format_micro_time, format_time
from controlplane.objects.protobuf.table import (
    BYTES,
    FIXED32,
    FIXED64,
    MAGIC,
    META,
    RUNTIME,
    SCALARS,
    VARINT,
    ProtobufError,
    message,
    message_of,
)

Object = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_DEPTH: Final = 100  # nested messages; a hostile body must not end our stack

# Pointers in Go: their zero is said, not left out. Everything else at zero is as good as absent.
_POINTER_NAMES: Final = """
    activeDeadlineSeconds averageUtilization backoffLimit backoffLimitPerIndex completions currentCPUUtilizationPercentage
    defaultMode mode deletionGracePeriodSeconds gracePeriodSeconds expirationSeconds failedJobsHistoryLimit fsGroup
    leaseDurationSeconds leaseTransitions lendablePercent maxFailedIndexes maxReplicas minReplicas nominalConcurrencyShares
    parallelism partition priority progressDeadlineSeconds replicas revisionHistoryLimit runAsGroup runAsUser seconds
    stabilizationWindowSeconds startingDeadlineSeconds successfulJobsHistoryLimit targetCPUUtilizationPercentage
    terminationGracePeriodSeconds tolerationSeconds ttlSecondsAfterFinished value exitCode restartCount sinceSeconds tailLines
    allocateLoadBalancerNodePorts allowPrivilegeEscalation allowVolumeExpansion attachRequired automountServiceAccountToken
    blockOwnerDeletion controller enableServiceLinks hostUsers immutable manualSelector optional orphanDependents
    podInfoOnMount privileged readOnlyRootFilesystem ready requiresRepublish runAsNonRoot seLinuxMount serving
    setHostnameAsFQDN shareProcessNamespace started storageCapacity suspend terminating allowed storageClassName
"""
_POINTERS: Final = frozenset(_POINTER_NAMES.split())


def _varint(body: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body) and shift < 70:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ProtobufError("a number is cut off")


def _fields(body: memoryview) -> Iterator[tuple[int, int, Any]]:
    """(number, wire type, value) of one message: an int, or the bytes."""
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, at = _varint(body, at)
            yield number, wire_type, value
            continue
        if wire_type == BYTES:
            length, at = _varint(body, at)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            raise ProtobufError(f"wire type {wire_type} is not supported")
        if at + length > len(body):
            raise ProtobufError("a field is cut off")
        yield number, wire_type, body[at : at + length]
        at += length


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(body: memoryview) -> str:
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError:
        raise ProtobufError("a text is not UTF-8") from None


def _numbers(body: memoryview) -> dict[int, Any]:
    """The fields of a small message, the last of each number."""
    return {number: value for number, _, value in _fields(body)}


def _moment(body: memoryview) -> datetime | None:
    """A Time; an empty one is Go's zero, which JSON calls null."""
    parts = _numbers(body)
    if not parts:
        return None
    seconds, nanos = _signed(parts.get(1, 0)), _signed(parts.get(2, 0))
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise ProtobufError("a time is out of range") from None


def _time(body: memoryview) -> str | None:
    moment = _moment(body)
    return None if moment is None else format_time(moment)


def _micro_time(body: memoryview) -> str | None:
    moment = _moment(body)
    return None if moment is None else format_micro_time(moment)


def _quantity(body: memoryview) -> str | None:
    return _text(_numbers(body).get(1, memoryview(b""))) or "0"


def _int_or_string(body: memoryview) -> int | str:
    parts = _numbers(body)
    if parts.get(1, 0):
        return _text(parts.get(3, memoryview(b"")))
    return _signed(parts.get(2, 0))


def _raw(body: memoryview) -> Any:
    """RawExtension and FieldsV1: JSON inside."""
    raw = bytes(_numbers(body).get(1, b""))
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        raise ProtobufError("an embedded object is not JSON") from None


def _duration(body: memoryview) -> str:
    """As Go prints it: "1h2m3s"."""
    nanos = _signed(_numbers(body).get(1, 0))
    if not nanos:
        return "0s"
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    seconds, nanos = divmod(nanos, 10**9)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if minutes or hours else ""
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{sign}{text}{seconds}{fraction}s"


def _items(body: memoryview) -> list[str]:
    """Named lists of texts (ExtraValue, Verbs)."""
    return [_text(value) for number, _, value in _fields(body) if number == 1]


_SPECIAL: Final[dict[str, Callable[[memoryview], Any]]] = {
    META + "Time": _time,
    META + "MicroTime": _micro_time,
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


def _value(kind: str, wire_type: int, value: Any, depth: int) -> Any:
    """One value of a field; raises ProtobufError where the wire holds another type than the table says."""
    if kind in ("int32", "int64", "bool"):
        if wire_type != VARINT:
            raise ProtobufError(f"a field of type {kind} has wire type {wire_type}")
        return bool(value) if kind == "bool" else _signed(value)
    if wire_type != BYTES:
        raise ProtobufError(f"a field of type {kind} has wire type {wire_type}")
    if kind == "string":
        return _text(value)
    if kind == "bytes":
        return base64.b64encode(value).decode()
    special = _SPECIAL.get(kind)
    return special(value) if special else _decode_message(kind, value, depth + 1)


def _packed(kind: str, body: memoryview) -> Iterator[Any]:
    at = 0
    while at < len(body):
        value, at = _varint(body, at)
        yield bool(value) if kind == "bool" else _signed(value)


def _entry(kind: str, body: memoryview, depth: int) -> tuple[str, Any]:
    """One entry of a map: key 1, value 2."""
    key, value = "", None
    for number, wire_type, part in _fields(body):
        if number == 1:
            key = _text(part)
        elif number == 2:
            value = _value(kind, wire_type, part, depth)
    return key, "" if value is None and kind in ("string", "bytes") else value


def _decode_message(name: str, body: memoryview, depth: int) -> Object:
    if depth > _MOST_DEPTH:
        raise ProtobufError("messages are nested too deeply")
    fields = message(name)
    result: Object = {}
    for number, wire_type, part in _fields(body):
        field = fields.get(number)
        if field is None:
            continue
        if field.is_map:
            key, value = _entry(field.kind, part, depth)
            result.setdefault(field.name, {})[key] = value
        elif field.inline:
            result.update(_value(field.kind, wire_type, part, depth))
        elif field.repeated:
            numbers = field.kind in ("int32", "int64", "bool") and wire_type == BYTES
            values = _packed(field.kind, part) if numbers else (_value(field.kind, wire_type, part, depth),)
            result.setdefault(field.name, []).extend(values)
        else:
            value = _value(field.kind, wire_type, part, depth)
            if field.kind in SCALARS and not value and field.name not in _POINTERS:
                result.pop(field.name, None)
            elif value is not None:
                result[field.name] = value
    return result


def decode(body: bytes) -> Object:
    """The object of a request body. Raises ProtobufError, which is a ValueError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("the body does not start with the mark of Kubernetes' protobuf")
    unknown = _numbers(memoryview(body)[len(MAGIC) :])
    mark = _numbers(unknown.get(1, memoryview(b"")))
    api_version, kind = (_text(mark.get(number, memoryview(b""))) for number in (1, 2))
    raw: memoryview = unknown.get(2, memoryview(b""))
    if b"json" in bytes(unknown.get(4, b"")):
        found = json.loads(bytes(raw))
    else:
        group, _, version = api_version.rpartition("/")
        found = _decode_message(message_of(group, version, kind), raw, 0)
    return {"apiVersion": api_version, "kind": kind, **found}
