"""Where the pure documents of `discovery/` and `openapi/` become answers: content types, ETags, 304."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, Literal

from controlplane.apiserver import discovery, negotiate
from controlplane.apiserver.aggregation import documents, proxy
from controlplane.apiserver.context import Answer, Context, Header, Result
from controlplane.apiserver.openapi import V2_PROTOBUF, V2_PROTOBUF_ACCEPT, OpenApi, gnostic
from controlplane.apiserver.storage import codec
from controlplane.objects.scheme import Group, Scheme

_GROUP: Final = "apidiscovery.k8s.io"
_AGGREGATED: Final = "APIGroupDiscoveryList"
_IMMUTABLE: Final = timedelta(days=365)


Version = Literal["v2", "v2beta1"]


def _aggregated_version(accept: str) -> Version | None:
    """v2 or v2beta1 when the client prefers an aggregated document; None for the legacy one."""
    for part in accept.split(","):
        media_type, *parameters = [piece.strip() for piece in part.split(";")]
        named = dict(piece.split("=", 1) for piece in parameters if "=" in piece)
        if named.get("as") == _AGGREGATED:
            if named.get("g") != _GROUP or media_type != "application/json":
                continue
            if named.get("v") == "v2":
                return "v2"
            if named.get("v") == "v2beta1":
                return "v2beta1"
        elif media_type in ("application/json", "*/*", "application/*", "application/yaml"):
            return None
    return None


@lru_cache(maxsize=16)
def _aggregated(scheme: Scheme, core: bool, version: Version) -> tuple[bytes, bytes]:
    """(document, ETag)."""
    body = codec.encode_json(discovery.group_discovery_list(scheme, core=core, version=version))
    return body, discovery.entity_tag(body).encode()


def _matches(context: Context, tag: bytes) -> bool:
    """Whether the client has this version already."""
    return tag in [each.strip() for each in context.headers.get(b"if-none-match", b"").split(b",")]


def _merged(context: Context, name: str, make: Callable[[], Any]) -> Any:
    """A document with what other servers serve, remembered while neither they nor the scheme change."""
    scheme, known = context.services.scheme, context.services.aggregation.documents
    found = known.get(name)
    if found is None or found[0] is not scheme:
        found = known[name] = (scheme, make())
    return found[1]


def served_groups(context: Context) -> tuple[Group, ...]:
    """Every group that can be asked for here, in the order of their priority."""
    groups, remotes = context.services.scheme.groups(), context.services.aggregation.remotes
    return documents.groups_with(groups, remotes.values()) if remotes else groups


def _aggregated_document(context: Context, core: bool, version: Version) -> tuple[bytes, bytes]:
    scheme, remotes = context.services.scheme, context.services.aggregation.remotes
    if core or not remotes:
        return _aggregated(scheme, core, version)

    def make() -> tuple[bytes, bytes]:
        document = discovery.group_discovery_list(scheme, core=core, version=version)
        document = documents.discovery_with(document, served_groups(context), remotes.values())
        body = codec.encode_json(document)
        return body, discovery.entity_tag(body).encode()

    found: tuple[bytes, bytes] = _merged(context, f"discovery {version}", make)
    return found


def _discovery_list(context: Context, *, core: bool) -> Answer:
    version = _aggregated_version(context.header(b"accept"))
    if version:
        body, tag = _aggregated_document(context, core, version)
        headers = ((b"etag", tag), (b"cache-control", b"public"), (b"vary", b"Accept"))
        if _matches(context, tag):
            return Answer(b"", 304, discovery.media_type(version), headers)
        return Answer(body, 200, discovery.media_type(version), headers)
    if core:
        config = context.services.config
        host = config.advertise_address or config.bind_address
        document = discovery.api_versions(f"{host}:{config.secure_port}")
    else:
        document = discovery.api_group_list(served_groups(context))
    answer = context.answer(document)
    return Answer(answer.body, 200, answer.media_type, ((b"vary", b"Accept"),))


def discovery_answer(context: Context) -> Answer | None:
    """/api, /apis and below; None for a path that is not there."""
    segments = [each for each in context.info.path.path.split("/") if each]
    scheme = context.services.scheme
    document: Any = None
    match segments:
        case ["api"]:
            return _discovery_list(context, core=True)
        case ["apis"]:
            return _discovery_list(context, core=False)
        case ["api", version]:
            document = discovery.api_resource_list(scheme, "", version)
        case ["apis", group]:
            document = discovery.api_group(served_groups(context), group)
        case ["apis", group, version]:
            document = discovery.api_resource_list(scheme, group, version)
    return context.answer(document) if document is not None else None


async def openapi_answer(context: Context) -> Result | None:
    """/openapi/v2, /openapi/v3 and below; None for a path that is not there."""
    path = context.info.path.path.rstrip("/")
    ours, remotes = context.services.openapi(), context.services.aggregation.remotes
    if path == "/openapi/v2":
        return _version_2(context, ours)
    if path == "/openapi/v3":
        body = ours.index()
        if remotes:
            body = codec.encode_json(documents.index_with(codec.decode(body), remotes.values()))
        return Answer(body, media_type=negotiate.JSON)
    if not path.startswith("/openapi/v3/"):
        return None
    name = path.removeprefix("/openapi/v3/")
    remote = context.services.aggregation.serving(f"/{name}")
    if remote is not None:
        return await proxy.handle(context, remote)
    return _version_3(context, ours, name)


def _swagger(context: Context, ours: OpenApi) -> tuple[bytes, bytes, bytes]:
    """(hash, JSON, protobuf) of /openapi/v2 with what other servers add."""
    remotes = [each for each in context.services.aggregation.remotes.values() if each.swagger]

    def make() -> tuple[bytes, bytes, bytes]:
        document = documents.swagger_with(codec.decode(ours.v2()), remotes)
        body = codec.encode_json(document)
        return discovery.entity_tag(body).strip('"').encode(), body, gnostic.encode(document)

    found: tuple[bytes, bytes, bytes] = _merged(context, "swagger", make)
    return found


def _version_2(context: Context, ours: OpenApi) -> Answer:
    """Protobuf for clients that name it, JSON for all others."""
    remotes = context.services.aggregation.remotes.values()
    merged = _swagger(context, ours) if any(remote.swagger for remote in remotes) else None
    tag = merged[0] if merged else ours.v2_hash().encode()
    headers = ((b"etag", b'"' + tag + b'"'), (b"vary", b"Accept"), (b"cache-control", b"no-cache"))
    wants_protobuf = V2_PROTOBUF_ACCEPT in context.header(b"accept")
    media_type = V2_PROTOBUF if wants_protobuf else negotiate.JSON
    if _matches(context, b'"' + tag + b'"'):
        return Answer(b"", 304, media_type, headers)
    if merged:
        return Answer(merged[2] if wants_protobuf else merged[1], 200, media_type, headers)
    return Answer(ours.v2_protobuf() if wants_protobuf else ours.v2(), 200, media_type, headers)


def _version_3(context: Context, ours: OpenApi, name: str) -> Answer | None:
    """One group and version: cached for ever under its right hash, moved to it from a wrong one."""
    current = ours.hash_of(name)
    body = ours.document(name) if current is not None else None
    if current is None or body is None:
        return None
    wanted = context.query.get("hash", "")
    if wanted and wanted != current:
        location = f"/openapi/v3/{name}?hash={current}".encode()
        return Answer(b"", 301, "text/plain; charset=utf-8", ((b"location", location),))
    tag = b'"' + current.encode() + b'"'
    if wanted:
        later = context.services.environment.now() + _IMMUTABLE
        expires = later.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
        caching: tuple[Header, ...] = ((b"cache-control", b"public, immutable"), (b"expires", expires))
    else:
        caching = ((b"cache-control", b"no-cache, private"),)
    headers = ((b"etag", tag), (b"vary", b"Accept"), *caching)
    if _matches(context, tag):
        return Answer(b"", 304, negotiate.JSON, headers)
    return Answer(body, 200, negotiate.JSON, headers)
