"""Heads: of requests as ASGI scopes, of answers as bytes."""

from __future__ import annotations

import re
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


_SPACE_OR_CONTROL: Final = re.compile(rb"[\x00-\x20\x7f]")
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING: Final = frozenset({b"host", b"transfer-encoding", b"expect"})


class MalformedHead(ValueError):
    """What a request begins with has no meaning, or could have two."""


class MalformedTarget(MalformedHead):
    """The request's target is no path."""


def expects_continue(version: str, headers: list[Header]) -> bool:
    """Whether an HTTP/1 client waits before it sends its body. MalformedHead where two servers could read a head differently:
    no Host or several, a body whose length is in other codings than chunked, a version without headers (RFC 9112)."""
    hosts, expects = 0, False
    for name, value in headers:
        if name not in _FRAMING:
            continue
        if name == b"host":
            hosts += 1
        elif name == b"expect":
            expects = value.lower() == b"100-continue"
        elif version != "1.1" or value.lower() != b"chunked":
            raise MalformedHead("transfer-encoding")
    if hosts > 1 or (version == "1.1" and not hosts) or version not in ("1.0", "1.1"):
        raise MalformedHead("host")
    return expects and version == "1.1"


def is_plain(method: bytes, target: bytes, headers: list[Header]) -> bool:
    """Whether an HTTP/2 head means the same when it is passed on as HTTP/1: names and method are tokens, the target has no
    spaces, and one host is named."""
    tokens = [method, *(name for name, _ in headers)]
    if _SPACE_OR_CONTROL.search(target) or not all(map(_TOKEN.fullmatch, tokens)):
        return False
    return len({value for name, value in headers if name == b"host"}) <= 1


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
