"""The object in a request's body, whatever its encoding, checked to be what the path says."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver import negotiate
from controlplane.apiserver.context import Context
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status, validation
from controlplane.objects.kinds import Resource

_JSON_TYPES: Final = ("", negotiate.JSON, "text/json", "application/x-www-form-urlencoded")
_YAML_TYPES: Final = (negotiate.YAML, "text/yaml", "application/x-yaml")


def decode(body: bytes, content_type: str) -> Any:
    """A value from a body; raises 400 or 415."""
    media_type = negotiate.media_type_of(content_type)
    if media_type == negotiate.PROTOBUF:
        from controlplane.objects import protobuf  # only some clients need it, and its tables cost memory

        try:
            return protobuf.decode(body)
        except ValueError as error:
            raise status.bad_request(f"error decoding protobuf: {error}") from error
    if media_type in _YAML_TYPES:
        return negotiate.parse_yaml(body)
    if media_type in _JSON_TYPES:
        return negotiate.parse_json(body)
    raise status.unsupported_media_type(list(negotiate.SERVED))


async def read_raw(context: Context, expected: Resource) -> tuple[Object, bytes]:
    """The object of a create or update, and its text when it was one (for what decoding forgets)."""
    body = await context.body()
    if not body:
        raise status.bad_request("the body of the request was empty")
    content_type = context.header(b"content-type")
    obj = decode(body, content_type)
    is_text = negotiate.media_type_of(content_type) != negotiate.PROTOBUF
    return checked(obj, expected), body if is_text else b""


async def read_object(context: Context, expected: Resource) -> Object:
    """The object of a request that is not stored as it is (a review, a binding), pruned to its schema; raises 400."""
    obj = (await read_raw(context, expected))[0]
    schema = context.services.scheme.schema(expected.group, expected.version, expected.kind)
    return validation.decode_object(expected, schema, obj, "Ignore")[0]


def checked(obj: Any, expected: Resource) -> Object:
    """The value as an object of the kind; raises 400 when it is another."""
    if not isinstance(obj, dict):
        raise status.bad_request("the object provided is unrecognized (must be of type JSON object)")
    kind, api_version = obj.get("kind") or expected.kind, obj.get("apiVersion") or expected.group_version
    if api_version != expected.group_version:
        why = f"the API version in the data ({api_version}) does not match the expected API version ({expected.group_version})"
        raise status.bad_request(why)
    if kind != expected.kind:
        raise status.bad_request(
            f"the object provided is unrecognized: kind in the data ({kind}) does not match the expected ({expected.kind})"
        )
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise status.bad_request("metadata must be an object")
    return {**obj, "apiVersion": api_version, "kind": kind, "metadata": metadata or {}}


async def read_options(context: Context) -> Object:
    """DeleteOptions and the like: an object, or {} when there is no body."""
    body = await context.body()
    if not body:
        return {}
    value = decode(body, context.header(b"content-type"))
    if not isinstance(value, dict):
        raise status.bad_request("options must be an object")
    return value
