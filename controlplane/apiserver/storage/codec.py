"""Objects as the bytes that the store holds, and as the bytes that answers carry.

Stored: JSON whose first members are apiVersion, kind and metadata, and whose metadata has no resourceVersion, because
that is the revision of the key. Answered: the same bytes with the resourceVersion spliced in; nothing is re-encoded.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

Object = dict[str, Any]

_MARK: Final = b'"metadata":{'
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()


def encode(obj: Object) -> bytes:
    """The bytes to store for `obj`; its resourceVersion is left out."""
    metadata = obj["metadata"]
    if "resourceVersion" in metadata or "selfLink" in metadata:
        metadata = {name: value for name, value in metadata.items() if name not in ("resourceVersion", "selfLink")}
    ordered = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    for name, value in obj.items():
        if name not in ordered:
            ordered[name] = value
    return _encoder.encode(ordered)


def splice(stored: bytes, revision: int) -> bytes:
    """The bytes of an answer: stored bytes with the resourceVersion put in."""
    at = stored.index(_MARK) + len(_MARK)
    comma = b"" if stored[at : at + 1] == b"}" else b","
    return b'%b"resourceVersion":"%d"%b%b' % (stored[:at], revision, comma, stored[at:])


def unsplice(raw: bytes) -> bytes:
    """What `splice` was given: the stored bytes of an answer made by it."""
    at = raw.index(_MARK) + len(_MARK)
    end = raw.index(b'"', at + len(b'"resourceVersion":"')) + 1
    return raw[:at] + raw[end + (raw[end : end + 1] == b",") :]


def decode(raw: bytes) -> Any:
    """A value from JSON bytes; raises msgspec.DecodeError."""
    return _decoder.decode(raw)


def encode_json(value: Any) -> bytes:
    """JSON of any answer that is not an object of the store."""
    return _encoder.encode(value)


def with_revision(obj: Object, revision: int) -> Object:
    """The object as answered: a copy whose metadata carries the resourceVersion."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}


def indented(body: bytes) -> bytes:
    """JSON as Kubernetes prints it for people."""
    return msgspec.json.format(body, indent=2) + b"\n" if body else body
