"""What a request asks for: `RequestInfo` from its method, path and query, as Kubernetes' request info resolver has it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

_VERBS: Final = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES: Final = frozenset({"status", "finalize"})
_PROXIED: Final = frozenset({"pods", "services", "nodes"})


@dataclass(frozen=True, slots=True)
class Path:
    """A path taken apart.  `is_resource` is False for /healthz and the like, whose other fields are empty."""

    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()  # segments after the subresource: a proxied path

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """A path and what is done to it.  `verb` is get, list, watch, create, update, patch, delete, deletecollection; for a
    path that names no resource it is the method in lower case."""

    verb: str
    path: Path

    @property
    def is_resource(self) -> bool:
        return self.path.is_resource


@lru_cache(maxsize=8192)
def parse_path(path: str) -> Path:
    """Take a URL path (unquoted) apart."""
    segments = [segment for segment in path.split("/") if segment]
    if len(segments) >= 3 and segments[0] == "api":
        group, version, rest = "", segments[1], segments[2:]
    elif len(segments) >= 4 and segments[0] == "apis":
        group, version, rest = segments[1], segments[2], segments[3:]
    else:
        return Path(path)
    if rest[0] == "watch" and len(rest) > 1:  # the deprecated form; the verb is watch, see `parse`
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 2:
        if len(rest) == 2 or (rest[2] in _NAMESPACE_SUBRESOURCES and len(rest) == 3):
            subresource = rest[2] if len(rest) == 3 else ""
            return Path(path, True, group, version, rest[1], "namespaces", rest[1], subresource)
        namespace, rest = rest[1], rest[2:]
    return Path(
        path,
        True,
        group,
        version,
        namespace,
        rest[0],
        rest[1] if len(rest) > 1 else "",
        rest[2] if len(rest) > 2 else "",
        tuple(rest[3:]),
    )


def parse_query(query: bytes) -> dict[str, str]:
    """Query parameters; of a repeated one the first counts."""
    if not query:
        return {}
    found: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        found.setdefault(name, value)
    return found


def repeated(query: bytes, name: str) -> list[str]:
    """Every value of one parameter."""
    return [value for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if key == name]


def is_true(value: str | None) -> bool:
    """As Kubernetes reads a boolean parameter: present and neither `0` nor `false`."""
    return value is not None and value not in ("0", "false", "False")


def parse(method: str, path: str, query: dict[str, str]) -> RequestInfo:
    """The whole: method, path and query to what is asked for."""
    parsed = parse_path(path)
    if not parsed.is_resource:
        return RequestInfo(method.lower(), parsed)
    verb = _VERBS.get(method, method.lower())
    if not parsed.name:
        if verb == "get":
            verb = "watch" if is_true(query.get("watch")) or _is_old_watch(path) else "list"
        elif verb == "delete":
            verb = "deletecollection"
    elif verb == "get" and not parsed.subresource and (_is_old_watch(path) or is_true(query.get("watch"))):
        verb = "watch"
    return RequestInfo(verb, parsed)


def _is_old_watch(path: str) -> bool:
    return "/watch/" in path and path.split("/")[3 if path.startswith("/api/") else 4] == "watch"
