"""One object of a watch cache: its bytes as answered, and what selectors look at, made once and only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controlplane.apiserver.storage import codec

Fields = Mapping[str, str]
FieldsOf = Callable[[codec.Object], Fields]

_HEADS = {kind: b'{"type":"%b","object":' % kind.encode() for kind in ("ADDED", "MODIFIED", "DELETED")}


class Entry:
    """An object at one revision.  Immutable; what is derived from it is remembered."""

    __slots__ = ("_fields", "_frames", "_labels", "key", "raw", "revision")

    def __init__(self, key: bytes, revision: int, raw: bytes) -> None:
        self.key = key
        self.revision = revision
        self.raw = raw  # with resourceVersion
        self._labels: Mapping[str, str] | None = None
        self._fields: Fields | None = None
        self._frames: dict[str, bytes] | None = None

    @classmethod
    def from_stored(cls, key: bytes, value: bytes, revision: int) -> Entry:
        return cls(key, revision, codec.splice(value, revision))

    @classmethod
    def unstored(cls, key: bytes, obj: codec.Object) -> Entry:
        """What a dry run answers: the object as it would have been stored, at no revision."""
        revision = obj["metadata"].get("resourceVersion")
        raw = codec.encode(obj)
        return cls(key, int(revision or 0), codec.splice(raw, int(revision)) if revision else raw)

    def object(self) -> codec.Object:
        """The object, decoded anew: entries keep bytes, not dicts."""
        decoded: codec.Object = codec.decode(self.raw)
        return decoded

    def labels(self) -> Mapping[str, str]:
        if self._labels is None:
            self._labels = self.object()["metadata"].get("labels") or {}
        return self._labels

    def fields(self, fields_of: FieldsOf) -> Fields:
        """What field selectors see; every caller of one resource gives the same function."""
        if self._fields is None:
            obj = self.object()
            self._fields = fields_of(obj)
            self._labels = obj["metadata"].get("labels") or {}
        return self._fields

    def frame(self, kind: str) -> bytes:
        """The line of a watch stream; shared by all watchers that want these bytes."""
        if self._frames is None:
            self._frames = {}
        found = self._frames.get(kind)
        if found is None:
            found = self._frames[kind] = _HEADS[kind] + self.raw + b"}\n"
        return found

    def forget_frames(self) -> None:
        self._frames = None

    def at_revision(self, revision: int) -> Entry:
        """The same object as it is shown by its own deletion: with the deletion's revision."""
        stamped: dict[str, Any] = codec.with_revision(self.object(), revision)
        return Entry(self.key, revision, codec.encode_json(stamped))
