"""An OpenAPI 2 document in protobuf, as gnostic's OpenAPIv2.proto lays it out (google/gnostic, openapiv2).

Only what our documents contain is written. Vendor extensions travel as text: NamedAny{name, Any{yaml}}; JSON is YAML.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

Document = Mapping[str, Any]
Writer = Callable[[Any], bytes]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _text(number: int, value: str | None) -> bytes:
    return _bytes(number, value.encode()) if value else b""


def _texts(number: int, values: Iterable[str] | None) -> bytes:
    return b"".join(_bytes(number, value.encode()) for value in values or ())


def _flag(number: int, value: bool | None) -> bytes:
    return _varint(number << 3) + b"\x01" if value else b""


def _any(value: Any) -> bytes:
    return _text(2, json.dumps(value, separators=(",", ":"), sort_keys=True) + "\n")


def _extensions(number: int, document: Document) -> bytes:
    found = ((key, value) for key, value in document.items() if key.startswith("x-"))
    return b"".join(_bytes(number, _text(1, key) + _bytes(2, _any(value))) for key, value in found)


def _named(number: int, values: Document, write: Writer) -> bytes:
    return b"".join(_bytes(number, _text(1, name) + _bytes(2, write(value))) for name, value in values.items())


def _schema(schema: Document) -> bytes:
    """Schema."""
    out = _text(1, schema.get("$ref")) + _text(2, schema.get("format")) + _text(4, schema.get("description"))
    if "default" in schema:
        out += _bytes(5, _any(schema["default"]))
    out += _texts(19, schema.get("required"))
    out += b"".join(_bytes(20, _any(value)) for value in schema.get("enum") or ())
    if isinstance(schema.get("additionalProperties"), dict):
        out += _bytes(21, _bytes(1, _schema(schema["additionalProperties"])))
    if "type" in schema:
        out += _bytes(22, _text(1, schema["type"]))
    if "items" in schema:
        out += _bytes(23, _bytes(1, _schema(schema["items"])))
    if "properties" in schema:
        out += _bytes(25, _named(1, schema["properties"], _schema))
    return out + _extensions(31, schema)


def _body_parameter(found: Document) -> bytes:
    out = _text(1, found.get("description")) + _text(2, found["name"]) + _text(3, "body")
    return out + _flag(4, found.get("required")) + _bytes(5, _schema(found["schema"]))


def _query_parameter(found: Document) -> bytes:
    out = _text(2, "query") + _text(3, found.get("description")) + _text(4, found["name"])
    return out + _text(6, found["type"])


def _path_parameter(found: Document) -> bytes:
    out = _flag(1, True) + _text(2, "path") + _text(3, found.get("description")) + _text(4, found["name"])
    return out + _text(5, found["type"])


def _parameter(found: Document) -> bytes:
    """ParametersItem: parameter 1 -> body 1, or non-body 2 -> query 3, path 4."""
    if found["in"] == "body":
        return _bytes(1, _bytes(1, _body_parameter(found)))
    if found["in"] == "query":
        return _bytes(1, _bytes(2, _bytes(3, _query_parameter(found))))
    return _bytes(1, _bytes(2, _bytes(4, _path_parameter(found))))


def _parameters(number: int, found: Iterable[Document]) -> bytes:
    return b"".join(_bytes(number, _parameter(parameter)) for parameter in found)


def _response(found: Document) -> bytes:
    """ResponseValue: response 1."""
    schema = _bytes(2, _bytes(1, _schema(found["schema"]))) if "schema" in found else b""
    return _bytes(1, _text(1, found.get("description")) + schema)


def _operation(found: Document) -> bytes:
    out = _texts(1, found.get("tags")) + _text(3, found.get("description")) + _text(5, found.get("operationId"))
    out += (
        _texts(6, found.get("produces"))
        + _texts(7, found.get("consumes"))
        + _parameters(8, found.get("parameters") or ())
    )
    out += _bytes(9, _named(1, found.get("responses") or {}, _response)) + _texts(10, found.get("schemes"))
    return out + _extensions(13, found)


_METHODS: Final = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def _path_item(item: Document) -> bytes:
    out = b"".join(_bytes(number, _operation(item[method])) for method, number in _METHODS.items() if method in item)
    return out + _parameters(9, item.get("parameters") or ()) + _extensions(10, item)


def _key_security(found: Document) -> bytes:
    """SecurityDefinitionsItem: api_key_security 2."""
    out = _text(1, found["type"]) + _text(2, found["name"]) + _text(3, found["in"]) + _text(4, found.get("description"))
    return _bytes(2, out)


def _requirement(found: Document) -> bytes:
    """SecurityRequirement: additional_properties 1 of NamedStringArray."""
    return _named(1, found, lambda scopes: _texts(1, scopes))


def encode(document: Document) -> bytes:
    """The bytes of a Document."""
    info = document["info"]
    out = _text(1, document["swagger"]) + _bytes(2, _text(1, info["title"]) + _text(2, info["version"]))
    out += _bytes(8, _named(2, document["paths"], _path_item))
    out += _bytes(9, _named(1, document["definitions"], _schema))
    out += b"".join(_bytes(12, _requirement(found)) for found in document.get("security") or ())
    return out + _bytes(13, _named(1, document.get("securityDefinitions") or {}, _key_security))
