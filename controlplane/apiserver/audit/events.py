"""One stage of a request as an Event of audit.k8s.io/v1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from controlplane.apiserver import negotiate
from controlplane.apiserver.audit.policy import API_VERSION, LEVELS
from controlplane.apiserver.context import Answer
from controlplane.apiserver.storage import codec

if TYPE_CHECKING:
    from controlplane.apiserver.audit.auditor import Record
    from controlplane.apiserver.context import Context, Result

Object = dict[str, Any]

METADATA: Final = 1
REQUEST: Final = 2
RESPONSE: Final = 3
_TOLD: Final = ("status", "reason", "message", "details")


def head(context: Context, record: Record) -> Object:
    """What all events of a request have in common."""
    path = context.info.path
    query = context.raw_query.decode("latin-1")
    found: Object = {
        "kind": "Event",
        "apiVersion": API_VERSION,
        "level": LEVELS[record.verdict.level],
        "auditID": context.audit_id,
        "stage": "",
        "requestURI": f"{path.path}?{query}" if query else path.path,
        "verb": context.info.verb,
        "user": record.user.document(),
    }
    if record.user is not context.user and context.user.name:
        found["impersonatedUser"] = context.user.document()
    found["sourceIPs"] = _sources(context)
    agent = context.header(b"user-agent")
    if agent:
        found["userAgent"] = agent
    if path.is_resource:
        named = {
            "resource": path.resource,
            "namespace": path.namespace,
            "name": path.name,
            "apiGroup": path.group,
            "apiVersion": path.version,
            "subresource": path.subresource,
        }
        found["objectRef"] = {key: value for key, value in named.items() if value}
    return found


def _sources(context: Context) -> list[str]:
    """The addresses that proxies tell of, then the one that is connected."""
    forwarded = [each.strip() for each in context.header(b"x-forwarded-for").split(",") if each.strip()]
    address = context.connection.address
    return [*forwarded, address] if address and address not in forwarded else forwarded


def bodies(context: Context, record: Record, result: Result | None) -> Object:
    """Request and answer, as far as the level says."""
    found: Object = {}
    level, omits = record.verdict.level, record.verdict.omits_managed_fields
    if level >= REQUEST and record.body:
        shown = _object(record.body, context.header(b"content-type"), omits=omits)
        if shown is not None:
            found["requestObject"] = shown
    if level >= RESPONSE and isinstance(result, Answer) and result.body:
        shown = _object(result.whole(), result.media_type, omits=omits)
        if shown is not None:
            found["responseObject"] = shown
    return found


def answered(result: Result) -> Object:
    """The answer's code, and what a Status says."""
    found: Object = {"metadata": {}, "code": result.code}
    body: bytes = getattr(result, "body", b"")
    if result.code >= 400 and body[:1] == b"{":
        status: Object = codec.decode(body)
        found |= {name: status[name] for name in _TOLD if status.get(name)}
    return found


def _object(body: bytes, content_type: str, *, omits: bool) -> Any:
    """A body as part of an event: JSON as it is, other encodings decoded; None for what is no object."""
    media_type = negotiate.media_type_of(content_type)
    try:
        if media_type == negotiate.PROTOBUF:
            from controlplane.objects import protobuf

            value: Any = protobuf.decode(body)
        elif body[:1] in b"{[" and not omits:
            codec.decode(body)
            return msgspec.Raw(body)
        else:
            value = codec.decode(body) if body[:1] in b"{[" else negotiate.parse_yaml(body)
    except Exception:  # whatever it is, the client is told elsewhere that it is no object
        return None
    if not isinstance(value, dict | list):
        return None
    return _without_managed_fields(value) if omits else value


def _without_managed_fields(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("items"), list):
        return {**value, "items": [_without_managed_fields(each) for each in value["items"]]}
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        return {**value, "metadata": {name: each for name, each in metadata.items() if name != "managedFields"}}
    return value
