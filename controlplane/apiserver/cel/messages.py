"""Literals of the types that admission gives to the language (`Object{...}`, `Object.spec{...}`, `JSONPatch{...}`) as maps.

The library knows no types that are made for one expression. A literal of such a type is a map whose keys are the fields'
names, so it is written as one: `Object.spec{replicas: 3}` becomes `{"replicas": 3}`. Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<string>[bBrR]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*|`[^`]*`)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_TYPES: Final = frozenset({"Object", "JSONPatch"})

Token = tuple[str, str]


def tokens(text: str) -> Iterator[Token]:
    """(kind, text) of an expression's parts: space (comments too), string, word, other."""
    for found in _TOKEN.finditer(text):
        yield found.lastgroup or "other", found.group()


def _type_end(tokens: list[Token], at: int) -> int:
    """The index of the brace that opens a literal of the type that begins at `at`; -1 when none does."""
    at += 1
    while at < len(tokens):
        kind, text = tokens[at]
        if text == "{":
            return at
        if text == "." and at + 1 < len(tokens) and tokens[at + 1][0] == "word":
            at += 2
        elif kind == "space":
            at += 1
        else:
            return -1
    return -1


def as_maps(text: str) -> str:
    """The expression with its literals of admission's types written as maps."""
    if not any(name in text for name in _TYPES):
        return text
    parts = list(tokens(text))
    out: list[str] = []
    braces: list[str] = []  # of each open bracket: "type" for a literal of a type, or the bracket
    expects_field = False
    before, at = "", 0
    while at < len(parts):
        kind, part = parts[at]
        if kind == "word" and part in _TYPES and before != "." and (end := _type_end(parts, at)) >= 0:
            out.append("{")
            braces.append("type")
            expects_field, before, at = True, "{", end + 1
            continue
        if kind == "word" and expects_field:
            name = part.strip("`")
            out.append(f'"{name}"')
            expects_field = False
        else:
            out.append(part)
        if part in ("{", "[", "("):
            braces.append(part)
        elif part in ("}", "]", ")") and braces:
            braces.pop()
        elif part == "," and braces and braces[-1] == "type":
            expects_field = True
        if part == "}":
            expects_field = False
        if kind != "space":
            before = part
        at += 1
    return "".join(out)
