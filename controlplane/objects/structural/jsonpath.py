"""JSONPath as CRDs use it: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`, `.spec['a.b'][0]`, `[*]`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"""\.\.(?P<deep>[\w-]+|\*)
      | \.(?P<name>(?:\\.|[^.\[\\])+)
      | \[\s*'(?P<quoted>(?:\\.|[^'\\])*)'\s*\]
      | \[\s*"(?P<double>(?:\\.|[^"\\])*)"\s*\]
      | \[\s*(?P<star>\*)\s*\]
      | \[\s*\?\(\s*@(?P<field>(?:\.(?:\\.|[^.\s=!<>)\\])+)*)\s*
          (?:(?P<op>==|!=|>=|<=|>|<)\s*(?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s)]+))?\s*\)\s*\]
      | \[\s*(?P<slice>-?\d*:-?\d*)\s*\]
      | \[\s*(?P<index>-?\d+)\s*\]""",
    re.VERBOSE,
)
_ABSENT: Final = object()
Step = Callable[[Any], list[Any]]


class PathError(ValueError):
    """The text is no path."""


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _named(name: str) -> Step:
    if name == "*":
        return _all
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else []


def _all(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _deep(name: str) -> Step:
    def walk(value: Any) -> list[Any]:
        found = _named(name)(value)
        for part in _all(value):
            found += walk(part)
        return found

    return walk


def _at(index: int) -> Step:
    return lambda value: [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []


def _between(text: str) -> Step:
    start, _, end = text.partition(":")
    part = slice(int(start) if start else None, int(end) if end else None)
    return lambda value: list(value[part]) if isinstance(value, list) else []


def _literal(text: str) -> Any:
    if text[:1] in "\"'":
        return _plain(text[1:-1])
    try:
        return json.loads(text)
    except ValueError:
        return text


def _holds(left: Any, operator: str, right: Any) -> bool:
    if operator == "==":
        return bool(left == right)
    if operator == "!=":
        return bool(left != right)
    if (type(left) is str and type(right) is str) or all(type(each) in (int, float) for each in (left, right)):
        return bool({">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}[operator])
    return False


def _filtered(field: str, operator: str | None, text: str) -> Step:
    inner = compile_path(field) if field else None
    right = _literal(text) if operator else None

    def step(value: Any) -> list[Any]:
        kept = []
        for part in _all(value):
            found = inner(part) if inner is not None else [part]
            if found and (operator is None or _holds(found[0], operator, right)):
                kept.append(part)
        return kept

    return step


def _step(match: re.Match[str]) -> Step:
    found = match.groupdict()
    if found["deep"] is not None:
        return _deep(found["deep"])
    for group in ("name", "quoted", "double"):
        if found[group] is not None:
            return _named(_plain(found[group]))
    if found["star"]:
        return _all
    if found["slice"]:
        return _between(found["slice"])
    if found["index"]:
        return _at(int(found["index"]))
    return _filtered(found["field"] or "", found["op"], found["value"] or "")


@lru_cache(maxsize=1024)
def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """The function that gives all values at a path. Raises PathError."""
    path = text.strip()
    if path.startswith("{") and path.endswith("}"):
        path = path[1:-1].strip()
    path = path.removeprefix("$")
    if not path.startswith((".", "[")):
        raise PathError(f"invalid path {text!r}")
    steps: list[Step] = []
    at = 0
    while at < len(path) and path[at:] != ".":
        match = _TOKEN.match(path, at)
        if match is None:
            raise PathError(f"invalid path {text!r}")
        steps.append(_step(match))
        at = match.end()

    def find(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = [each for part in found for each in step(part)]
        return found

    return find


def simple_steps(text: str) -> tuple[str, ...] | None:
    """The field names of a path without arrays (".spec.replicas"); None when it is not such a path."""
    if not text.startswith(".") or len(text) < 2:
        return None
    steps: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        name = match["name"] or match["quoted"] or match["double"]
        if name is None:
            return None
        steps.append(_plain(name))
        at = match.end()
    return tuple(steps)
