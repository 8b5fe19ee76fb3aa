"""Path elements: the keys of FieldsV1, as texts.

`f:name` a field or a key of a map · `k:{"name":"web"}` an item of a keyed list · `v:"text"` an item of a set ·
`i:3` a position.  Keys of an item stand sorted, so that one item has one text.
Source: the serialization of structured-merge-diff's fieldpath package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

Rank = tuple[Any, ...]
MEMBER: Final = "."  # in a node with children: the node itself is in the set too
_KINDS: Final = {"f": 0, "k": 1, "v": 2, "i": 3}


def quoted(item: Any) -> str:
    """JSON without spaces."""
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"))


def field(name: str) -> str:
    return "f:" + name


def value(item: Any) -> str:
    """The element of an item of a set."""
    return "v:" + quoted(item)


def key(pairs: Mapping[str, Any]) -> str:
    """The element of an item of a keyed list."""
    if len(pairs) > 1:
        pairs = {name: pairs[name] for name in sorted(pairs)}
    return "k:" + quoted(pairs)


def canonical(element: str) -> str | None:
    """The element as we write it, of one that somebody else wrote; None for what is no element."""
    kind, colon, text = element[:1], element[1:2], element[2:]
    if colon != ":" or kind not in _KINDS:
        return None
    if kind == "f":
        return element
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    if kind == "i":
        return element if isinstance(parsed, int) and not isinstance(parsed, bool) else None
    if kind == "v":
        return value(parsed)
    return key(parsed) if isinstance(parsed, dict) else None


def _value_rank(item: Any) -> Rank:
    """Values of different types compare by type: numbers, strings, booleans, lists, maps, null."""
    if item is None:
        return (5,)
    if isinstance(item, bool):
        return (2, item)
    if isinstance(item, int | float):
        return (0, item)
    if isinstance(item, str):
        return (1, item)
    return (3 if isinstance(item, list) else 4, quoted(item))


@lru_cache(maxsize=4096)
def rank(element: str) -> Rank:
    """What elements are sorted by: fields, then keys, values and positions, each kind by its meaning."""
    if element == MEMBER:
        return (-1,)
    kind, text = _KINDS[element[0]], element[2:]
    if kind == 0:
        return (0, text)
    parsed = json.loads(text)
    if kind == 1:
        return (1, tuple((name, _value_rank(parsed[name])) for name in sorted(parsed)))
    return (kind, _value_rank(parsed))


@lru_cache(maxsize=4096)
def shown(element: str) -> str:
    """As messages write it: `.name`, `[name="web"]`, `[="text"]`, `[3]`."""
    kind, text = element[0], element[2:]
    if kind == "f":
        return "." + text
    if kind == "i":
        return f"[{text}]"
    if kind == "v":
        return f"[={text}]"
    return "[" + ",".join(f"{name}={quoted(part)}" for name, part in json.loads(text).items()) + "]"


def shown_path(path: tuple[str, ...]) -> str:
    """`.spec.containers[name="web"].image`."""
    return "".join(map(shown, path))
