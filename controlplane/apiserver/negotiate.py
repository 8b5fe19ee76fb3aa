"""Accept and Content-Type: what an answer may be, and what a body is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec
import yaml

from controlplane.apiserver.storage import codec
from controlplane.objects import status

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
SERVED: Final = (JSON, YAML, PROTOBUF)
_META_GROUP: Final = "meta.k8s.io"
_MEDIA_TYPES: Final = {
    "*/*": JSON, "application/*": JSON, JSON: JSON, YAML: YAML, "text/yaml": YAML, PROTOBUF: PROTOBUF,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Accepted:
    """The chosen form of an answer: media type JSON, YAML or PROTOBUF; `transform` is "", "Table" or "PartialObjectMetadata"
    (lists become PartialObjectMetadataList) of `version`; `stream` repeats `;stream=watch` when it was asked for."""

    media_type: str
    transform: str = ""
    version: str = "v1"
    stream: bool = False


@dataclass(frozen=True, slots=True)
class _Clause:
    media_type: str
    parameters: dict[str, str]
    quality: float


def _clauses(header: str) -> list[_Clause]:
    clauses = []
    for part in header.split(","):
        media_type, *parameters = [piece.strip() for piece in part.split(";")]
        named = dict(piece.split("=", 1) for piece in parameters if "=" in piece)
        try:
            quality = float(named.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if media_type:
            clauses.append(_Clause(media_type.lower(), named, quality))
    clauses.sort(key=lambda clause: -clause.quality)  # stable: the order of the header within one quality
    return clauses


@lru_cache(maxsize=512)
def accept(header: str, *, tables: bool = True, protobuf: bool = False) -> Accepted:
    """The first acceptable clause; raises 406 when there is none.  Stored bytes are JSON, so protobuf is answered only (where
    it can be) when nothing else is accepted: a client that lists JSON after it gets JSON."""
    if not header:
        return Accepted(JSON)
    only_protobuf: Accepted | None = None
    for clause in _clauses(header):
        media_type = _MEDIA_TYPES.get(clause.media_type)
        if media_type is None or (media_type == PROTOBUF and not protobuf):
            continue
        found = _accepted(clause, media_type, tables)
        if found is None:
            continue
        if media_type != PROTOBUF:
            return found
        only_protobuf = only_protobuf or found
    if only_protobuf is None:
        raise status.not_acceptable(SERVED if protobuf else SERVED[:2])
    return only_protobuf


def _accepted(clause: _Clause, media_type: str, tables: bool) -> Accepted | None:
    """What one clause asks for; None for a form that is not made."""
    transform = clause.parameters.get("as", "")
    stream = clause.parameters.get("stream") == "watch"
    if not transform:
        return Accepted(media_type, stream=stream)
    version = clause.parameters.get("v", "v1")
    if clause.parameters.get("g") != _META_GROUP or version not in ("v1", "v1beta1"):
        return None
    transform = transform.removesuffix("List")
    if transform == "PartialObjectMetadata" or (transform == "Table" and tables and media_type != PROTOBUF):
        return Accepted(media_type, transform, version, stream)
    return None


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 as kubectl reads it, without its timestamps and base-60 numbers: those stay strings."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def media_type_of(header: str) -> str:
    """A Content-Type without its parameters, in lower case."""
    return header.split(";", 1)[0].strip().lower()


def parse_yaml(body: bytes) -> Any:
    """A value from YAML (or JSON) text; raises 400."""
    try:
        return yaml.load(body, Loader=_Loader)
    except yaml.YAMLError as error:
        raise status.bad_request(f"error decoding YAML: {error}") from error


def repeated_keys(body: bytes) -> list[str]:
    """What a YAML text says twice, in the words of Kubernetes' decoder: `line 3: key "a" already set in map`."""
    found: list[tuple[int, str]] = []
    waiting, known = [yaml.compose(body, Loader=_Loader)], set()
    while waiting:
        node = waiting.pop()
        if id(node) in known:  # an alias; a text of many would be walked for ever
            continue
        known.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if str(key.value) in keys:
                    found.append((key.start_mark.line + 1, f'key "{key.value}" already set in map'))
                keys.add(str(key.value))
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
    return [f"line {line}: {words}" for line, words in sorted(found)]


def parse_json(body: bytes) -> Any:
    """A value from JSON text; raises 400."""
    try:
        return codec.decode(body)
    except msgspec.DecodeError as error:
        raise status.bad_request(f"error decoding JSON: {error}") from error


def render(value: Any, media_type: str) -> bytes:
    """The bytes of an answer; raises 406 for a document that protobuf has no form for."""
    if media_type == YAML:
        return yaml.safe_dump(value, default_flow_style=False, sort_keys=True).encode()
    if media_type == PROTOBUF:
        from controlplane.objects import protobuf  # only some clients need it, and its tables cost memory

        try:
            return protobuf.encode(value)
        except protobuf.ProtobufError as error:
            raise status.not_acceptable(SERVED[:2]) from error
    return codec.encode_json(value)


def converted(body: bytes, media_type: str) -> bytes:
    """A JSON answer in another form; raises 406."""
    return body if media_type == JSON else render(codec.decode(body), media_type)


def watch_frames(lines: bytes) -> bytes:
    """The lines of a watch as frames of protobuf."""
    from controlplane.objects import protobuf

    return b"".join(protobuf.watch_frame(codec.decode(line)) for line in lines.splitlines())
