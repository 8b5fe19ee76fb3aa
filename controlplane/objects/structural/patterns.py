"""Go's regular expressions (RE2) as Python's: the few places where the same text means something else."""

from __future__ import annotations

import re
from typing import Final

Pattern = re.Pattern[str]

_CLASSES: Final = {
    "[:alpha:]": "A-Za-z", "[:digit:]": "0-9", "[:alnum:]": "0-9A-Za-z", "[:upper:]": "A-Z", "[:lower:]": "a-z",
    "[:space:]": r"\t\n\v\f\r ", "[:xdigit:]": "0-9A-Fa-f", "[:word:]": "0-9A-Za-z_", "[:punct:]": r"!-/:-@\[-`{-~",
}  # fmt: skip


class PatternError(ValueError):
    """The text is no regular expression."""


def _translated(text: str) -> str:
    result: list[str] = []
    in_class = False
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            pair = text[at : at + 2]
            result.append(r"\Z" if pair == r"\z" else pair)
            at += 2
            continue
        if in_class and text.startswith("[:", at):
            name = text[at : text.find(":]", at) + 2]
            if name in _CLASSES:
                result.append(_CLASSES[name])
                at += len(name)
                continue
        if char == "[" and not in_class:
            in_class = True
        elif char == "[":
            char = r"\["
        elif char == "]":
            in_class = False
        elif char == "$" and not in_class:
            char = r"\Z"  # Go's $ without (?m) is the end of the text, Python's also stands before a last newline
        result.append(char)
        at += 1
    return "".join(result)


def compile_pattern(text: str) -> Pattern:
    """Raises PatternError."""
    try:
        return re.compile(_translated(text), re.ASCII)
    except (re.error, OverflowError) as error:
        raise PatternError(str(error)) from None
