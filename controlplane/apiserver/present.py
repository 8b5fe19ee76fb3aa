"""Answers made of stored bytes: one object, a list, the events of a watch; plain, as a Table, or as metadata alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver import negotiate, tables
from controlplane.apiserver.context import Answer, Context
from controlplane.apiserver.negotiate import Accepted
from controlplane.apiserver.registry import versions
from controlplane.apiserver.storage import codec
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.objects import status
from controlplane.objects.kinds import Resource

if TYPE_CHECKING:
    from controlplane.apiserver.verbs.list_ import Listing

TABLE: Final = "Table"
_META_GROUP: Final = "meta.k8s.io"
JOINED_ITEMS: Final = 64  # of a long list that go out together
_INCLUDES: Final = ("None", "Metadata", "Object")


def _finish(body: bytes, accepted: Accepted, code: int = 200) -> Answer:
    return Answer(negotiate.converted(body, accepted.media_type), code, accepted.media_type)


def partial(obj: Object, version: str) -> Object:
    """PartialObjectMetadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"{_META_GROUP}/{version}", "metadata": obj["metadata"]}


def include_of(context: Context) -> str:
    """The query's includeObject; raises 400."""
    include = context.query.get("includeObject") or "Metadata"
    if include not in _INCLUDES:
        raise status.bad_request(f"unrecognized includeObject value: {include!r}")
    return include


def table_of(context: Context, resource: Resource, objects: list[Object], metadata: Object, version: str) -> Object:
    """A Table of objects."""
    return tables.table(
        resource,
        objects,
        now=context.services.environment.now(),
        include=include_of(context),
        metadata=metadata,
        version=version,
    )


def one(context: Context, resource: Resource, raw: bytes, accepted: Accepted, code: int = 200) -> Answer:
    """One object from its answer bytes."""
    raw = versions.raw_from_stored(resource, raw)
    if not accepted.transform:
        return _finish(raw, accepted, code)
    obj = codec.decode(raw)
    if accepted.transform == TABLE:
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        document = table_of(context, resource, [obj], metadata, accepted.version)
    else:
        document = partial(obj, accepted.version)
    return _finish(codec.encode_json(document), accepted, code)


def many(context: Context, resource: Resource, listing: Listing, accepted: Accepted) -> Answer:
    """A list from entries."""
    metadata: Object = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        metadata["continue"] = listing.continue_token
        if listing.remaining is not None:
            metadata["remainingItemCount"] = listing.remaining
    if versions.is_stored_form(resource):
        raws = [entry.raw for entry in listing.entries]
    else:
        raws = [versions.raw_from_stored(resource, entry.raw) for entry in listing.entries]
    if accepted.transform == TABLE:
        document = table_of(context, resource, [codec.decode(raw) for raw in raws], metadata, accepted.version)
        return _finish(codec.encode_json(document), accepted)
    if accepted.transform:
        raws = [codec.encode_json(partial(codec.decode(raw), accepted.version)) for raw in raws]
        kind, group_version = "PartialObjectMetadataList", f"{_META_GROUP}/{accepted.version}"
    else:
        kind, group_version = f"{resource.kind}List", resource.group_version
    head = codec.encode_json({"kind": kind, "apiVersion": group_version, "metadata": metadata})
    opening = head[:-1] + b',"items":['
    if accepted.media_type != negotiate.JSON or len(raws) <= JOINED_ITEMS:
        return _finish(b"%b%b]}" % (opening, b",".join(raws)), accepted)
    length = sum(map(len, raws)) + len(raws) - 1 + len(b"]}")
    return Answer(opening, 200, accepted.media_type, rest=_Items(raws), rest_bytes=length)


class _Items:
    """The items of a long list with their commas, and its end, in pieces."""

    __slots__ = ("_raws",)

    def __init__(self, raws: list[bytes]) -> None:
        self._raws = raws

    def __iter__(self) -> Iterator[bytes]:
        raws = self._raws
        last = len(raws) - JOINED_ITEMS
        for start in range(0, len(raws), JOINED_ITEMS):
            end = b"," if start < last else b"]}"
            yield b",".join(raws[start : start + JOINED_ITEMS]) + end


def event_encoder(context: Context, resource: Resource, accepted: Accepted) -> Callable[[str, Entry], bytes]:
    """The function that makes the line of one watch event; plain events share their bytes among all watchers."""
    if not accepted.transform and versions.is_stored_form(resource):
        return lambda kind, entry: entry.frame(kind)
    with_columns = True

    def encode(kind: str, entry: Entry) -> bytes:
        nonlocal with_columns
        document: Any = versions.from_stored(resource, entry.object())
        if accepted.transform == TABLE:
            metadata = {"resourceVersion": str(entry.revision)}
            document = table_of(context, resource, [document], metadata, accepted.version)
            if not with_columns:
                document = {**document, "columnDefinitions": None}
            with_columns = False
        elif accepted.transform:
            document = partial(document, accepted.version)
        return codec.encode_json({"type": kind, "object": document}) + b"\n"

    return encode


def bookmark(context: Context, resource: Resource, document: Object) -> bytes:
    """The line of a bookmark, in the form that the watch has."""
    accepted = context.accepted()
    if accepted.transform == TABLE:
        document = table_of(context, resource, [document], document["metadata"], accepted.version)
        document = {**document, "columnDefinitions": None}
    elif accepted.transform:
        document = partial(document, accepted.version)
    return codec.encode_json({"type": "BOOKMARK", "object": document}) + b"\n"
