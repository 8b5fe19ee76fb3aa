"""Heads: of requests as ASGI scopes, of answers as bytes."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote_to_bytes

Header = tuple[bytes, bytes]
Scope = dict[str, Any]

BAD_REQUEST: Final = (
    b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)
WITHOUT_BODY: Final = frozenset({204, 304})


class MalformedTarget(ValueError):
    """The request's target is no path."""


@lru_cache(maxsize=8192)
def path_and_query(target: bytes) -> tuple[str, bytes, bytes]:
    """(path unquoted, path as it came, query) of a request's target; raises MalformedTarget."""
    if not target.startswith(b"/"):
        _, separator, rest = target.partition(b"://")  # the absolute form, which proxies send
        if not separator:
            raise MalformedTarget(target)
        target = b"/" + rest.partition(b"/")[2]
    raw, _, query = target.partition(b"?")
    try:
        path = (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
    except UnicodeDecodeError as error:
        raise MalformedTarget(target) from error
    return path, raw, query


def scope_of(version: str, method: str, target: bytes, headers: list[Header], state: dict[str, Any]) -> Scope:
    """The ASGI scope; raises MalformedTarget."""
    path, raw, query = path_and_query(target)
    return {
        "type": "http",
        "http_version": version,
        "scheme": "https",
        "method": method,
        "path": path,
        "raw_path": raw,
        "query_string": query,
        "headers": headers,
        "state": state,
    }


@lru_cache(maxsize=512)
def status_line(code: int) -> bytes:
    """The first line of an HTTP/1.1 answer."""
    try:
        phrase = HTTPStatus(code).phrase
    except ValueError:
        phrase = ""
    return b"HTTP/1.1 %d %s\r\n" % (code, phrase.encode())


def encode_head(code: int, headers: list[Header], *more: bytes) -> bytes:
    """An HTTP/1.1 head; `more` are whole header lines."""
    return b"".join([status_line(code), *[b"%b: %b\r\n" % header for header in headers], *more, b"\r\n"])


def refusal(code: int, why: str) -> bytes:
    """A whole answer to a request that cannot be read, as Go's server words it; the connection ends with it."""
    text = f"{code} {HTTPStatus(code).phrase}"
    body = f"{text}: {why}" if why else text
    return BAD_REQUEST % (text.encode(), len(body.encode()), body.encode())
