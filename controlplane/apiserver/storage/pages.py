"""Pages of a list: the continue token, and a consistent walk over keys at one revision."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from controlplane.objects import status

VERSION: Final = "meta.k8s.io/v1"
INCONSISTENT: Final = -1

TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
TOO_OLD_WITHOUT_TOKEN: Final = "The resourceVersion for the provided list is too old."


@dataclass(frozen=True, slots=True)
class Position:
    """Where a list goes on: at `revision` (INCONSISTENT: the newest), from `start` (a key relative to the prefix)."""

    revision: int
    start: str


def encode(position: Position) -> str:
    """The continue token: base64url of JSON, without padding."""
    document = msgspec.json.encode({"v": VERSION, "rv": position.revision, "start": position.start})
    return base64.urlsafe_b64encode(document).rstrip(b"=").decode()


def decode(token: str) -> Position:
    """The position in a token; raises 400."""
    try:
        padded = token.encode() + b"=" * (-len(token) % 4)
        document: Any = msgspec.json.decode(base64.urlsafe_b64decode(padded))
        revision, start = int(document["rv"]), str(document["start"])
    except (binascii.Error, msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
        raise status.bad_request(f"invalid continue token: {error}") from error
    if document.get("v") != VERSION or revision == 0 or revision < INCONSISTENT:
        raise status.bad_request("invalid continue token: incorrect encoding version or revision")
    if not start or any(part == ".." for part in start.split("/")):
        raise status.bad_request("invalid continue token: continue key is not within the list's range")
    return Position(revision, start)
