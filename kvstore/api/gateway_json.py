"""Requests as JSON: protobuf's own mapping, but strict where it is lenient: base64 that is none, names that are no enum's.

Unknown fields are passed over, because etcd's gateway passes over them; protobuf's parser does the same to a value that it
does not understand then, and a misspelt `sort_order` must not become none.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

__all__ = ["RequestStream", "parse_requests", "to_json"]

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SPACE = re.compile(r"\s*")
_BRACKET = re.compile(r"[\[\]{}]")
MAX_DEPTH = 32  # of messages in messages, such as transactions in transactions
MAX_JSON_DEPTH = 4 * MAX_DEPTH
MAX_REST = 4 << 20  # characters of a request whose end has not come
MAX_PIECES = 64  # of it


def parse_requests(request: type[Message], body: bytes, *, many: bool) -> list[bytes]:
    """Return the encoded requests of a body: the first JSON object, or all of `many`; none is an empty request.

    Raises ValueError (json_format.ParseError is none): what is wrong, in words.
    """
    messages = []
    for found, _ in _documents(body.decode()):
        messages.append(_encode(request, found))
        if not many:
            break
    return messages or [b""]


class RequestStream:
    """Requests that come in pieces, which need not end where a request ends; white space stands between pieces."""

    def __init__(self, request: type[Message]) -> None:
        self._request = request
        self._rest = ""
        self._pieces = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the encoded requests that are whole now. Raises ValueError like `parse_requests`; the stream is over then."""
        self._rest += piece.decode() + "\n"
        self._pieces += 1
        if len(self._rest) > MAX_REST or self._pieces > MAX_PIECES:
            raise ValueError("the request has too many pieces")
        found, end = [], 0
        try:
            for document, position in _documents(self._rest):
                found.append(_encode(self._request, document))
                end, self._pieces = position, 0
        except json.JSONDecodeError as error:
            if error.pos < len(error.doc.rstrip()):  # it did not merely end too soon
                raise
        self._rest = self._rest[end:].lstrip()
        return found


def to_json(message: Message) -> dict[str, Any]:
    """Return a message as etcd's gateway writes it."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _encode(request: type[Message], found: dict[str, Any]) -> bytes:
    _check(cast(Descriptor, request.DESCRIPTOR), found, MAX_DEPTH)
    try:
        return json_format.ParseDict(found, request(), ignore_unknown_fields=True).SerializeToString()
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error


def _documents(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each object with the position of its end."""
    if _depth(text) > MAX_JSON_DEPTH:  # before the parser finds out by an exhausted stack
        raise ValueError("the JSON is nested too deep")
    decoder, position = json.JSONDecoder(), 0
    while True:
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if position == len(text):
            return
        found, position = decoder.raw_decode(text, position)
        if not isinstance(found, dict | None):
            raise ValueError("a JSON object is needed")
        yield found or {}, position


def _depth(text: str) -> int:
    if text.count("{") + text.count("[") <= MAX_JSON_DEPTH:  # nearly every request
        return 0
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _check(descriptor: Descriptor, found: object, depth: int) -> None:
    if not depth:
        raise ValueError("the JSON is nested too deep")
    if not isinstance(found, dict):
        return  # protobuf's parser says what it should have been
    for name, value in found.items():
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is not None:
            for one in value if isinstance(value, list) else [value]:
                _check_value(field, one, depth)


def _check_value(field: FieldDescriptor, value: object, depth: int) -> None:
    if field.type == FieldDescriptor.TYPE_BYTES:
        if value is not None and not (isinstance(value, str) and _is_base64(value)):
            raise ValueError(f"{field.name}: illegal base64 data: {json.dumps(value)[:80]}")
    elif field.enum_type is not None:
        if isinstance(value, str) and not value.lstrip("-").isdigit() and value not in field.enum_type.values_by_name:
            raise ValueError(f"unknown value {json.dumps(value)[:80]} for enum {field.enum_type.full_name}")
    elif field.message_type is not None:
        _check(field.message_type, value, depth - 1)


def _is_base64(text: str) -> bool:
    """Tell whether it is base64, of either alphabet, padded or not."""
    bare = text.rstrip("=")
    return _BASE64.fullmatch(text) is not None and len(bare) % 4 != 1 and (len(bare) == len(text) or len(text) % 4 == 0)
